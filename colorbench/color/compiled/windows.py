"""Local means over windows for SSIM, compiled (see ``colorbench/color/compiled/jit.py``): a row at a time.

Each loop writes one array: only then can the compiler exclude aliasing and vectorize.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from colorbench.color.compiled.jit import compiled, f64, i32

_CENTER = i32(128)  # subtracted before squaring, to limit cancellation where squares are subtracted


@compiled
def _centered(values: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = i32(values[p]) - _CENTER


@compiled
def _squares(x: Any, y: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = x[p] * x[p] + y[p] * y[p]


@compiled
def _products(x: Any, y: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = x[p] * y[p]


@compiled
def _gaussian_down(rows: Any, taps: Any, out: Any) -> None:
    """Write the weighted sum of 11 rows, (11, w), whose weights are symmetric."""
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for p in range(out.size):
        outer = t0 * f64(rows[0, p] + rows[10, p]) + t1 * f64(rows[1, p] + rows[9, p])
        outer = outer + t2 * f64(rows[2, p] + rows[8, p]) + t3 * f64(rows[3, p] + rows[7, p])
        out[p] = outer + t4 * f64(rows[4, p] + rows[6, p]) + t5 * f64(rows[5, p])


@compiled
def _gaussian_across(row: Any, taps: Any, out: Any) -> None:
    """Write the weighted sums of 11 neighbors in a row."""
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for p in range(out.size):
        outer = t0 * (row[p] + row[p + 10]) + t1 * (row[p + 1] + row[p + 9]) + t2 * (row[p + 2] + row[p + 8])
        out[p] = outer + t3 * (row[p + 3] + row[p + 7]) + t4 * (row[p + 4] + row[p + 6]) + t5 * row[p + 5]


@compiled
def _uniform_down(rows: Any, out: Any) -> None:
    """Write the sum of 7 rows, (7, w)."""
    for p in range(out.size):
        head = rows[0, p] + rows[1, p] + rows[2, p]
        out[p] = head + rows[3, p] + rows[4, p] + rows[5, p] + rows[6, p]


@compiled
def _uniform_across(row: Any, out: Any) -> None:
    """Write the sums of 7 neighbors in a row."""
    for p in range(out.size):
        head = row[p] + row[p + 1] + row[p + 2]
        out[p] = head + row[p + 3] + row[p + 4] + row[p + 5] + row[p + 6]


@compiled
def _similarity(means: Any, center: Any, sample: Any, c1: Any, c2: Any, out: Any) -> None:
    """Write the SSIM of every window of a row from its means, (4, w): of x, y, x^2 + y^2 and x y, centered."""
    for p in range(out.size):
        x, y = means[0, p], means[1, p]
        squares, product = x * x + y * y, x * y
        variances, covariance = sample * (means[2, p] - squares), sample * (means[3, p] - product)
        x, y = x + center, y + center
        luminance = (x * y + x * y + c1) / (x * x + y * y + c1)
        out[p] = luminance * ((covariance + covariance + c2) / (variances + c2))


@compiled
def _scaled(sums: Any, factor: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = sums[p] * factor


@compiled
def gaussian_ssim(a: Any, b: Any, taps: Any, c1: float, c2: float) -> Any:
    """Compute the mean SSIM in compiled windows of one channel, Gaussian of 11 x 11, in float64.

    Args:
        a: (H, W) uint8.
        b: (H, W) uint8.
        taps: (6,) float64, the outer half of the window and its middle.
        c1: the first stabilizing constant.
        c2: the second.
    """
    height, width = a.shape
    maps = np.empty((4, height, width), np.int32)
    _maps(a, b, maps)
    columns, means, similarity = np.empty(width), np.empty((4, width - 10)), np.empty(width - 10)
    total = 0.0
    for y in range(height - 10):
        for k in range(4):
            _gaussian_down(maps[k, y : y + 11], taps, columns)
            _gaussian_across(columns, taps, means[k])
        _similarity(means, 128.0, 1.0, c1, c2, similarity)
        for p in range(similarity.size):
            total += similarity[p]
    return total / ((height - 10) * (width - 10))


@compiled
def uniform_ssim(a: Any, b: Any, c1: float, c2: float) -> Any:
    """Compute the mean SSIM in compiled windows of one channel, 7 x 7 equal weights, sample covariance, in float64.

    Args:
        a: (H, W) uint8.
        b: (H, W) uint8.
        c1: the first stabilizing constant.
        c2: the second.
    """
    height, width = a.shape
    maps = np.empty((4, height, width), np.int32)
    _maps(a, b, maps)
    columns, sums = np.empty(width, np.int32), np.empty(width - 6, np.int32)  # below 49 * 2 * 128^2
    means, similarity = np.empty((4, width - 6)), np.empty(width - 6)
    total = 0.0
    for y in range(height - 6):
        for k in range(4):
            _uniform_down(maps[k, y : y + 7], columns)
            _uniform_across(columns, sums)
            _scaled(sums, 1 / 49, means[k])
        _similarity(means, 128.0, 49 / 48, c1, c2, similarity)
        for p in range(similarity.size):
            total += similarity[p]
    return total / ((height - 6) * (width - 6))


@compiled
def _maps(a: Any, b: Any, maps: Any) -> None:
    for y in range(a.shape[0]):
        _centered(a[y], maps[0, y])
        _centered(b[y], maps[1, y])
        _squares(maps[0, y], maps[1, y], maps[2, y])
        _products(maps[0, y], maps[1, y], maps[3, y])
