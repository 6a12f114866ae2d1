"""Decide whether a record agrees with itself and with the installed protocol; one that does not is excluded.

Nothing here looks at the records of other submitters: what one record says can cost another one nothing. Every value,
its interval, n and the difference from a baseline are derived again from the rows, with absolute tolerances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from colorbench.evaluation import ImageProtocol, get_protocol, metrics_of
from colorbench.results import LoadedRun, Metric, MetricSpec, Record, protocol_identity
from colorbench.stats import is_defined
from colorbench.storage import content_fingerprint
from colorbench.verification import apart, has_statistics, row_findings, score_findings, spec_of

MOST = {"metrics": 200, "differences": 5000, "curves": 200, "notes": 500}
"""How many of each a record may hold. The largest honest record, of a probe, has 50 metrics."""
MOST_POINTS = 100_000
"""Points of all curves of a record."""
MOST_CHOICES = 100
LARGEST_INTEGER = 1 << 62
EXACT_ROWS = 5000
"""Up to so many images an interval is computed again by its resamples. Above, the normal approximation is asked first,
and the resamples only where the two differ."""
METHODS = ("bootstrap-t, 95 %", "bootstrap percentile, 95 %", "no variation, 95 %")
"""Names of the intervals that ``stats.bootstrap.interval`` makes."""
NEAR = 0.2
"""Standard errors by which a bootstrap's interval may differ from the normal one, at more than ``EXACT_ROWS``."""


def protocol_of(record: Record) -> ImageProtocol | Any | None:
    """Return the installed protocol that a record names; None where it is not installed in this version."""
    try:
        protocol = get_protocol(record.protocol.name)
    except Exception:  # the name is a stranger's: whatever it leads to, nothing of that name is usable here
        return None
    return protocol if protocol.spec.version == record.protocol.version else None


def excessive(record: Record) -> str | None:
    """Return what a record holds too much of for a page; None where it fits."""
    for name, most in MOST.items():
        if len(getattr(record, name)) > most:
            return f"it holds {len(getattr(record, name))} {name}; {most} is the most that a board takes"
    if len(record.protocol.identity) > MOST_CHOICES:
        return (
            f"its protocol has {len(record.protocol.identity)} choices; {MOST_CHOICES} is the most that a board takes"
        )
    points = sum(len(curve.x) * (2 + len(curve.beside)) for curve in record.curves)
    if points > MOST_POINTS:
        return f"its curves hold {points} points; {MOST_POINTS} is the most that a board takes"
    names = [metric.name for metric in record.metrics]
    if len(set(names)) < len(names):
        return "it holds a metric twice"
    return "it holds an integer of too many digits" if _too_large(record.model_dump()) else None


def _too_large(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_too_large, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_too_large, value))
    return isinstance(value, int) and abs(value) > LARGEST_INTEGER


def contradictions(run: LoadedRun) -> Iterator[str]:
    """Yield what a record says that its own content or the installed protocol contradicts."""
    record, data = run.record, run.record.dataset
    named = record.protocol
    if protocol_identity(named.name, named.version, named.identity) != named.identity_sha256:
        yield "its identity_sha256 is not the hash of its protocol and parameters"
    if content_fingerprint(run.sha256s) != data.fingerprint:
        yield "its rows are not of the images that its fingerprint names"
    if not 0 <= data.n_evaluated <= data.n or not 0 <= data.n_gray <= data.n:
        yield f"{data.n_evaluated} evaluated and {data.n_gray} gray images are more than the {data.n} that it names"
    if not all(run.rows["id"]):
        yield "an image has no id"
    protocol = protocol_of(record)
    specs: tuple[MetricSpec, ...] = () if protocol is None else protocol.spec.metrics
    yield from _other_facts(record, specs)
    with np.errstate(all="ignore"):
        yield from row_findings(run, specs)
        yield from score_findings(run)
        for metric in record.metrics:
            yield from _metric_findings(run, metric, specs, derived=isinstance(protocol, ImageProtocol))


def _other_facts(record: Record, specs: Sequence[MetricSpec]) -> Iterator[str]:
    """Yield the metrics whose unit, direction or form is another than the installed protocol's."""
    known = {spec.name: spec for spec in specs}
    for metric in record.metrics:
        spec = known.get(metric.name)
        for what in ("unit", "higher_is_better", "form", "share_of_gap"):
            if spec is not None and getattr(metric, what) != getattr(spec, what):
                candidate, counterpart = getattr(metric, what), getattr(spec, what)
                yield f"{metric.name}: {what} {candidate!r} is stored, the protocol's is {counterpart!r}"


def _metric_findings(run: LoadedRun, metric: Metric, specs: Sequence[MetricSpec], *, derived: bool) -> Iterator[str]:
    """Yield in what a stored metric differs from what the rows give.

    Args:
        run: the record and its rows.
        metric: as it is stored.
        specs: of the installed protocol.
        derived: whether every number of this protocol follows from the rows, as it does where the engine made them.
    """
    if not 0 <= metric.effective_n <= metric.n * (1 + 1e-6) or metric.n > len(run.rows):
        yield f"{metric.name}: n {metric.n} and an effective n of {metric.effective_n:.6g}, of {len(run.rows)} images"
        return
    if not has_statistics(run, metric.name):
        if derived:
            yield f"the rows lack the statistics of {metric.name}"
        return
    statistics = run.statistics(metric.name)
    known = next((spec for spec in specs if spec.name == metric.name), None)
    spec = replace(known or spec_of(metric), comparable=metric.comparable, interval=metric.ci_method is not None)
    # Of another protocol only an interval of the method used here can be derived: one over a study's participants does
    # not follow from the rows, and what an unknown protocol's bounds are is not known.
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
    """Return whether two intervals are the same, but that one may be cut at a bound that a parameter sets.

    Such a bound (the cap of PSNR) is a score that some image has, since the interval reaches beyond it.
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
    """Return whether a stored interval is near the normal approximation's, which no resampling is needed for."""
    if metric.form != "ratio" or None in (metric.value, metric.ci_low, metric.ci_high):
        return False
    pairs = statistics[is_defined(statistics)]
    error = float(np.sqrt(((pairs[:, 0] - metric.value * pairs[:, 1]) ** 2).sum())) / abs(float(pairs[:, 1].sum()))
    return near_normal(metric.value, metric.ci_low, metric.ci_high, error)  # type: ignore[arg-type]


def near_normal(value: float, low: float, high: float, error: float) -> bool:
    """Return whether [low, high] is the normal 95 % interval but for ``NEAR`` standard errors."""
    return max(abs(low - value + 1.96 * error), abs(high - value - 1.96 * error)) <= NEAR * error


def differs(stored: float | None, again: float | None) -> bool:
    """Return whether two numbers differ by more than rounding, or only one of them is there."""
    if stored is None or again is None:
        return stored is not again
    return bool(apart(np.array([stored]), np.array([again]))[0])


def _stated(value: float | None) -> str:
    return "none" if value is None or not math.isfinite(value) else f"{value:.6g}"
