"""Effect sizes, sample size planning, and Holm's correction of p values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from colorbench.stats.bootstrap import MINIMUM_IMAGES, Form, as_ratio, estimate, is_defined

LEVEL = 0.05
POWER = 0.8


def difference_influence(statistics_a: np.ndarray, statistics_b: np.ndarray, form: Form) -> np.ndarray:
    """Compute the influence of each image on the difference a - b, to first order.

    Args:
        statistics_a: (n, k), row i of the same image in both, all defined.
        statistics_b: (n, k), row i of the same image in both, all defined.
        form: see ``bootstrap.value``.

    Returns:
        (n,) with sum 0; the square root of its sum of squares is the standard error of the difference (delta method).
    """
    return np.asarray(_influence(statistics_a, form) - _influence(statistics_b, form))


def effect_size(statistics_a: np.ndarray, statistics_b: np.ndarray, form: Form) -> float:
    """Compute the difference a - b in units of its spread over images (Cohen's d of paired differences).

    For a mean it is the mean of the differences over their standard deviation; for a pooled ratio, the same for the
    linearized contributions, in which an image counts by its weight.

    Args:
        statistics_a: (n, k), row i for the same image in both; rows with NaN in either do not count.
        statistics_b: (n, k), as ``statistics_a``.
        form: see ``bootstrap.value``.

    Returns:
        NaN if fewer than two images are defined for both, or if all differ by the same amount.
    """
    both = is_defined(statistics_a) & is_defined(statistics_b)
    a, b = statistics_a[both], statistics_b[both]
    if len(a) < 2:
        return math.nan
    difference = estimate(a, form) - estimate(b, form)
    # n times the influence is the difference of one image minus the mean.
    with np.errstate(over="ignore", invalid="ignore"):
        spread = math.sqrt(float((difference_influence(a, b, form) ** 2).sum()) * len(a))
    if not math.isfinite(spread) or spread <= 1e-12 * abs(difference) or spread == 0:
        return math.nan
    return difference / spread


def images_needed(effect: float, *, power: float = POWER, level: float = LEVEL) -> int | None:
    """Compute the number of images that are needed to show a difference of this effect size.

    n = ((z of 1 - level / 2 + z of power) / effect)^2, the normal approximation for a two-sided paired test; never
    below 30, since fewer are not tested. The measured effect size is taken as the true one, so the result is as
    uncertain as it is.

    Returns:
        None if the effect is 0 or unknown.
    """
    if not math.isfinite(effect) or abs(effect) < 1e-6:  # beyond 10^12 images
        return None
    return max(MINIMUM_IMAGES, math.ceil((_reach(power, level) / effect) ** 2))


def detectable_difference(error: float, *, power: float = POWER, level: float = LEVEL) -> float:
    """Compute the smallest difference that a two-sided test detects with this power at a standard error ``error``."""
    return error * _reach(power, level)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values for multiple tests (Holm 1979).

    If values below 0.05 are rejected, a true hypothesis is rejected in at most 5 % of families.

    Args:
        p: each 0..1, or NaN for a test that was not made; it stays NaN and does not count.
    """
    made = [position for position, one in enumerate(p) if not math.isnan(one)]
    adjusted, highest = [math.nan] * len(p), 0.0
    for rank, position in enumerate(sorted(made, key=lambda position: p[position])):
        highest = max(highest, min(1.0, (len(made) - rank) * p[position]))
        adjusted[position] = highest
    return adjusted


def _reach(power: float, level: float) -> float:
    return float(ndtri(1 - level / 2) + ndtri(power))


def _influence(statistics: np.ndarray, form: Form) -> np.ndarray:
    pairs = as_ratio(statistics, form)
    above, below = pairs.sum(axis=0)
    sign = -1.0 if form == "abs_difference" and above < 0 else 1.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(sign * (pairs[:, 0] - above / below * pairs[:, 1]) / below)
