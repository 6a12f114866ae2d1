"""Check that a record is consistent with itself and with the installed protocol; otherwise it is excluded.

Records of other submitters are not consulted, so no record can affect another one. Every value, interval and n is
recomputed from the rows, with absolute tolerances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

from colorbench.evaluation import ImageProtocol, get_protocol, metrics_of
from colorbench.results import LoadedRun, Metric, MetricSpec, Record, protocol_identity
from colorbench.stats import is_defined
from colorbench.storage import MOST_IN_RECORD, MOST_POINTS, content_fingerprint
from colorbench.verification import apart, has_statistics, row_findings, score_findings, spec_of

EXACT_ROWS = 5000
"""Up to this number of images, intervals are recomputed by resampling. Above it, they are compared with the normal
approximation first, and recomputed only if they differ from it."""
METHODS = ("bootstrap-t, 95 %", "bootstrap percentile, 95 %", "no variation, 95 %")
"""Names of the methods of ``stats.bootstrap.interval``."""
NEAR = 0.2
"""Tolerance, in standard errors, between a bootstrap interval and the normal one above ``EXACT_ROWS``."""


def protocol_of(record: Record) -> ImageProtocol | Any | None:
    """Return the installed protocol that a record of a board names; None if it is not installed."""
    try:
        protocol = get_protocol(record.protocol.name)
    except Exception:  # the name is untrusted: loading it can raise anything
        return None
    return protocol if protocol.spec.version == record.protocol.version else None


def excessive(record: Record) -> str | None:
    """Return which limit of the page a record exceeds; None if it fits."""
    for path, most in MOST_IN_RECORD.items():
        found = len(attrgetter(path)(record)) if path.partition(".")[0] != "fingerprint" or record.fingerprint else 0
        if found > most:
            return f"it has {found} {path.rpartition('.')[2].replace('_', ' ')}; the limit is {most}"
    points = sum(len(curve.x) * (2 + len(curve.beside)) + len(curve.low) + len(curve.high) for curve in record.curves)
    if points > MOST_POINTS:
        return f"its curves have {points} points; the limit is {MOST_POINTS}"
    names = [metric.name for metric in record.metrics]
    if len(set(names)) < len(names):
        return "it contains the same metric twice"
    return None


def contradictions(run: LoadedRun) -> Iterator[str]:
    """Yield the contradictions between a record's statements and its content or the installed protocol."""
    record, data = run.record, run.record.dataset
    named = record.protocol
    if protocol_identity(named.name, named.version, named.identity) != named.identity_sha256:
        yield "its identity_sha256 is not the hash of its protocol and parameters"
    if content_fingerprint(run.sha256s) != data.fingerprint:
        yield "its rows belong to other images than its fingerprint"
    if not 0 <= data.n_evaluated <= data.n or not 0 <= data.n_gray <= data.n:
        yield f"it states {data.n_evaluated} evaluated and {data.n_gray} gray images, but {data.n} in total"
    protocol = protocol_of(record)
    specs: tuple[MetricSpec, ...] = () if protocol is None else protocol.spec.metrics
    yield from _other_facts(record, specs)
    with np.errstate(all="ignore"):
        yield from row_findings(run, specs)
        yield from score_findings(run)
        for metric in record.metrics:
            yield from _metric_findings(run, metric, specs, derived=isinstance(protocol, ImageProtocol))


def _other_facts(record: Record, specs: Sequence[MetricSpec]) -> Iterator[str]:
    """Yield the metrics whose unit, direction or form differs from the installed protocol."""
    known = {spec.name: spec for spec in specs}
    for metric in record.metrics:
        spec = known.get(metric.name)
        for what in ("unit", "higher_is_better", "form", "share_of_gap"):
            if spec is not None and getattr(metric, what) != getattr(spec, what):
                candidate, counterpart = getattr(metric, what), getattr(spec, what)
                yield f"{metric.name}: {what} {candidate!r} is stored, the protocol has {counterpart!r}"


def _metric_findings(run: LoadedRun, metric: Metric, specs: Sequence[MetricSpec], *, derived: bool) -> Iterator[str]:
    """Yield the differences between a stored metric and its recomputation from the rows.

    Args:
        run: the record and its rows.
        metric: the stored metric.
        specs: metric specs of the installed protocol.
        derived: whether every number of this protocol follows from the rows, as for all image protocols.
    """
    if not 0 <= metric.effective_n <= metric.n * (1 + 1e-6) or metric.n > len(run.rows):
        yield f"{metric.name}: n {metric.n} and n_eff {metric.effective_n:.6g} are stored, for {len(run.rows)} images"
        return
    if not has_statistics(run, metric.name):
        if derived:
            yield f"the rows do not contain the statistics of {metric.name}"
        return
    statistics = run.statistics(metric.name)
    known = next((spec for spec in specs if spec.name == metric.name), None)
    spec = replace(known or spec_of(metric), comparable=metric.comparable, interval=metric.ci_method is not None)
    # For other protocols only an interval of a known method can be recomputed: an interval over the participants of a
    # study does not follow from the rows, and the bounds of an unknown protocol are not known.
    checked = derived or (known is not None and metric.ci_method in METHODS)
    near = len(statistics) > EXACT_ROWS and metric.ci_method in METHODS and _near(metric, statistics)
    effective = {spec.name: metric.effective_n}
    spec = replace(spec, interval=spec.interval and checked and not near)
    again = metrics_of([spec], run.columns, effective)[0]
    if differs(metric.value, again.value):
        yield f"{metric.name}: the value {_stated(metric.value)} is stored, the rows give {_stated(again.value)}"
        return
    if metric.n != again.n:
        yield f"{metric.name}: n {metric.n} is stored, the rows give {again.n}"
    if near or not checked:
        return
    if metric.ci_method != again.ci_method or not _same_interval(metric, again, run.scores(metric.name)):
        stored = f"[{_stated(metric.ci_low)}, {_stated(metric.ci_high)}]"
        given = f"[{_stated(again.ci_low)}, {_stated(again.ci_high)}]"
        yield f"{metric.name}: the interval {stored} is stored, the rows give {given}"


def _same_interval(stored: Metric, again: Metric, scores: np.ndarray) -> bool:
    """Return whether two intervals are equal, up to clipping at a limit that a parameter sets.

    Such a limit (the cap of PSNR) is the score of some image, since the interval extends beyond it.
    """
    if not (differs(stored.ci_low, again.ci_low) or differs(stored.ci_high, again.ci_high)):
        return True
    known = scores[np.isfinite(scores)]
    if not len(known) or None in (stored.ci_low, stored.ci_high, again.ci_low, again.ci_high):
        return False
    low, high = max(again.ci_low, float(known.min())), min(again.ci_high, float(known.max()))  # type: ignore[type-var]
    ends = ((stored.ci_low, again.ci_low, low), (stored.ci_high, again.ci_high, high))
    return all(not differs(candidate, derived) or not differs(candidate, cut) for candidate, derived, cut in ends)


def _near(metric: Metric, statistics: np.ndarray) -> bool:
    """Return whether a stored interval is close to the normal approximation, so that resampling is not needed."""
    if metric.form != "ratio" or None in (metric.value, metric.ci_low, metric.ci_high):
        return False
    pairs = statistics[is_defined(statistics)]
    error = float(np.sqrt(((pairs[:, 0] - metric.value * pairs[:, 1]) ** 2).sum())) / abs(float(pairs[:, 1].sum()))
    return near_normal(metric.value, metric.ci_low, metric.ci_high, error)  # type: ignore[arg-type]


def near_normal(value: float, low: float, high: float, error: float) -> bool:
    """Return whether a record's [low, high] is the normal 95 % interval within ``NEAR`` standard errors."""
    return max(abs(low - value + 1.96 * error), abs(high - value - 1.96 * error)) <= NEAR * error


def differs(stored: float | None, again: float | None) -> bool:
    """Return whether two numbers of a record differ by more than rounding, or only one of them is None."""
    if stored is None or again is None:
        return stored is not again
    return bool(apart(np.array([stored]), np.array([again]))[0])


def _stated(value: float | None) -> str:
    return "none" if value is None or not math.isfinite(value) else f"{value:.6g}"
