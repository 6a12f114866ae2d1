"""Recomputation of metrics, differences and curves of a record from its rows and arrays, and their comparison."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from colorbench.errors import UserError
from colorbench.evaluation import Summary, metric_aggregation, records_beside
from colorbench.results import CurvePart, Difference, LoadedRun, Metric, MetricSpec, Record, load_run
from colorbench.verification.row_checks import TOLERANCE, apart

_BOOTSTRAP = ("bootstrap", "no variation")
"""Prefixes of the ``ci_method`` of intervals that can be recomputed from the rows."""


def _same(stored: float | None, again: float | None) -> bool:
    """Return whether two numbers agree or both are None; the tolerance depends on ``again`` only."""
    if stored is None or again is None:
        return stored is again
    return abs(stored - again) <= TOLERANCE * max(1.0, abs(again))


def is_bootstrap(method: str | None) -> bool:
    """Return whether an interval is a bootstrap interval, which can be recomputed from the rows."""
    return method is not None and method.removeprefix("paired ").startswith(_BOOTSTRAP)


def metric_of(run: LoadedRun, spec: MetricSpec, effective: Mapping[str, float]) -> Metric:
    """Recompute a metric from the rows.

    Args:
        run: the record and its rows.
        spec: spec of the metric.
        effective: effective sample sizes by the protocol.
    """
    return metric_aggregation.metrics_of([spec], run.columns, effective)[0]


def fact_findings(metric: Metric, specs: Sequence[MetricSpec], *, resolved: bool) -> Iterator[str]:
    """Yield facts (unit, direction, bounds ...) that differ between a record's metric and the installed protocol.

    Unknown metrics are skipped.

    Args:
        metric: of the record.
        specs: of the installed protocol, for this metric.
        resolved: whether they are those of the record's parameters, which decide title and classifier.
    """
    for name in ("unit", "higher_is_better", "form", "share_of_gap", *(("title", "classifier") if resolved else ())):
        stored = getattr(metric, name)
        known = [getattr(spec, name) for spec in specs]
        if known and stored not in known:
            yield f"{metric.name}: {name} {stored!r} is stored, the protocol says {known[0]!r}"


def departures(stored: Metric, again: Metric, *, interval: bool = True) -> list[str]:
    """Return the differences between a stored metric and the recomputed one.

    Args:
        stored: in the record.
        again: recomputed metric.
        interval: whether the interval and the remarks on it were recomputed, too.
    """
    found = []
    ends = ("ci_low", "ci_high") if interval else ()
    for name in ("value", *ends, "effective_n"):
        recomputed, claimed = getattr(stored, name), getattr(again, name)
        if not _same(recomputed, claimed):
            found.append(f"{stored.name}: {name} {_shown(recomputed)} is stored, the rows give {_shown(claimed)}")
    for name in ("n", "comparable", *(("ci_method", "warning") if interval else ())):
        recomputed, claimed = getattr(stored, name), getattr(again, name)
        if recomputed != claimed:
            found.append(f"{stored.name}: {name} {recomputed!r} is stored, the rows give {claimed!r}")
    return found


def difference_findings(run: LoadedRun, other: LoadedRun, specs: Sequence[MetricSpec]) -> Iterator[str]:
    """Yield stored differences from another record that contradict the rows of both."""
    name = other.record.model.name
    again = metric_aggregation.differences_from(name, specs, (run.sha256s, run.columns), (other.sha256s, other.columns))
    by_metric = {difference.metric: difference for difference in again}
    for stored in run.record.differences:
        if stored.minus == name:
            departure = _difference_departure(stored, by_metric.pop(stored.metric, None))
            if departure:
                yield departure
    for metric in by_metric:
        yield f"{metric} minus {name} is missing"


def curve_findings(record: Record, summary: Summary) -> Iterator[str]:
    """Yield curves that differ from the recomputed ones, or have other names or axes."""
    again = {curve.name: curve for curve in metric_aggregation.curves_of(summary)}
    for curve in record.curves:
        other = again.pop(curve.name, None)
        if other is None or len(other.x) != len(curve.x):
            yield f"the curve {curve.name} does not follow from the arrays"
        elif any(getattr(curve, key) != getattr(other, key) for key in ("title", "x_label", "y_label")):
            yield f"the curve {curve.name} has another title or axis than in the protocol"
        elif curve.beside.keys() != other.beside.keys() or not all(
            len(a) == len(b) and not apart(np.array(a), np.array(b)).any()
            for a, b in zip(_lines(curve, curve), _lines(other, curve), strict=True)
        ):
            yield f"the curve {curve.name} does not follow from the arrays"
    for name in again:
        yield f"the curve {name} is missing"


def _lines(curve: CurvePart, stored: CurvePart) -> list[list[float]]:
    """Return the lines of a curve; its intervals only if the stored curve has some: older records have none."""
    ends = [curve.low, curve.high] if stored.low or stored.high else []
    return [curve.x, curve.y, *ends, *(curve.beside[name] for name in sorted(curve.beside))]


def record_beside(run: LoadedRun, model: str) -> LoadedRun | None:
    """Return the first undamaged record of another model in the same output with equal protocol and images, or None."""
    for folder, _ in records_beside(run.folder, run.record, model):
        with contextlib.suppress(UserError):
            return load_run(folder)
    return None


def _difference_departure(stored: Difference, again: Difference | None) -> str | None:
    if again is None:
        return f"{stored.metric} minus {stored.minus}: the rows give no such difference"
    for name in ("value", "ci_low", "ci_high"):
        recomputed, claimed = getattr(stored, name), getattr(again, name)
        if not _same(recomputed, claimed):
            return f"{stored.metric} minus {stored.minus}: {name} {_shown(recomputed)} is stored, not {_shown(claimed)}"
    for name in ("n", "ci_method"):
        recomputed, claimed = getattr(stored, name), getattr(again, name)
        if recomputed != claimed:
            return f"{stored.metric} minus {stored.minus}: {name} {recomputed!r} is stored, not {claimed!r}"
    return None


def _shown(value: float | None) -> str:
    return "none" if value is None or not math.isfinite(value) else f"{value:.6g}"
