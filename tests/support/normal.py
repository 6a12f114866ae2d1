"""What the test of |a| - |b| accepts of normal estimates with a known covariance, as of very many images."""

from __future__ import annotations

import math

import numpy as np

from colorbench.stats import absolute_difference

LEVEL = 0.95


def spiral(count: int) -> np.ndarray:
    """(count, 2) points that are spread as a standard normal distribution, on a spiral of golden angles."""
    index = np.arange(count)
    radius = np.sqrt(-2 * np.log1p(-(index + 0.5) / count))
    angle = index * math.pi * (3 - math.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def normal_coverage(correlation: float, spread: float, means: tuple[float, float], samples: int = 1500) -> float:
    """Share of normal estimates with a known covariance, as of very many images, whose test accepts the true |a| - |b|.

    Args:
        correlation: of a and b.
        spread: standard error of b; that of a is 1.
        means: of a and b, in standard errors.
        samples: evenly spread points instead of random ones, so that the error is below 0.2 points.
    """
    covariance = np.array([[1, correlation * spread], [correlation * spread, spread**2]])
    root = np.linalg.cholesky(covariance).T
    to_linear = np.array([[1.0, 1.0], [-1.0, 1.0]])
    points = [spiral(count) @ root for count in (samples, 4000)]
    errors = np.sqrt(np.diag(to_linear.T @ covariance @ to_linear))
    true = np.array(means) * (1, spread)
    truth = float(abs(true[0]) - abs(true[1]))
    shifts = points[1] @ to_linear
    alone = np.quantile(abs(shifts / errors), LEVEL, axis=0)
    held = 0
    for estimate in true + points[0]:
        linear = estimate @ to_linear
        small = absolute_difference._small(linear, errors, covariance)
        spreads = np.broadcast_to(errors, shifts.shape)
        draws = absolute_difference._Draws(estimate, np.linalg.inv(covariance), linear, errors, shifts, spreads, small)
        statistic = absolute_difference._statistic(linear, errors, np.float64(truth))
        held += abs(statistic) <= absolute_difference._critical(draws, LEVEL, alone, truth)
    return held / samples
