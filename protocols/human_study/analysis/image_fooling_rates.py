"""Estimate fooling rates of single images, shrunk towards the mean (empirical Bayes).

An image has only a few responses per method, so the highest of two hundred raw shares is mostly chance. The rates of
the images are modeled by a beta distribution around the rate of the method, whose spread is fitted to all images. The
estimate is the posterior mean, the interval the 95 % interval of the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import minimize_scalar

SMALLEST, MOST = 0.5, 5000.0
"""Range of the fitted concentration: beyond ``MOST``, images differ by no more than chance."""


@dataclass(frozen=True)
class Shrunken:
    """Rates of images, each array (k,)."""

    estimate: np.ndarray
    """0..1."""
    low: np.ndarray
    high: np.ndarray
    concentration: float
    """Weight of the method's rate in responses; infinite if images differ by no more than chance."""
    deviation: float
    """Of the images' true rates around the mean, as fitted; 0..0.5."""


def shrink(fooled: np.ndarray, shown: np.ndarray) -> Shrunken:
    """Estimate the fooling rates of images from their counts of responses.

    The concentration is fitted by maximum likelihood of the beta-binomial, with its mean fixed at the pooled rate. The
    interval ignores the uncertainty of that fit.

    Args:
        fooled: (k,) fooled responses.
        shown: (k,) all responses, at least 1.

    Raises:
        ValueError: without images, or for invalid counts.
    """
    fooled, shown = np.asarray(fooled, dtype=np.float64), np.asarray(shown, dtype=np.float64)
    if not len(shown) or (shown < 1).any() or (fooled < 0).any() or (fooled > shown).any():
        raise ValueError("need one image or more, and 0 <= fooled <= shown, shown >= 1")
    # Half a response to each side: there is no beta distribution with a mean of exactly 0 or 1.
    mean = float((fooled.sum() + 0.5) / (shown.sum() + 1))

    def unlikelihood(log_concentration: float) -> float:
        m = np.exp(log_concentration)
        return -float(stats.betabinom.logpmf(fooled, shown, mean * m, (1 - mean) * m).sum())

    found = minimize_scalar(unlikelihood, bounds=(np.log(SMALLEST), np.log(MOST)), method="bounded")
    concentration = float(np.exp(found.x))
    alike = unlikelihood(np.log(MOST)) <= found.fun + 1e-6
    m = MOST if alike else concentration
    a, b = fooled + mean * m, shown - fooled + (1 - mean) * m
    low, high = stats.beta.ppf([[0.025], [0.975]], a, b)
    return Shrunken(
        estimate=a / (a + b),
        low=low,
        high=high,
        concentration=float("inf") if alike else concentration,
        deviation=0.0 if alike else float(np.sqrt(mean * (1 - mean) / (concentration + 1))),
    )
