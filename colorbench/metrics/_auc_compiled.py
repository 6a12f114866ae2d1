"""Per-image AuC statistics, compiled (see ``colorbench/color/compiled/jit.py``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from colorbench.color.compiled.jit import compiled, f32, f64, i32, i64, u32, u64

_BLOCK = 1024
SUMS = 4
"""Number of partial sums that neighboring pixels use in turn: an addition would have to wait for the previous write."""
_ZERO, _ONE = f32(0), f32(1)


@compiled
def _distances(a: Any, b: Any, true_a: Any, true_b: Any, limit: Any, per_unit: Any, ceilings: Any, units: Any) -> Any:
    """Write ceil(d), at most limit + 1, and min(d, limit) in units; return how many distances are NaN."""
    unknown = i32(0)
    for p in range(ceilings.size):
        da, db = a[p] - true_a[p], b[p] - true_b[p]
        distance = np.sqrt(da * da + db * db)
        unknown += i32(not distance >= _ZERO)
        ceilings[p] = i32(min(np.ceil(distance), limit + _ONE))
        units[p] = i32(np.rint(min(distance, limit) * per_unit))
    return unknown


@compiled
def _strange(bins: Any, count: int) -> Any:
    """Count the bins that are not in 0 ... count - 1."""
    strange = i64(0)
    for p in range(bins.size):
        strange += i64(bins[p] < 0) + i64(bins[p] >= count)
    return strange


@compiled
def _add(bins: Any, ceilings: Any, units: Any, columns: int, joint: Any, sums: Any) -> None:
    for p in range(bins.size):
        found = u64(bins[p])
        joint[found * u64(columns) + u64(u32(ceilings[p]))] += i32(1)
        sums[found * u64(SUMS) + u64(p % SUMS)] += i64(units[p])


@compiled
def count(predicted: Any, truth: Any, bins: Any, last: int, unit: float, joint: Any, sums: Any) -> bool:
    """Count pixels by true bin and ceil(d) for the AuC, and sum min(d, last) by true bin.

    Args:
        predicted: (N, 2, n) float32 ab.
        truth: (N, 2, n) float32 ab of the ground truth.
        bins: (N, n) int64, bins of the ground truth.
        last: the last threshold.
        unit: a power of two, to which distances are rounded, so that sums are exact.
        joint: (N, bins, last + 2) int32 zeros, filled.
        sums: (N, bins, SUMS) int64 zeros, filled with parts of the sums, in units.

    Returns:
        False if a bin is out of range or a distance is NaN; the filled arrays are then invalid.
    """
    limit, per_unit = f32(last), f32(1 / unit)
    ceilings, units = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    for image in range(predicted.shape[0]):
        counted, added = joint[image].reshape(-1), sums[image].reshape(-1)
        for start in range(0, predicted.shape[2], _BLOCK):
            stop = min(start + _BLOCK, predicted.shape[2])
            near, far, found = ceilings[: stop - start], units[: stop - start], bins[image, start:stop]
            a, b = predicted[image, 0, start:stop], predicted[image, 1, start:stop]
            true_a, true_b = truth[image, 0, start:stop], truth[image, 1, start:stop]
            if _distances(a, b, true_a, true_b, limit, per_unit, near, far) or _strange(found, joint.shape[1]):
                return False
            _add(found, near, far, joint.shape[2], counted, added)
    return True


@compiled
def add_up(joint: Any, score: Any, counts: Any, histogram: Any, scores: Any) -> None:
    """Reduce the counts of every image to what the statistics of the AuC need.

    Args:
        joint: (N, bins, columns) integers, pixels by bin and ceil(d).
        score: (columns,) int64, score of a pixel.
        counts: (N, bins) int64, filled with pixel counts.
        histogram: (N, columns) int64 zeros, filled with pixel counts.
        scores: (N, bins) int64, filled with sums of the score.
    """
    for image in range(joint.shape[0]):
        for one in range(joint.shape[1]):
            row = joint[image, one]
            pixels, total = i64(0), i64(0)
            for column in range(row.size):
                pixels += i64(row[column])
                total += i64(row[column]) * score[column]
            counts[image, one], scores[image, one] = pixels, total
            if pixels:
                for column in range(row.size):
                    histogram[image, column] += i64(row[column])


@compiled
def weigh(joint: Any, counts: Any, weights: Any, out: Any) -> None:
    """Sum pixels by ceil(d) for the AuC, each with the weight of its bin; the bins are added in their order.

    Args:
        joint: (N, bins, columns) integers.
        counts: (N, bins) int64, its sums over the columns.
        weights: (bins,) float64.
        out: (N, columns) float64 zeros, filled.
    """
    for image in range(joint.shape[0]):
        for one in range(joint.shape[1]):
            if counts[image, one]:
                row, weight = joint[image, one], weights[one]
                for column in range(row.size):
                    out[image, column] += f64(row[column]) * weight
