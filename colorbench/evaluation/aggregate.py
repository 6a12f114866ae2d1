"""From rows to numbers: metrics with intervals, differences from other models on the same images.

Everything here follows from what was stored. Images count by their statistics (``<metric>.s0``, ``.s1`` ...): one on
which a metric is not defined (NaN) drops out of that metric alone.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from colorbench.evaluation.interfaces import Summary
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.models.stored_predictions import lightness_warning
from colorbench.results import (
    CurvePart,
    Difference,
    Metric,
    MetricSpec,
    Shard,
    first_positions,
    paired_positions,
    statistics_of,
    without_copies,
)
from colorbench.results.record import Files
from colorbench.results.rows import rows_bytes
from colorbench.results.shard import StoredArrays
from colorbench.stats import bootstrap, paired_interval, share_of_gap
from colorbench.storage.atomic import atomic_file
from colorbench.storage.hashing import file_sha256
from colorbench.storage.npz import write_npz

FEW = 100
"""Below this effective number of images, intervals were found to cover less than they say."""
TOO_SHORT = "interval too short: it covers less than 95 %, since {n:.0f} images decide"
NOT_RESOLVED = "gap not resolved: the gap's own interval touches 0, so that no share of it is given"


@contextlib.contextmanager
def gathered(folder: RunDirectory, count: int) -> Iterator[Shard]:
    """Yield all shards of a run as one, each distinct image once; the arrays stay on disk while the context lasts.

    Shards are read one after another, first without their arrays, then with them. What is held is a line for each
    image and the protocol's columns.

    Args:
        folder: of the run.
        count: how many shards there are.

    Raises:
        RunError: for a damaged shard, or shards that do not fit together.
    """
    rows = merge(folder.read_shard(index, arrays=False) for index in range(count))
    distinct = first_positions(rows.sha256s)
    scratch = folder.shards / "arrays"

    def parts() -> Iterator[tuple[Shard, np.ndarray]]:
        start = 0
        for index in range(count):
            shard = folder.read_shard(index)
            yield (
                shard,
                distinct[np.searchsorted(distinct, start) : np.searchsorted(distinct, start + len(shard))] - start,
            )
            start += len(shard)

    try:
        arrays = StoredArrays.gather(scratch, parts(), len(distinct))
        yield replace(without_copies(rows), arrays=arrays)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def merge(shards: Iterable[Shard]) -> Shard:
    """Merge all shards of a run into one, in their order."""
    parts = list(shards)
    scored = [part for part in parts if len(part)]
    return Shard(
        ids=tuple(id for part in parts for id in part.ids),
        sha256s=tuple(sha256 for part in parts for sha256 in part.sha256s),
        labels=tuple(label for part in parts for label in part.labels),
        gray=tuple(gray for part in parts for gray in part.gray),
        sizes=tuple(size for part in parts for size in part.sizes),
        columns=concatenated([part.columns for part in scored]),
        arrays=concatenated([part.arrays for part in scored]),
        skipped=tuple(one for part in parts for one in part.skipped),
        seconds=dict(sum((Counter(part.seconds) for part in parts), Counter())),
    )


def concatenated(
    parts: Sequence[Mapping[str, np.ndarray]], order: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """Concatenate columns or arrays of all parts, (n, ...); in another order where one is given."""
    if not parts:
        return {}
    full = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return full if order is None else {name: values[list(order)] for name, values in full.items()}


def metrics_of(
    specs: Sequence[MetricSpec], columns: Mapping[str, np.ndarray], effective: Mapping[str, float]
) -> list[Metric]:
    """Compute every metric over all images, with its interval where there can be one.

    Args:
        specs: what to compute.
        columns: of the rows.
        effective: effective numbers of images where the protocol knows them better than the statistics tell.
    """
    metrics = [_metric(spec, statistics_of(columns, spec), effective.get(spec.name)) for spec in specs]
    warning = lightness_warning(columns)
    # Whether intervals are too short does not matter for numbers of other images.
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
        warning = TOO_SHORT.format(n=effective) if found and effective < FEW else None
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
        other: the other model's name.
        specs: metrics of both.
        candidate: content hashes and columns (n,) of the rows; images are paired by content.
        reference: the same of the other model, (m,).
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


def curves_of(summary: Summary) -> list[CurvePart]:
    """Return curves as a record holds them; a curve with a point that is not finite is left out."""
    finite = [curve for curve in summary.curves if np.isfinite([*curve.x, *curve.y]).all()]
    return [
        CurvePart(
            name=curve.name,
            title=curve.title,
            x_label=curve.x_label,
            y_label=curve.y_label,
            x=list(curve.x),
            y=list(curve.y),
            beside={label: list(line) for label, line in curve.beside.items()},
        )
        for curve in finite
    ]


def few_images_note(n: int) -> list[str]:
    """Return the note for so few images that nothing is measured; none for 30 and more."""
    if n >= bootstrap.MINIMUM_IMAGES:
        return []
    images = "1 image" if n == 1 else f"{n} images"
    return [f"smoke test on {images}: scores are not meaningful"]


def write_rows(
    folder: RunDirectory, rows: Shard, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]
) -> Files:
    """Write ``rows.parquet`` and, where there are arrays, ``arrays.npz``; their hashes, without any images' yet."""
    folder.write(folder.rows, rows_bytes(rows, columns))
    if arrays:
        with atomic_file(folder.arrays, scratch=folder.shards) as file:
            write_npz(file, arrays)
    hashes = {folder.arrays.name: file_sha256(folder.arrays)} if arrays else {}
    return Files(rows=file_sha256(folder.rows), arrays=hashes, saved_images={})
