"""``compare``: are these differences real? Two records or more, on the same photographs.

Every pair is compared by every metric asked for: the difference with its interval (paired bootstrap), p of no
difference (signs of the photographs' differences flipped), adjusted for the number of tests (Holm), and what a reader
asks next: how large, on how many photographs, how many it takes to see it, on which ones.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from colorbench.errors import UserError
from colorbench.results.comparison import Comparison, PairedTest, PhotographPair, RankInterval, Side
from colorbench.results.load import StoredRun, find_record, load_stored
from colorbench.results.pairing import Common, common
from colorbench.results.record import Metric
from colorbench.stats.bootstrap import MINIMUM, defined, estimate
from colorbench.stats.effect_size import (
    LEVEL,
    detectable_difference,
    difference_influence,
    effect_size,
    holm,
    images_needed,
)
from colorbench.stats.paired import paired_interval, shown, sign_flip_p
from colorbench.stats.ranking import rank_models

SHOWN = 3
"""Photographs that are named at either end."""
_EQUAL = 1e-9
"""Relative difference below which two scores of a photograph are equal."""


def compare(
    runs: Sequence[StoredRun],
    *,
    metrics: Sequence[str] = (),
    headline: str | None = None,
    allow_unstable: bool = False,
) -> Comparison:
    """Compare records pair by pair.

    Args:
        runs: at least two, as ``load_stored`` gives them.
        metrics: names; none: all that may be compared and of which one direction is better.
        headline: the metric to put first.
        allow_unstable: also compare by metrics that too few photographs decide.

    Raises:
        UserError: for fewer than two, records that cannot be compared (naming the choice in which they differ), and
            metrics that are unknown or may not be compared.
    """
    if len(runs) < 2:
        raise UserError("one record cannot be compared", mend="name two or more")
    if len({run.record_sha256 for run in runs}) < len(runs):
        raise UserError("a record is named twice", mend="name different ones")
    together = common(runs)
    labels = _labels(runs)
    chosen = _metrics(runs, metrics, headline, allow_unstable)
    tests = [
        _test(together, labels, i, j, metric)
        for metric in chosen
        for i, j in itertools.combinations(range(len(runs)), 2)
    ]
    record = runs[0].record
    return Comparison(
        protocol=record.protocol.name,
        protocol_version=record.protocol.version,
        identity_sha256=record.protocol.identity_sha256,
        dataset=record.dataset.name,
        fingerprint=record.dataset.fingerprint,
        recipe=record.dataset.recipe,
        n=len(together.ids),
        sides=[
            Side(
                label=label,
                model=run.record.model.name,
                folder=str(run.folder),
                key=run.record.key,
                record_sha256=run.record_sha256,
            )
            for label, run in zip(labels, runs, strict=True)
        ],
        tests=_adjusted(tests),
        ranks=_ranks(together, labels, chosen),
        remarks=_remarks(runs, labels),
    )


def compare_paths(
    paths: Sequence[Path],
    *,
    protocol: str | None = None,
    metrics: Sequence[str] = (),
    headline: str | None = None,
    allow_unstable: bool = False,
) -> Comparison:
    """``compare`` of what lies in these places; see ``find_record``."""
    runs = [load_stored(find_record(path, protocol)) for path in paths]
    return compare(runs, metrics=metrics, headline=headline, allow_unstable=allow_unstable)


def _labels(runs: Sequence[StoredRun]) -> list[str]:
    names = [run.record.model.name for run in runs]
    often = Counter(names)

    def apart(run: StoredRun) -> str:
        name, decoding = run.record.model.name, run.record.model.decoding
        if often[name] == 1:
            return name
        same = [other.record.model.decoding for other in runs if other.record.model.name == name]
        if same.count(decoding) == 1:
            return f"{name} ({', '.join(f'{key} {value}' for key, value in decoding.items())})"
        return f"{name} ({run.record.key[:8]})"

    return [apart(run) for run in runs]


def _metrics(
    runs: Sequence[StoredRun], asked: Sequence[str], headline: str | None, allow_unstable: bool
) -> list[Metric]:
    """Those to compare by: the headline first, unstable ones last."""
    shared = [metric for metric in runs[0].record.metrics if all(_has(run, metric) for run in runs)]
    known = {metric.name: metric for metric in shared}
    for name in asked:
        if name not in known:
            raise UserError(f"the records have no metric {name!r} in common", mend=f"they have {', '.join(known)}")
        if not (allow_unstable or all(run.metric(name).comparable for run in runs)):
            what = f"{name} is shown, not compared: too few photographs decide it"
            raise UserError(what, mend="--allow-unstable compares by it all the same")
    if asked:
        return [known[name] for name in dict.fromkeys(asked)]
    usable = [
        metric for metric in shared if metric.higher_is_better is not None and (metric.comparable or allow_unstable)
    ]
    if not usable:
        raise UserError("these records have no metric to compare by", mend="name one with --metric")
    return sorted(usable, key=lambda metric: (not metric.comparable, metric.name != headline))


def _has(run: StoredRun, metric: Metric) -> bool:
    return any(other.name == metric.name and other.form == metric.form for other in run.record.metrics)


def _test(together: Common, labels: Sequence[str], i: int, j: int, metric: Metric) -> PairedTest:
    """Everything about one pair by one metric; ``p_holm`` and the verdict follow when all are there."""
    a, b = together.statistics(metric.name)[[i, j]]
    both = defined(a) & defined(b)
    found = paired_interval(a, b, metric.form)
    untested = _untested(together, (i, j), metric, found.n, a[both], b[both])
    p = sign_flip_p(a, b, metric.form) if untested is None else math.nan
    interval = found.interval if untested is None else None
    effect = effect_size(a, b, metric.form) if untested is None else math.nan
    error = math.nan
    if untested is None:
        error = math.sqrt(float((difference_influence(a[both], b[both], metric.form) ** 2).sum()))
    scores = together.scores(metric.name)[[i, j]]
    apart = _apart(scores, both, metric)
    values = [_value(side[both], metric) for side in (a, b)]
    return PairedTest(
        a=labels[i],
        b=labels[j],
        metric=metric.name,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        n=found.n,
        value_a=values[0],
        value_b=values[1],
        difference=_finite(found.value),
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        ci_method=f"paired {interval.method}, 95 %" if interval else None,
        p=_finite(p),
        p_holm=None,
        effect_size=_finite(effect),
        a_better=int((apart > 0).sum()),
        b_better=int((apart < 0).sum()),
        equal=int((apart == 0).sum()),
        images_needed=images_needed(effect),
        detectable=_finite(detectable_difference(error)),
        verdict="untested",
        untested=untested,
        warning=None if metric.comparable else f"{metric.name} is unstable: very few photographs decide it",
        photographs=_farthest(together, scores, b, metric),
    )


def _untested(
    together: Common, pair: tuple[int, int], metric: Metric, n: int, a: np.ndarray, b: np.ndarray
) -> str | None:
    """Why two models are not tested by a metric; None where they are."""
    if n < MINIMUM:
        photographs = "1 photograph" if n == 1 else f"{n} photographs"
        return f"{photographs}: fewer than {MINIMUM} are not tested"
    for place in pair:
        record = together.runs[place].record
        found = together.runs[place].metric(metric.name)
        if found.ci_low is None and found.value is not None and record.dataset.n_evaluated >= MINIMUM:
            return f"{metric.name} carries no interval: it holds for this set of photographs alone"
    if not np.isfinite([a.sum(axis=0), b.sum(axis=0)]).all():
        return "the statistics are no numbers to be added up"
    if not np.array_equal(a[:, 1:], b[:, 1:]):
        return "the two records weigh the photographs differently"
    return None


def _apart(scores: np.ndarray, both: np.ndarray, metric: Metric) -> np.ndarray:
    """(m,) how much better (higher, where neither direction is) a's score is, of the photographs defined for both."""
    a, b = scores[:, both]
    with np.errstate(invalid="ignore"):
        apart = b - a if metric.higher_is_better is False else a - b
    apart = apart[np.isfinite(apart)]
    scale = np.nanmax(np.abs(np.where(np.isfinite(scores), scores, 0.0)), initial=0.0)
    return np.where(np.abs(apart) <= _EQUAL * scale, 0.0, apart)


def _farthest(together: Common, scores: np.ndarray, b: np.ndarray, metric: Metric) -> list[PhotographPair]:
    """The photographs that move the difference most (score times weight), in favour of a and then of b."""
    sign = -1.0 if metric.higher_is_better is False else 1.0
    weights = b[:, -1] / np.nansum(b[:, -1])
    with np.errstate(invalid="ignore"):
        apart = sign * (scores[0] - scores[1]) * weights
    order = [int(place) for place in np.argsort(-apart, kind="stable") if np.isfinite(apart[place])]
    ahead = [place for place in order if apart[place] > 0][:SHOWN]
    behind = [place for place in reversed(order) if apart[place] < 0][:SHOWN]
    return [
        PhotographPair(
            id=together.ids[place],
            sha256=together.sha256s[place],
            a=float(scores[0, place]),
            b=float(scores[1, place]),
            weight=float(100 * weights[place]),
        )
        for place in ahead + behind
    ]


def _adjusted(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """With p adjusted for all tests, and the verdict: both the test and the interval must exclude no difference."""
    adjusted = holm([math.nan if test.p is None else test.p for test in tests])
    return [
        test if test.p is None else test.model_copy(update={"p_holm": p, "verdict": _verdict(test, p)})
        for test, p in zip(tests, adjusted, strict=True)
    ]


def _verdict(test: PairedTest, p_holm: float) -> Literal["a", "b", "undecided"]:
    a_is = shown(test.ci_low, test.ci_high, test.higher_is_better is not False)
    if p_holm > LEVEL or a_is is None:
        return "undecided"
    return "a" if a_is == "better" else "b"


def _ranks(together: Common, labels: Sequence[str], metrics: Sequence[Metric]) -> list[RankInterval]:
    """Rank intervals of three models or more."""
    found: list[RankInterval] = []
    for metric in metrics:
        if len(labels) < 3 or metric.higher_is_better is None or not metric.comparable:
            continue
        ranking = rank_models(together.statistics(metric.name), metric.form, higher_is_better=metric.higher_is_better)
        if ranking is not None:
            found += [
                RankInterval(metric=metric.name, label=label, value=float(value), first=int(first), last=int(last))
                for label, value, (first, last) in zip(labels, ranking.values, ranking.ranks, strict=True)
            ]
    return found


def _remarks(runs: Sequence[StoredRun], labels: Sequence[str]) -> list[str]:
    """What a reader must know before believing the differences."""
    words = []
    for run, label in zip(runs, labels, strict=True):
        record = run.record
        if record.execution.dtype != "float32":
            words.append(f"{label} was computed in {record.execution.dtype}, not float32")
        if record.dataset.overlap:
            words.append(f"{label} was trained on {record.dataset.overlap} of these photographs")
        if record.model.card.role == "reference":
            words.append(f"{label} is a reference: it was shown the truth")
    versions = sorted({run.record.provenance.colorbench_version for run in runs})
    if len(versions) > 1:
        words.append(f"measured with different versions of colorbench: {', '.join(versions)}")
    return words


def _value(statistics: np.ndarray, metric: Metric) -> float | None:
    return _finite(estimate(statistics, metric.form))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
