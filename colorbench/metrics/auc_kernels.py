"""The statistics of AuC, compiled (see ``colorbench/compiled.py``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from colorbench.compiled import compiled, f32, f64


@compiled
def count(predicted: Any, truth: Any, bins: Any, last: int, unit: float, joint: Any, distances: Any) -> bool:
    """Pixels by bin of the truth and ceil(d), and the sum of min(d, last) by bin.

    Args:
        predicted: (N, 2, n) float32 ab.
        truth: The same.
        bins: (N, n) int64, bins of the truth.
        last: the last threshold.
        unit: a power of two, that distances are rounded to, so that sums are exact.
        joint: (N, bins, last + 2) int64 zeros, filled.
        distances: (N, bins) float64 zeros, filled, in units.

    Returns:
        False where a bin is beyond the last one, or a distance is no number; what is filled then tells nothing.
    """
    limit, per_unit = f32(last), f32(1 / unit)
    size = joint.shape[1]
    for image in range(predicted.shape[0]):
        for pixel in range(predicted.shape[2]):
            da = predicted[image, 0, pixel] - truth[image, 0, pixel]
            db = predicted[image, 1, pixel] - truth[image, 1, pixel]
            distance = np.sqrt(da * da + db * db)
            found = bins[image, pixel]
            if found < 0 or found >= size or not distance >= f32(0):
                return False
            joint[image, found, int(min(np.ceil(distance), limit + f32(1)))] += 1
            distances[image, found] += f64(np.rint(min(distance, limit) * per_unit))
    return True
