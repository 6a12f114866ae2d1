"""Rank confidence intervals of models, from simultaneous tests of all pairs on the same images.

The rank interval of a model is [1 + number significantly better, K - number significantly worse] (Mogstad, Romano,
Shaikh and Wilhelm 2024, "Inference for ranks"). Two models differ significantly where the studentized difference of the
metric exceeds one critical value for all pairs: the 95 % quantile, over resamples of the images, of the largest |t| of
any pair. With 95 % probability no pair is put in the wrong order, and then every interval contains the model's true
ranks, including ties. Significance is not transitive: A may differ from C while B differs from neither.

Each resample divides by its own standard errors (the delta method's, from influence values). Dividing by those of the
data, which is usual and cheaper, put a pair in the wrong order too often where few images dominate a pooled ratio. The
values are in docs/comparison.md and are printed by ``benchmarks.comparison``.

|S0 - S1| / S2 has a kink at 0, where resampling fails. Since |g| = |h| exactly where g - h = 0 or g + h = 0, both are
tested, in the same family: |g| and |h| differ significantly where both g - h and g + h differ from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from colorbench.stats.bootstrap import MINIMUM_IMAGES, RESAMPLES, Form, as_ratio, weight_blocks

POWER = 0.8
"""Probability with which a difference of the detectable size is detected."""
FEWEST = 10.0
"""Effective number of images below which the difference of two models is never significant: resamples without any of
these images have no standard error, and one such pair would determine the critical value of all pairs."""
GROUPS = 5_000
"""Number of images beyond which resamples draw random groups of images, whose sums have the same variance. The time of
a resample grows with the number of pairs of models and of images."""
_WEIGHTS = 1 << 24  # weights in memory at a time, 2 bytes each
_CELLS = 1 << 20  # numbers in any working array, 8 bytes each


@dataclass(frozen=True)
class Ranking:
    """Ranks of K models by one metric, in the order in which the models were given."""

    values: np.ndarray
    """(K,) metric values over the images on which the metric is defined for all models."""
    ranks: np.ndarray
    """(K, 2) int: lowest and highest rank in the interval of each model; 1 is best."""
    better: np.ndarray
    """(K, K) bool: [i, j] is True if model i is significantly better than model j."""
    low: np.ndarray
    """(K, K) simultaneous confidence limits of value i - value j."""
    high: np.ndarray
    errors: np.ndarray
    """(K, K) standard errors of value i - value j."""
    critical: float
    """Number of standard errors from which a difference is significant; NaN for a single model."""
    detectable: float | None
    """Smallest difference that is detected with 80 % probability, given the number of images and of models: the median
    over pairs, in the unit of the metric. None if no pair can be tested."""
    n: int
    """Images on which the metric is defined for all models."""


def rank_models(
    statistics: np.ndarray,
    form: Form,
    *,
    higher_is_better: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Ranking | None:
    """Rank models with confidence intervals of ranks that hold simultaneously for all models.

    Args:
        statistics: (K, n, k), image j the same for all models; an image with NaN for any model is left out for all.
        form: see ``bootstrap.value``.
        higher_is_better: the metric's direction.
        resamples: number of resamples.
        seed: seed of the draw.
        level: nominal coverage, such as 0.95.

    Returns:
        None for fewer than 30 images, no model, or numbers too large to be squared.

    Raises:
        ValueError: for a wrong shape or form.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    if statistics.ndim != 3:
        raise ValueError(f"statistics must have the shape (models, images, k), got {statistics.shape}")
    pairs = as_ratio(statistics[:, ~np.isnan(statistics).any(axis=(0, 2))], form)  # (K, n, 2)
    models, n, _ = pairs.shape
    sums = pairs.sum(axis=1)  # (K, 2)
    if models == 0 or n < MINIMUM_IMAGES or not np.isfinite(sums).all() or (sums[:, 1] == 0).any():
        return None
    ratios = sums[:, 0] / sums[:, 1]  # (K,) signed, even of an absolute difference
    combined = _Combinations(models, sums=form == "abs_difference")
    influence, shares = _influence(pairs, ratios, sums)
    with np.errstate(over="ignore", invalid="ignore"):
        errors = combined.errors(influence @ influence.T)
        testable = _carrying(pairs[..., 0] / sums[:, 1:], combined) >= FEWEST
    if not np.isfinite(errors).all():
        return None
    testable &= errors > 1e-12 * np.abs(ratios).max()
    critical = _critical(influence, shares, combined, testable, resamples=resamples, seed=seed, level=level)
    centers = combined.of(ratios)
    reach = np.where(testable, critical * errors, np.where(errors > 0, np.inf, 0.0))
    low, high = combined.square(centers - reach, centers + reach)
    better = low > 0 if higher_is_better else high < 0
    spread = errors[: combined.count][testable[: combined.count]]
    return Ranking(
        values=np.abs(ratios) if form == "abs_difference" else ratios,
        ranks=np.stack([1 + better.sum(axis=0), models - better.sum(axis=1)], axis=1),
        better=better,
        low=low,
        high=high,
        errors=combined.symmetric(errors[: combined.count]),
        critical=critical,
        detectable=float(np.median(spread) * (critical + ndtri(POWER))) if len(spread) else None,
        n=n,
    )


class _Combinations:
    """Combinations to test: g_i - g_j of all pairs i < j, followed by g_i + g_j if the metric is |g|."""

    def __init__(self, models: int, *, sums: bool) -> None:
        self.first, self.second = np.triu_indices(models, 1)
        self.models, self.count, self.sums = models, len(self.first), sums

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return the value of every combination: (..., K) -> (..., C)."""
        a, b = values[..., self.first], values[..., self.second]
        return np.concatenate([a - b, a + b], axis=-1) if self.sums else np.asarray(a - b)

    def errors(self, covariance: np.ndarray) -> np.ndarray:
        """Return the standard error of every combination: (K, K) covariance -> (C,)."""
        return self.errors_of(np.diagonal(covariance), covariance[self.first, self.second])

    def errors_of(self, variances: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        """Return standard errors (..., C) from (..., K) variances and (..., pairs) covariances."""
        both = variances[..., self.first] + variances[..., self.second]
        parts = [both - 2 * covariances, both + 2 * covariances] if self.sums else [both - 2 * covariances]
        return np.asarray(np.sqrt(np.maximum(np.concatenate(parts, axis=-1), 0)))

    def symmetric(self, values: np.ndarray) -> np.ndarray:
        """Return the symmetric matrix of pairs: (pairs,) -> (K, K) with 0 on the diagonal."""
        integer = np.zeros((self.models, self.models))
        integer[self.first, self.second] = integer[self.second, self.first] = values
        return integer

    def square(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the limits of value i - value j, (K, K), from limits (C,) of combinations."""
        if self.sums:
            # |g| - |h| = clip(g - h, -|g + h|, |g + h|) with the sign of g + h: monotone in each of the two, so that
            # its extremes over both intervals lie at their ends.
            u, v = np.stack([low, high])[:, : self.count], np.stack([low, high])[:, self.count :]
            ends = np.stack([np.sign(y) * np.clip(x, -np.abs(y), np.abs(y)) for x in u for y in v])
            low, high = ends.min(axis=0), ends.max(axis=0)
        lows, highs = np.zeros((2, self.models, self.models))
        lows[self.first, self.second], highs[self.first, self.second] = low, high
        lows[self.second, self.first], highs[self.second, self.first] = -high, -low
        return lows, highs


def _influence(pairs: np.ndarray, ratios: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the influence of each image on each value, (K, n), and its share of the denominator.

    The share is (K, n), or (1, n) if common.
    """
    influence = (pairs[..., 0] - ratios[:, None] * pairs[..., 1]) / sums[:, 1:]
    shares = pairs[..., 1] / sums[:, 1:]
    return influence, shares[:1] if (pairs[:, :, 1] == pairs[:1, :, 1]).all() else shares


def _carrying(parts: np.ndarray, combined: _Combinations) -> np.ndarray:
    """Compute the effective number of images behind each combination of (K, n) parts.

    It is (C,): (sum |x|)^2 / sum x^2 (Kish).
    """
    counts = []
    step = max(1, _CELLS // parts.shape[1])
    for sign in (-1.0, 1.0) if combined.sums else (-1.0,):
        for start in range(0, combined.count, step):
            first, second = combined.first[start : start + step], combined.second[start : start + step]
            x = parts[first] + sign * parts[second]
            counts.append(np.abs(x).sum(axis=1) ** 2 / np.maximum((x * x).sum(axis=1), np.finfo(float).tiny))
    return np.concatenate(counts) if counts else np.zeros(0)


def _critical(
    influence: np.ndarray,
    shares: np.ndarray,
    combined: _Combinations,
    testable: np.ndarray,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> float:
    """Compute the quantile of the largest |t| of any testable combination; NaN where there is none."""
    if not testable.any():
        return float("nan")
    models = len(influence)
    variables = _grouped(np.concatenate([influence, shares]), seed)  # (v, n)
    n = variables.shape[1]
    left, right = np.triu_indices(len(variables))
    position = np.empty((len(variables), len(variables)), dtype=np.int64)
    position[left, right] = position[right, left] = np.arange(len(left))
    largest = []
    for weights in _weight_groups(n, resamples, seed):
        sums, moments = _resampled(weights, variables, left, right)
        rows = max(1, _CELLS // len(left))
        for start in range(0, len(weights), rows):
            part = slice(start, start + rows)
            largest.append(_largest_t(sums[part], moments[part], position, models, combined, testable))
    return float(np.quantile(np.concatenate(largest), level, method="higher"))


def _grouped(variables: np.ndarray, seed: int) -> np.ndarray:
    """Return the sums (v, GROUPS) of the variables (v, n) over random groups of images; up to GROUPS images, all."""
    n = variables.shape[1]
    if n <= GROUPS:
        return variables
    order = np.random.default_rng(seed).permutation(n)
    return np.add.reduceat(variables[:, order], np.arange(GROUPS) * n // GROUPS, axis=1)


def _weight_groups(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of ``weight_blocks`` as (b, n) uint16, many at a time.

    Products over images are then computed once per group.
    """
    wanted = max(1, _WEIGHTS // n)
    waiting: list[np.ndarray] = []
    for block in weight_blocks(n, resamples, seed):
        waiting.append(block.astype(np.uint16))
        if sum(map(len, waiting)) >= wanted:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _resampled(
    weights: np.ndarray, variables: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute sums (b, v) of the variables (v, n) and (b, p) of their products, in each resample."""
    sums = np.zeros((len(weights), len(variables)))
    moments = np.zeros((len(weights), len(left)))
    step = max(1, _CELLS // len(left))
    for start in range(0, weights.shape[1], step):
        drawn = weights[:, start : start + step].astype(np.float64)
        part = variables[:, start : start + step]
        sums += drawn @ part.T
        moments += drawn @ (part[left] * part[right]).T
    return sums, moments


def _largest_t(
    sums: np.ndarray,
    moments: np.ndarray,
    position: np.ndarray,
    models: int,
    combined: _Combinations,
    testable: np.ndarray,
) -> np.ndarray:
    """Compute the largest |t| (b,) of the testable combinations in each resample.

    Standard errors are those of the resample.
    """
    each = np.arange(models)
    # Index of the variable with each model's denominator: its own, or one common to all.
    below = models + (each if len(position) == 2 * models else np.zeros(models, dtype=np.int64))
    totals = sums[:, below]  # (b, K), about 1
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = sums[:, :models] / totals  # (b, K) value in the resample - value

        def covariance(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            crossed = shift[:, j] * moments[:, position[i, below[j]]] + shift[:, i] * moments[:, position[j, below[i]]]
            squared = shift[:, i] * shift[:, j] * moments[:, position[below[i], below[j]]]
            return np.asarray((moments[:, position[i, j]] - crossed + squared) / (totals[:, i] * totals[:, j]))

        errors = combined.errors_of(covariance(each, each), covariance(combined.first, combined.second))
        t = np.abs(combined.of(shift)) / errors
    # 0 / 0: no image on which the two differ was drawn.
    return np.asarray(np.nan_to_num(t[:, testable], nan=0.0, posinf=np.inf).max(axis=1))
