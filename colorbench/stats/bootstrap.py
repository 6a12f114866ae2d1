"""Bootstrap confidence intervals of a metric over images, from per-image sufficient statistics.

A metric is a function of the sums of its statistics (n, k): its *form*. Images are resampled; weights of the bins,
classifiers and everything else stay fixed. The same seed and n give the same weights to every model and metric.

The interval is the studentized bootstrap (bootstrap-t; Efron and Tibshirani 1993, chapter 12) with the delta method's
standard error. Coverage of nominal 95 % intervals in sets of 50, 200 and 650 images drawn from the measured statistics
of 650 images (gray, a beige and half chroma): for the rebalanced AuC of gray at lambda 0.1, bootstrap-t 94-96 %, BCa
89-94 %, percentile 87-96 %; at lambda 0, where a few images dominate the sum, 81-92, 61-91 and 57-86 %. Bootstrap-t
intervals are a few percent wider at n = 650. If it is not finite (nearly all images equal), percentiles are used, and
the interval's method says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

Form = Literal["ratio", "abs_difference"]

MINIMUM_IMAGES = 30
"""Fewer images than this get no interval."""
RESAMPLES = 2000
"""Default number of bootstrap resamples."""
_BLOCK = 1 << 21  # weights in memory at a time: 16 MB, independent of n


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    method: str
    """``bootstrap-t``, ``bootstrap percentile``, or ``no variation`` if all images agree."""


def metric_value(form: Form, sums: np.ndarray) -> np.ndarray:
    """Compute the metric from sums of statistics over images or over bootstrap resamples.

    Args:
        form: ``ratio`` S0 / S1, or ``abs_difference`` |S0 - S1| / S2.
        sums: (..., k) with k = 2 or 3.

    Returns:
        (...) float64; NaN where the denominator is 0.

    Raises:
        ValueError: for an unknown form or a wrong k.
    """
    ratio = as_ratio(sums, form)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.where(ratio[..., 1] != 0, ratio[..., 0] / ratio[..., 1], np.nan)
    return np.abs(result) if form == "abs_difference" else result


def as_ratio(statistics: np.ndarray, form: Form) -> np.ndarray:
    """Convert (..., k) statistics, or their sums over a bootstrap resample, to numerator and denominator (..., 2).

    For ``abs_difference``, |S0 - S1| / S2, the numerator is still signed.

    Raises:
        ValueError: for an unknown form or a number of statistics that does not fit it.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    wanted = {"ratio": 2, "abs_difference": 3}.get(form)
    if wanted is None:
        raise ValueError(f"unknown form {form!r}: choose from {', '.join(get_args(Form))}")
    if statistics.shape[-1:] != (wanted,):
        raise ValueError(f"form {form!r} needs {wanted} statistics an image, got shape {statistics.shape}")
    if form == "ratio":
        return statistics
    return np.stack([statistics[..., 0] - statistics[..., 1], statistics[..., 2]], axis=-1)


def is_defined(statistics: np.ndarray) -> np.ndarray:
    """Return (n,) bool: the images whose statistics (n, k) hold no NaN."""
    return np.asarray(~np.isnan(statistics).any(axis=1))


def estimate(statistics: np.ndarray, form: Form) -> float:
    """Compute the metric from (n, k) statistics of images, without those with NaN; NaN if there are none."""
    return float(metric_value(form, statistics[is_defined(statistics)].sum(axis=0)))


def effective_n(statistics: np.ndarray, form: Form) -> float:
    """Compute the effective sample size (Kish): (sum w)^2 / sum w^2 of the denominators.

    Args:
        statistics: (n, k) per image; rows with NaN do not count.
        form: see ``value``.

    Returns:
        1..n; 0 where no image counts.
    """
    weights = as_ratio(statistics[is_defined(statistics)], form)[:, 1]
    squares = float((weights**2).sum())
    return float(weights.sum() ** 2 / squares) if squares > 0 else 0.0


def bootstrap_weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draw how often each of n images occurs in each resample: (resamples, n) int32, rows summing to n."""
    blocks = [block.astype(np.int32) for block in weight_blocks(n, resamples, seed)]
    return np.concatenate(blocks) if blocks else np.zeros((0, n), np.int32)


def weight_blocks(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of ``bootstrap_weights`` as blocks (b, n) float64 of bounded size. Do not write into them."""
    rows = max(1, _BLOCK // max(n, 1))
    if 0 < resamples <= rows:
        yield _one_block(n, resamples, seed)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, rows):
        yield _drawn(rng, n, min(rows, resamples - start))


@lru_cache(maxsize=1)
def _one_block(n: int, resamples: int, seed: int) -> np.ndarray:
    """Draw all rows as one block, cached for the next metric, since drawing takes longer than using the weights.

    Weights of larger sets would not fit in memory and are drawn again for each metric.
    """
    return _drawn(np.random.default_rng(seed), n, resamples)


def _drawn(rng: np.random.Generator, n: int, rows: int) -> np.ndarray:
    drawn = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n  # each row counts in its own cells
    weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
    weights.flags.writeable = False
    return weights


def interval(
    statistics: np.ndarray,
    form: Form,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Interval | None:
    """Compute the bootstrap confidence interval of a metric over images.

    Args:
        statistics: (n, k); images with NaN do not count.
        form: see ``value``.
        resamples: bootstrap samples.
        seed: seed of the resamples.
        level: nominal coverage.
        bounds: bounds of the metric, at which the interval is clipped.

    Returns:
        None for fewer than 30 images with defined values, or a value that is not finite.
    """
    pairs = as_ratio(statistics[is_defined(statistics)], form)
    found = studentized([pairs], [1.0], resamples=resamples, seed=seed, level=level)
    if found is None:
        return None
    low, high = found.low, found.high
    if form == "abs_difference":
        # The interval of the signed difference, folded at 0: if it contains 0, so does that of the absolute value.
        low, high = (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
    minimum, most = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
    return Interval(float(np.clip(low, minimum, most)), float(np.clip(high, minimum, most)), found.method)


def studentized(
    parts: list[np.ndarray], signs: list[float], *, resamples: int, seed: int, level: float
) -> Interval | None:
    """Compute the bootstrap-t interval of a signed sum of ratios over the same images.

    Args:
        parts: each (n, 2), numerators and denominators.
        signs: of each part; (1, -1) is a difference.
        resamples: see ``interval``.
        seed: see ``interval``.
        level: see ``interval``.
    """
    sums = [part.sum(axis=0) for part in parts]
    if len(parts[0]) < MINIMUM_IMAGES or not all(np.isfinite(s).all() and s[1] != 0 for s in sums):
        return None
    ratios = [s[0] / s[1] for s in sums]
    center = float(sum(sign * ratio for sign, ratio in zip(signs, ratios, strict=True)))
    # Residuals instead of numerators: each part's ratio becomes 0, and the squares below lose no digits.
    z = np.concatenate([np.stack([p[:, 0] - r * p[:, 1], p[:, 1]], 1) for p, r in zip(parts, ratios, strict=True)], 1)
    with np.errstate(over="ignore", invalid="ignore"):
        _, error = linearized(z.sum(axis=0)[None], (z.T @ z)[None], signs)
    scale = max(abs(ratio) for ratio in ratios)
    if not np.isfinite(error[0]):
        return None  # numbers too large to be squared
    if error[0] <= 1e-12 * scale:
        return Interval(center, center, "no variation")
    products = (z[:, :, None] * z[:, None, :]).reshape(len(z), -1)  # (n, 2p * 2p)
    shifts, errors = [], []
    for weights in weight_blocks(len(z), resamples, seed):
        moments = (weights @ products).reshape(len(weights), z.shape[1], z.shape[1])
        shift, spread = linearized(weights @ z, moments, signs)
        shifts.append(shift)
        errors.append(spread)
    shift, spread = np.concatenate(shifts), np.concatenate(errors)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = shift / spread
        high, low = center - float(error[0]) * np.quantile(t[~np.isnan(t)], tails)
    if np.isfinite([low, high]).all():
        return Interval(float(low), float(high), "bootstrap-t")
    low, high = center + np.nanquantile(shift, tails)
    return Interval(float(low), float(high), "bootstrap percentile") if np.isfinite([low, high]).all() else None


def linearized(sums: np.ndarray, moments: np.ndarray, signs: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Compute values (B,) and delta-method standard errors (B,) of a signed sum of ratios.

    Args:
        sums: (B, 2p) of numerators and denominators.
        moments: (B, 2p, 2p) sums of their products.
        signs: (p,).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.asarray(signs) / sums[:, 1::2]  # (B, p) d value / d numerator
        ratio = sums[:, 0::2] / sums[:, 1::2]
    gradient = np.stack([slope, -slope * ratio], axis=2).reshape(len(sums), -1)  # (B, 2p)
    variance = np.einsum("bi,bij,bj->b", gradient, moments, gradient)
    return (np.asarray(signs) * ratio).sum(axis=1), np.sqrt(np.maximum(variance, 0))
