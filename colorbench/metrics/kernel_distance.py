"""Kernel distance (KID) between features of predictions and of ground truths, as one value per image.

The kernel is k(x, y) = (x.y / d + 1)^3 (Binkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018).

Where each prediction has its own ground truth in the reference set, the usual "unbiased" estimator is biased: its cross
sum holds the pairs (x_i, y_i), which are not independent. Here the estimator is the U-statistic over images,

    U = mean over i != j of H(i, j),   H(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j)

(Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample test", JMLR 13, 2012, equation 4). The mean of its
pseudo-values 2 h_i - U, with h_i the mean of H(i, j) over j, is U, and their spread is that of U: intervals and paired
tests can treat them as one score per image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

_BLOCK = 1024
"""Rows at a time: 8 MB per matrix of kernel values, whatever n."""


def paired_kernel_distance(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the pseudo-values of the U-statistic over images; their mean is the paired kernel distance.

    Args:
        features: (n, d) of the predictions; read in blocks, so it may be a memory map.
        reference: (n, d) of the ground truths, in the same order.

    Returns:
        (n,) float64; all exactly 0 where both are equal, NaN for fewer than 2 images.

    Raises:
        ValueError: for unequal shapes.
    """
    if features.shape != reference.shape or features.ndim != 2:
        raise ValueError(f"expected two (n, d) arrays of one shape, got {features.shape} and {reference.shape}")
    n = len(features)
    if n < 2:
        return np.full(n, math.nan)
    sums = np.zeros(n)
    for i, rows in _blocks(n):
        x, y = _float64(features, rows), _float64(reference, rows)
        for j, columns in _blocks(n):
            if j < i:
                continue
            others = (x, y) if i == j else (_float64(features, columns), _float64(reference, columns))
            values = _kernel(x, others[0]) + _kernel(y, others[1])
            values -= _kernel(x, others[1])
            values -= _kernel(y, others[0])
            if i == j:
                np.fill_diagonal(values, 0.0)
            else:
                sums[columns] += values.sum(axis=0)
            sums[rows] += values.sum(axis=1)
    terms = sums / (n - 1)
    return np.asarray(2 * terms - terms.mean())


def kernel_distance(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return one value per prediction whose mean is the unbiased kernel distance from other images.

    The reference set is taken as fixed: the values vary as the predictions do.

    Args:
        features: (n, d) of the predictions.
        reference: (m, d) of other images.

    Returns:
        (n,) float64; NaN for fewer than 2 images on either side.

    Raises:
        ValueError: for features of different lengths.
    """
    if features.ndim != 2 or features.shape[1:] != reference.shape[1:]:
        raise ValueError(f"expected (n, d) and (m, d), got {features.shape} and {reference.shape}")
    n, m = len(features), len(reference)
    if min(n, m) < 2:
        return np.full(n, math.nan)
    own, cross = _row_means(features, features), _row_means(features, reference)
    distance = own.mean() + _row_means(reference, reference).mean() - 2 * cross.mean()
    return np.asarray(distance + 2 * (own - own.mean()) - 2 * (cross - cross.mean()))


def _row_means(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute (n,) mean kernels of each row of ``a`` with the rows of ``b``; a row is not compared with itself."""
    sums, same = np.zeros(len(a)), a is b
    for i, rows in _blocks(len(a)):
        x = _float64(a, rows)
        for j, columns in _blocks(len(b)):
            values = _kernel(x, _float64(b, columns))
            if same and i == j:
                np.fill_diagonal(values, 0.0)
            sums[rows] += values.sum(axis=1)
    return np.asarray(sums / (len(b) - same))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # numpy computes only half of x @ x.T; with the copy all products are computed alike, so that equal features give
    # exactly 0.
    values = x @ np.ascontiguousarray(y.T)
    values /= x.shape[1]
    values += 1
    return np.asarray(values * values * values)


def _float64(features: np.ndarray, rows: slice) -> np.ndarray:
    return np.asarray(features[rows], dtype=np.float64)


def _blocks(n: int) -> Iterator[tuple[int, slice]]:
    for start in range(0, n, _BLOCK):
        yield start, slice(start, min(n, start + _BLOCK))
