"""Aggregation of rows to metrics with intervals, and paired differences from other models.

Everything is computed from stored data. Images count by their statistics (``<metric>.s0``, ``.s1`` ...); an image on
which a metric is undefined (NaN) is left out of that metric only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from colorbench.errors import RunError, UserError
from colorbench.evaluation.protocol_interfaces import Scorer, Summary
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.models.stored_prediction_checks import lightness_warning
from colorbench.results import (
    CurvePart,
    Difference,
    Metric,
    MetricSpec,
    Shard,
    paired_positions,
    statistics_of,
)
from colorbench.results.metric_spec import check_columns, check_statistics
from colorbench.results.rows_parquet import read_rows
from colorbench.stats import bootstrap, paired_interval, share_of_gap

FEW = 100
"""Effective sample size below which intervals were found to undercover."""
TOO_SHORT = f"n_eff is below {FEW}: the interval covers less than 95 %"
NOT_RESOLVED = "gap not resolved: its own interval contains 0, so no share of it is given"


def summarized(protocol: str, scorer: Scorer, rows: Shard) -> tuple[Summary, dict[str, np.ndarray]]:
    """Return a scorer's summary, aggregated from all rows, and all their columns (n,).

    Raises:
        RunError: for columns that the rows cannot hold, or missing statistics; naming the protocol.
    """
    summary = scorer.summarize(rows.columns, rows.arrays)
    check_columns(protocol, summary.statistics or {})
    columns = {**rows.columns, **(summary.statistics or {})}
    check_statistics(protocol, scorer.metrics, columns)
    return summary, columns


def metrics_of(
    specs: Sequence[MetricSpec], columns: Mapping[str, np.ndarray], effective: Mapping[str, float]
) -> list[Metric]:
    """Compute every metric from the rows of all images, with an interval where possible.

    Args:
        specs: metrics to compute.
        columns: columns of the rows.
        effective: effective sample sizes by the protocol, in place of those from the statistics.
    """
    metrics = [_metric(spec, statistics_of(columns, spec), effective.get(spec.name)) for spec in specs]
    warning = lightness_warning(columns)
    # Undercoverage does not matter for values over other images.
    return metrics if warning is None else [metric.model_copy(update={"warning": warning}) for metric in metrics]


def _metric(spec: MetricSpec, statistics: np.ndarray, effective: float | None) -> Metric:
    found = None
    if effective is None or not math.isfinite(effective):
        effective = bootstrap.effective_n(statistics, spec.form)
    if spec.share_of_gap:
        share = share_of_gap(statistics)
        value, found = math.nan if share.value is None else share.value, share.interval
        warning = None if share.resolved else NOT_RESOLVED
    else:
        value = bootstrap.estimate(statistics, spec.form)
        if spec.interval and math.isfinite(value):
            found = bootstrap.interval(statistics, spec.form, bounds=(spec.lower_bound, spec.upper_bound))
        warning = TOO_SHORT if found and effective < FEW else None
    return Metric(
        name=spec.name,
        title=spec.title,
        value=value if math.isfinite(value) else None,
        unit=spec.unit,
        higher_is_better=spec.higher_is_better,
        ci_low=found.low if found else None,
        ci_high=found.high if found else None,
        ci_method=f"{found.method}, 95 %" if found else None,
        n=int(bootstrap.is_defined(statistics).sum()),
        effective_n=effective if math.isfinite(effective) else 0.0,
        form=spec.form,
        comparable=spec.comparable,
        warning=warning,
        classifier=spec.classifier,
        share_of_gap=spec.share_of_gap,
    )


def differences_from(
    other: str,
    specs: Sequence[MetricSpec],
    candidate: tuple[Sequence[str], Mapping[str, np.ndarray]],
    reference: tuple[Sequence[str], Mapping[str, np.ndarray]],
) -> list[Difference]:
    """Compute paired differences of every comparable metric, candidate minus reference.

    Args:
        other: name of the other model.
        specs: common metrics.
        candidate: content hashes and columns (n,) of the rows; images are paired by content.
        reference: the same for the other model, (m,).
    """
    pairs = paired_positions(candidate[0], reference[0])
    differences = []
    for spec in specs:
        if not spec.comparable or f"{spec.name}.s0" not in reference[1]:
            continue
        a, b = statistics_of(candidate[1], spec)[pairs[:, 0]], statistics_of(reference[1], spec)[pairs[:, 1]]
        found = paired_interval(a, b, spec.form)
        if not math.isfinite(found.value):
            continue
        low_high = found.interval if spec.interval else None
        differences.append(
            Difference(
                metric=spec.name,
                minus=other,
                value=found.value,
                ci_low=low_high.low if low_high else None,
                ci_high=low_high.high if low_high else None,
                ci_method=f"paired {low_high.method}, 95 %" if low_high else None,
                n=found.n,
            )
        )
    return differences


def differences_from_runs(
    runs: Mapping[str, RunDirectory],
    specs: Sequence[MetricSpec],
    candidate: tuple[Sequence[str], Mapping[str, np.ndarray]],
) -> list[Difference]:
    """Compute paired differences of metrics from finished runs.

    Args:
        runs: name of the other model -> its run directory.
        specs: common metrics.
        candidate: content hashes and columns (n,) of the rows.

    Raises:
        RunError: for rows that cannot be read.
    """
    differences = []
    for name, folder in runs.items():
        try:
            reference = read_rows(folder.rows)
        except UserError as error:
            raise RunError(f"the rows of {name} cannot be read", where=error.where, hint=error.hint) from error
        differences += differences_from(name, specs, candidate, reference)
    return differences


def curves_of(summary: Summary) -> list[CurvePart]:
    """Convert a metric's curves to the form of the record; a curve with a point that is not finite is left out."""
    finite = [curve for curve in summary.curves if np.isfinite([*curve.x, *curve.y, *curve.low, *curve.high]).all()]
    return [
        CurvePart(
            name=curve.name,
            title=curve.title,
            x_label=curve.x_label,
            y_label=curve.y_label,
            x=list(curve.x),
            y=list(curve.y),
            beside={label: list(line) for label, line in curve.beside.items()},
            low=list(curve.low),
            high=list(curve.high),
        )
        for curve in finite
    ]


def few_images_note(n: int) -> list[str]:
    """Return the note that marks a run on fewer than 30 images as a smoke test; empty otherwise."""
    if n >= bootstrap.MINIMUM_IMAGES:
        return []
    images = "1 image" if n == 1 else f"{n} images"
    return [f"smoke test on {images}: scores are not meaningful"]
