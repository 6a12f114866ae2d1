"""Check of the stored differences from baselines, by recomputation from the rows of both models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from colorbench.evaluation import ImageProtocol, differences_from
from colorbench.results import Difference, LoadedRun, MetricSpec, column_key, paired_positions, statistics_of
from colorbench.stats import paired_interval
from colorbench.verification import record_beside, spec_of
from leaderboards.collected_records import Entry
from leaderboards.record_checks import EXACT_ROWS, differs, near_normal, protocol_of

Others = Mapping[tuple[tuple[str, ...], str], Sequence[Entry]]


def checked(entries: Iterable[Entry]) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Return the entries with their checked differences, and those that contradict the other model's rows.

    A difference is confirmed if the rows of one record of the other model give it. Records of the same results folder
    take precedence, so that a foreign baseline cannot contradict a record. Unconfirmed differences are not shown.
    """
    everyone = list(entries)
    others: dict[tuple[tuple[str, ...], str], list[Entry]] = defaultdict(list)
    for entry in everyone:
        others[(column_key(entry.record), entry.record.model.name)].append(entry)
    saved, wrong = [], []
    for entry in everyone:
        if not isinstance(protocol_of(entry.record), ImageProtocol):
            # The differences of a study or probe do not follow from the rows alone, so they cannot be recomputed.
            saved.append(replace(entry, differences=tuple(entry.record.differences)))
            continue
        found, reason = _of(entry, others)
        if reason is None:
            saved.append(replace(entry, differences=tuple(found)))
        else:
            wrong.append((entry, reason))
    return saved, wrong


def _of(entry: Entry, others: Others) -> tuple[list[Difference], str | None]:
    """Return the confirmed differences of a record, and how one of them contradicts its own results folder."""
    confirmed: list[Difference] = []
    specs = _specs(entry)
    for name in dict.fromkeys(difference.minus for difference in entry.record.differences):
        stored = [difference for difference in entry.record.differences if difference.minus == name]
        known = [other for other in others[(column_key(entry.record), name)] if other is not entry]
        beside = [other.run for other in known if other.outputs & entry.outputs]
        if not known:
            neighbor = record_beside(entry.run, name)
            beside = [] if neighbor is None else [neighbor]
        checks = [_derived(stored, entry.run, other, specs) for other in beside or [one.run for one in known]]
        agreeing = next((derived for derived, reason in checks if reason is None), None)
        if agreeing is not None:
            confirmed += agreeing
        elif beside:
            return [], checks[0][1]
    return confirmed, None


def _specs(entry: Entry) -> list[MetricSpec]:
    protocol = protocol_of(entry.record)
    known = {} if protocol is None else {spec.name: spec for spec in protocol.spec.metrics}
    return [
        replace(
            known.get(metric.name) or spec_of(metric),
            comparable=metric.comparable,
            interval=metric.ci_method is not None,
        )
        for metric in entry.record.metrics
        if entry.recomputable(metric.name)
    ]


def _derived(
    stored: Sequence[Difference], candidate: LoadedRun, counterpart: LoadedRun, specs: Sequence[MetricSpec]
) -> tuple[list[Difference], str | None]:
    """Return the differences recomputed from the rows of both, and how the first stored one differs from that.

    An interval of a method that colorbench no longer uses is replaced by one of the current method.
    """
    by_name = {spec.name: spec for spec in specs}
    found = []
    for one in stored:
        spec = by_name.get(one.metric)
        if spec is None:
            return [], f"{one.metric} minus {one.minus} is stored, but does not follow from the rows"
        if len(candidate.rows) > EXACT_ROWS and _near(one, candidate, counterpart, spec):
            found.append(one)
            continue
        with np.errstate(all="ignore"):
            again = differences_from(
                one.minus, [spec], (candidate.sha256s, candidate.columns), (counterpart.sha256s, counterpart.columns)
            )
        ends = ("value", "ci_low", "ci_high") if again and again[0].ci_method == one.ci_method else ("value",)
        if not again or any(differs(getattr(one, end), getattr(again[0], end)) for end in ends):
            given = _stated(again[0]) if again else "none"
            return [], f"{one.metric} minus {one.minus}: {_stated(one)} is stored, the rows give {given}"
        found.append(one if len(ends) > 1 else again[0])
    return found, None


def _stated(one: Difference) -> str:
    ends = "" if one.ci_low is None or one.ci_high is None else f" [{one.ci_low:.6g}, {one.ci_high:.6g}]"
    return f"{one.value:.6g}{ends}"


def _near(stored: Difference, candidate: LoadedRun, counterpart: LoadedRun, spec: MetricSpec) -> bool:
    """Return whether a difference has the right value and an interval close to the normal approximation."""
    if spec.form != "ratio" or stored.ci_low is None or stored.ci_high is None:
        return False
    if f"{spec.name}.s1" not in counterpart.columns:
        return False
    pairs = paired_positions(candidate.sha256s, counterpart.sha256s)
    a = statistics_of(candidate.columns, spec)[pairs[:, 0]]
    b = statistics_of(counterpart.columns, spec)[pairs[:, 1]]
    with np.errstate(all="ignore"):
        value = paired_interval(a, b, spec.form, resamples=1).value
        both = ~np.isnan(a + b).any(axis=1)
        parts = [(s[both, 0] - s[both, 0].sum() / s[both, 1].sum() * s[both, 1]) / s[both, 1].sum() for s in (a, b)]
        error = float(np.sqrt(((parts[0] - parts[1]) ** 2).sum()))
    return not differs(stored.value, value) and near_normal(value, stored.ci_low, stored.ci_high, error)
