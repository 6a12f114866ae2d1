"""Fieller's interval of a ratio of two paired means whose denominator may be near 0.

Used for the share of the gap between two baselines that a model closes: (mean of x) / (mean of y), with x = model - low
and y = high - low on the same images. If the mean of y is near 0, the delta method and the bootstrap give intervals
that are far too short. Fieller's interval (1954, J. R. Statist. Soc. B 16) is the set of shares r that are compatible
with the data: those for which the mean of x - r y does not differ from 0. If the interval of y itself contains 0, that
set is unbounded, and no share is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from colorbench.stats.bootstrap import MINIMUM_IMAGES, Interval, is_defined

METHOD = "Fieller"


@dataclass(frozen=True)
class Share:
    """A ratio of paired means with its interval."""

    value: float | None
    """None if the gap is not resolved, or for fewer than 30 images."""
    interval: Interval | None
    """Contains the value; None without one."""
    gap: float
    """Mean of the denominators; NaN for no image."""
    gap_low: float
    gap_high: float
    """Upper limit of the gap's own interval, by Student's t; NaN for fewer than two images."""
    n: int
    """Images on which both are defined."""

    @property
    def resolved(self) -> bool:
        """Whether the interval of the gap excludes 0."""
        return self.gap_low > 0 or self.gap_high < 0


def share_of_gap(statistics: np.ndarray, *, level: float = 0.95) -> Share:
    """Compute the ratio of two paired means with Fieller's interval.

    Args:
        statistics: (n, 2), numerator and denominator of each image; rows with NaN do not count.
        level: nominal coverage of both intervals.

    Raises:
        ValueError: for another shape.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    if statistics.ndim != 2 or statistics.shape[1] != 2:
        raise ValueError(f"a share needs statistics of shape (n, 2), got {statistics.shape}")
    pairs = statistics[is_defined(statistics)]
    n = len(pairs)
    if n < 2:
        return Share(None, None, float(pairs[:, 1].mean()) if n else math.nan, math.nan, math.nan, n)
    x, y = pairs.mean(axis=0)
    (xx, xy), (_, yy) = np.cov(pairs, rowvar=False) / n  # of the two means
    t2 = float(stdtrit(n - 1, (1 + level) / 2)) ** 2
    reach = math.sqrt(t2 * yy)
    share = Share(None, None, float(y), float(y - reach), float(y + reach), n)
    if n < MINIMUM_IMAGES or not share.resolved:
        return share
    # (x - r y)^2 <= t^2 (xx - 2 r xy + r^2 yy): a r^2 - 2 b r + c <= 0 with a > 0, since the gap is resolved.
    a, b, c = y * y - t2 * yy, x * y - t2 * xy, x * x - t2 * xx
    root = math.sqrt(max(b * b - a * c, 0.0))
    # If every image has the same share, rounding may leave the value just outside.
    value = float(x / y)
    low, high = min(float((b - root) / a), value), max(float((b + root) / a), value)
    return Share(value, Interval(low, high, METHOD), share.gap, share.gap_low, share.gap_high, n)
