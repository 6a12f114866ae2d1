"""Paired comparison of two models on the same images: interval of the difference, and a sign-flip test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from colorbench.stats.absolute_difference import absolute_interval
from colorbench.stats.bootstrap import RESAMPLES, Form, Interval, as_ratio, estimate, is_defined, studentized


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Return whether the interval of a paired difference excludes 0; False without an interval."""
    return low is not None and high is not None and (low > 0 or high < 0)


def significance(low: float | None, high: float | None, higher_is_better: bool) -> Literal["better", "worse"] | None:
    """Return whether a paired interval shows the first model to be better or worse; None if it shows neither."""
    if low is None or not excludes_zero(low, high):
        return None
    return "better" if (low > 0) == higher_is_better else "worse"


@dataclass(frozen=True)
class PairedDifference:
    """The metric of one model minus that of another."""

    value: float
    """NaN if no image is defined for both."""
    interval: Interval | None
    """None for fewer than 30 images."""
    n: int
    """Images on which both are defined."""


def paired_interval(
    statistics_a: np.ndarray,
    statistics_b: np.ndarray,
    form: Form,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Compute the difference a - b over the images on which both are defined, with the same resamples for both.

    Ratios use the studentized bootstrap of ``interval``; absolute differences, which have a kink at 0, use
    ``absolute_interval``.

    Args:
        statistics_a: (n, k), row i of the same image in both.
        statistics_b: (n, k), row i of the same image in both.
        form: as for ``interval``.
        resamples: as for ``interval``.
        seed: as for ``interval``.
        level: as for ``interval``.

    Raises:
        ValueError: for unequal shapes.
    """
    a, b = _common(statistics_a, statistics_b)
    difference = estimate(a, form) - estimate(b, form)
    x, y = as_ratio(a, form), as_ratio(b, form)
    if form == "abs_difference":
        found = absolute_interval(x, y, resamples=resamples, seed=seed, level=level)
    else:
        if np.array_equal(x[:, 1], y[:, 1]):
            # As one ratio, so that equal models differ by exactly 0, and similar ones lose no digits.
            parts, signs = [np.stack([x[:, 0] - y[:, 0], x[:, 1]], axis=1)], [1.0]
        else:
            parts, signs = [x, y], [1.0, -1.0]
        found = studentized(parts, signs, resamples=resamples, seed=seed, level=level)
    return PairedDifference(difference, found, len(a))


def sign_flip_p(
    statistics_a: np.ndarray, statistics_b: np.ndarray, form: Form = "ratio", *, flips: int = 9999, seed: int = 0
) -> float:
    """Compute the two-sided p value of a sign-flip test: the two models are exchangeable on every image.

    Both models must have the same denominators.

    The differences of the numerators get random signs, which swaps the models on some images. p is the share of the
    draws, including the observed one, whose sums are at least as large as observed. Absolute differences |g| and |h|
    are equal if g = h or g = -h: both are tested, the second by swapping one model with the negative of the other, and
    p is the larger of the two.

    Args:
        statistics_a: (n, k), equal denominators.
        statistics_b: (n, k), equal denominators.
        form: see ``metric_value``; for an absolute difference the second statistic must be equal, too.
        flips: random draws.
        seed: seed of the signs.

    Returns:
        p in 1 / (flips + 1) .. 1; NaN if no image is defined for both.

    Raises:
        ValueError: for unequal shapes or denominators.
    """
    a, b = _common(statistics_a, statistics_b)
    x, y = as_ratio(a, form), as_ratio(b, form)
    if not np.array_equal(a[:, 1:], b[:, 1:]):
        raise ValueError("the sign-flip test needs ratios with equal denominators on every image")
    if len(a) == 0:
        return float("nan")
    kinds = [-1.0, 1.0] if form == "abs_difference" else [-1.0]
    combined = np.stack([x[:, 0] + sign * y[:, 0] for sign in kinds], axis=1)
    # A draw that equals the observed sum up to rounding counts as reaching it.
    reached = np.abs(combined.sum(axis=0)) * (1 - 1e-12)
    rng = np.random.default_rng(seed)
    rows = max(1, (1 << 21) // len(combined))
    extreme = np.zeros(len(kinds), dtype=np.int64)
    for start in range(0, flips, rows):
        signs = rng.integers(0, 2, (min(rows, flips - start), len(combined)), dtype=np.int8) * 2 - 1
        extreme += (np.abs(signs @ combined) >= reached).sum(axis=0)
    return float((extreme.max() + 1) / (flips + 1))


def _common(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"paired statistics must have one shape (n, k), got {a.shape} and {b.shape}")
    both = is_defined(a) & is_defined(b)
    return a[both], b[both]
