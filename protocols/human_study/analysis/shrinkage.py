"""Which images fool: rates of single images, drawn to the mean as far as chance alone would spread them.

An image under one method has a handful of answers, and the highest of two hundred such shares is mostly luck. Each
is therefore taken as a draw from a beta distribution around the method's rate whose spread is fitted to all of them
(empirical Bayes); the estimate is the posterior mean, the interval the posterior's 95 %.
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
    """How many answers the method's rate weighs as; infinite where images differ by no more than chance."""
    deviation: float
    """Of the images' true rates around the mean, as fitted; 0..0.5."""


def shrink(fooled: np.ndarray, shown: np.ndarray) -> Shrunken:
    """Estimate rates of images from how often each fooled.

    The concentration is fitted by maximum likelihood of the beta-binomial, its mean held at the pooled rate. The
    interval does not hold the uncertainty of that fit.

    Args:
        fooled: (k,) answers that were fooled.
        shown: (k,) answers in all, at least 1.

    Raises:
        ValueError: for no image, or counts that cannot be.
    """
    fooled, shown = np.asarray(fooled, dtype=np.float64), np.asarray(shown, dtype=np.float64)
    if not len(shown) or (shown < 1).any() or (fooled < 0).any() or (fooled > shown).any():
        raise ValueError("need one image or more, and 0 <= fooled <= shown, shown >= 1")
    # Half an answer to each side: a rate of exactly 0 or 1 has no beta distribution around it.
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
