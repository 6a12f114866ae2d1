"""Rates of clustered yes/no responses with logit intervals, and differences of rates with a t test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from colorbench.stats.bootstrap import Interval
from colorbench.stats.clustered_resampling import (
    MINIMUM_PARTICIPANTS,
    TwoWayVariance,
    checked_responses,
    mean_influence,
    two_way_variance,
)


@dataclass(frozen=True)
class ClusteredRate:
    """A share of yes responses and its uncertainty."""

    value: float
    """0..1; NaN without responses."""
    standard_error: float
    """On the scale of the value; NaN if unknown."""
    interval: Interval | None
    """None for too few participants or images."""
    responses: int
    participants: int
    images: int
    degrees_of_freedom: int
    effective_responses: float
    """Number of equally precise independent responses: value (1 - value) / standard_error^2; NaN if unknown."""
    floored: bool
    """Whether V was below V_cell, which was then used instead."""


@dataclass(frozen=True)
class ClusteredDifference:
    """Difference of two rates: of one kind of responses minus another."""

    value: float
    standard_error: float
    interval: Interval | None
    p: float
    """Two-sided p value for equal rates; NaN without an interval."""
    responses: tuple[int, int]
    """Number of responses of the first and the second kind."""
    degrees_of_freedom: int
    floored: bool


def logit_bounds(rate: np.ndarray, variance: TwoWayVariance, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Compute both limits (S,) of the interval of clustered rates, on the logit scale.

    If all responses agree, the variance is 0: the exact binomial interval is used, as if each of the
    min(participants, images) clusters had given one response.

    Args:
        rate: (S,) in 0..1.
        variance: of the rates.
        level: nominal coverage.
    """
    freedom = np.maximum(variance.degrees_of_freedom, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(variance.total) / (rate * (1 - rate))
        low, high = expit(logit(rate) - reach), expit(logit(rate) + reach)
    # The rule of a zero numerator: (1 - p)^m = (1 - level) / 2.
    share = ((1 - level) / 2) ** (1 / (freedom + 1))
    low = np.where(rate <= 0, 0.0, np.where(rate >= 1, share, low))
    high = np.where(rate >= 1, 1.0, np.where(rate <= 0, 1 - share, high))
    return low, high


def clustered_rate(
    responses: np.ndarray, participant: np.ndarray, image: np.ndarray, *, level: float = 0.95, minimum_images: int = 2
) -> ClusteredRate:
    """Compute the share of yes responses with its two-way clustered interval.

    Args:
        responses: (n,) bool or 0/1.
        participant: (n,) whole numbers from 0, or any labels.
        image: (n,) whole numbers from 0, or any labels.
        level: nominal coverage.
        minimum_images: fewer images get no interval.

    Raises:
        ValueError: for arrays of unequal length, or responses other than 0 and 1.
    """
    values, participant, image = checked_responses(responses, participant, image)
    rate, influence = mean_influence(values)
    variance = two_way_variance(influence, participant, image)
    participants, images = int(variance.participants[0]), int(variance.images[0])
    value = float(rate[0]) if len(values) else float("nan")
    agree = value in (0.0, 1.0)
    error = float(np.sqrt(variance.total[0])) if min(participants, images) > 1 and not agree else float("nan")
    found = None
    if participants >= MINIMUM_PARTICIPANTS and images >= max(2, minimum_images):
        low, high = logit_bounds(rate, variance, level)
        freedom = int(variance.degrees_of_freedom[0])
        method = f"two-way cluster-robust, t({freedom}), logit scale"
        if agree:
            method = f"exact binomial of {freedom + 1} responses, one per cluster"
        found = Interval(float(low[0]), float(high[0]), method)
    return ClusteredRate(
        value=value,
        standard_error=error,
        interval=found,
        responses=len(values),
        participants=participants,
        images=images,
        degrees_of_freedom=min(participants, images) - 1,
        effective_responses=value * (1 - value) / error**2 if error > 0 else float("nan"),
        floored=bool(variance.raw[0] < variance.cell[0]) and not agree,
    )


def difference_parts(
    responses: np.ndarray, participant: np.ndarray, image: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, TwoWayVariance, np.ndarray]:
    """Compute the rate of the ``first`` responses minus that of the ``second``, for many studies at once.

    Responses of both kinds by one participant, or on one image, share a cluster, and what they have in common cancels.
    The comparison is therefore paired where participants or images are shared, and unpaired where they are not.

    Args:
        responses: (S, n).
        participant: (S, n).
        image: (S, n).
        first: (S, n) bool, the responses of one kind.
        second: (S, n) bool, those of the other kind; none is of both.

    Returns:
        differences (S,), their variance, degrees of freedom (S,): the smaller of those of the two kinds.
    """
    rate_a, influence_a = mean_influence(responses, first)
    rate_b, influence_b = mean_influence(responses, second)
    counted = np.atleast_2d(first | second)
    variance = two_way_variance(influence_a - influence_b, participant, image, counted)
    participant, image = np.atleast_2d(participant), np.atleast_2d(image)
    freedom = variance.degrees_of_freedom
    for kind in (np.atleast_2d(first), np.atleast_2d(second)):
        study = np.broadcast_to(np.arange(len(kind))[:, None], kind.shape)[kind]
        for codes in (participant, image):
            count = int(codes.max(initial=0)) + 1
            seen = np.bincount(study * count + codes[kind], minlength=len(kind) * count).reshape(len(kind), count) > 0
            freedom = np.minimum(freedom, seen.sum(axis=1) - 1)
    return rate_a - rate_b, variance, freedom


def clustered_difference(
    responses: np.ndarray,
    participant: np.ndarray,
    image: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    *,
    level: float = 0.95,
    minimum_images: int = 2,
) -> ClusteredDifference:
    """Compute the rate of the ``first`` responses minus that of the ``second``, with interval and t test.

    Args:
        responses: (n,) as for ``clustered_rate``.
        participant: (n,) as for ``clustered_rate``.
        image: (n,) as for ``clustered_rate``.
        first: (n,) bool, the responses of the first kind.
        second: (n,) bool, those of the other kind; none is of both.
        level: as for ``clustered_rate``.
        minimum_images: as for ``clustered_rate``.

    Raises:
        ValueError: as for ``clustered_rate``, and for a response of both kinds.
    """
    values, participant, image = checked_responses(responses, participant, image)
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != values.shape or second.shape != values.shape or (first & second).any():
        raise ValueError("first and second must be (n,) bool, and no response may be of both kinds")
    n = (int(first.sum()), int(second.sum()))
    if 0 in n:
        return ClusteredDifference(float("nan"), float("nan"), None, float("nan"), n, 0, False)
    difference, variance, freedom = difference_parts(values, participant, image, first, second)
    value, df = float(difference[0]), int(freedom[0])
    error = float(np.sqrt(variance.total[0])) if df > 0 else float("nan")
    found, p = None, float("nan")
    enough = min(len(np.unique(participant[kind])) for kind in (first, second)) >= MINIMUM_PARTICIPANTS
    enough &= min(len(np.unique(image[kind])) for kind in (first, second)) >= max(2, minimum_images)
    if enough and error > 0:
        reach = float(stats.t.ppf((1 + level) / 2, df)) * error
        method = f"two-way cluster-robust, t({df})"
        found = Interval(max(-1.0, value - reach), min(1.0, value + reach), method)
        p = 2 * float(stats.t.sf(abs(value) / error, df))
    return ClusteredDifference(value, error, found, p, n, df, bool(variance.raw[0] < variance.cell[0]))


def binomial_interval(
    yes: int, n: int, *, level: float = 0.95, method: Literal["wilson", "exact"] = "wilson"
) -> Interval:
    """Compute the binomial interval of a rate, which treats all responses as independent.

    It is reported in addition to the clustered interval, never instead of it.
    """
    found = stats.binomtest(int(yes), int(n)).proportion_ci(level, method=method)
    return Interval(float(found.low), float(found.high), f"binomial ({method})")
