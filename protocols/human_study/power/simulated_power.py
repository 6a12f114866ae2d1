"""Simulated power and precision of a planned study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from colorbench.stats import (
    MINIMUM_PARTICIPANTS,
    Interval,
    binomial_interval,
    difference_parts,
    logit_bounds,
    mean_influence,
    two_way_variance,
)
from protocols.human_study.power.study_simulation import Plan, Simulated, simulate

STUDIES = 1000
MOST = 2000
"""Maximum number of participants of the search."""
_BLOCK = 1 << 18  # responses simulated at a time: a block that fits in the processor's cache is twice as fast


@dataclass(frozen=True)
class Power:
    """Results of simulated studies of one plan."""

    plan: Plan
    p: np.ndarray
    """(studies,) of the two-sided test of no difference, unadjusted."""
    difference: np.ndarray
    """(studies,) the estimated second rate minus the first; 0..1."""
    half_width: float
    """Half width of the 95 % interval of the difference, median over studies; 0..1."""
    rate_half_width: float
    """Half width of the 95 % interval of the first rate, median over studies; 0..1."""

    def power(self, alpha: float = 0.05) -> float:
        """Return the share of the studies whose test found a difference."""
        return float((self.p < alpha).mean())

    def interval(self, alpha: float = 0.05) -> Interval:
        """Return the uncertainty of the power from the number of simulated studies: Wilson, 95 %."""
        return binomial_interval(int((self.p < alpha).sum()), len(self.p))

    def exaggeration(self, alpha: float = 0.05) -> float:
        """Return the factor by which the significant studies overstate the effect; NaN for none, or no effect."""
        found = self.difference[self.p < alpha]
        if not len(found) or self.plan.effect == 0:
            return float("nan")
        return float(np.abs(found).mean() / abs(self.plan.effect))


def blocks(plan: Plan, studies: int, seed: int) -> Iterator[Simulated]:
    """Yield ``studies`` simulated studies, a limited number of responses at a time."""
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK // (plan.participants * plan.tests))
    for start in range(0, studies, size):
        yield simulate(plan, min(size, studies - start), rng)


def simulated_power(plan: Plan, *, studies: int = STUDIES, seed: int = 0) -> Power:
    """Estimate how often a study of this plan finds the first difference, with the test of ``analyze``.

    Args:
        plan: the study.
        studies: number of simulations.
        seed: of the simulation.

    Raises:
        UserError: for an invalid plan.
    """
    plan.check()
    p, differences, widths, rate_widths = [], [], [], []
    for block in blocks(plan, studies, seed):
        first, second = block.method == 0, block.method == 1
        difference, variance, freedom = difference_parts(block.fooled, block.participant, block.image, second, first)
        error = np.sqrt(variance.total)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.nan_to_num(difference / error)  # no fooled response at all: no difference was found
        p.append(2 * stats.t.sf(np.abs(t), freedom))
        differences.append(difference)
        widths.append(stats.t.ppf(0.975, freedom) * error)
        rate, influence = mean_influence(block.fooled, first)
        low, high = logit_bounds(rate, two_way_variance(influence, block.participant, block.image, first))
        rate_widths.append((high - low) / 2)
    return Power(
        plan=plan,
        p=np.concatenate(p),
        difference=np.concatenate(differences),
        half_width=float(np.median(np.concatenate(widths))),
        rate_half_width=float(np.median(np.concatenate(rate_widths))),
    )


def participants_needed(
    size: Callable[[int], Power], plan: Plan, *, target: float = 0.8, alpha: float = 0.05, most: int = MOST
) -> Power | None:
    """Find the fewest participants whose simulated power reaches ``target``; None if ``most`` do not reach it.

    With a fixed number of images more participants help only up to a limit, because the variation of a method over
    these images remains.

    Args:
        size: number of participants -> simulated power; see ``Sizes``.
        plan: the study; its own number of participants is not used.
        target: power, 0..1.
        alpha: level of the test, after any correction for multiple tests.
        most: maximum number of participants.
    """
    step = plan.methods if plan.assignment == "between" else 1
    low = high = MINIMUM_PARTICIPANTS  # per method: with fewer the analysis has no interval
    best = size(high * step)
    while best.power(alpha) < target:
        if 2 * high * step > most:
            return None
        low, high = high, 2 * high
        best = size(high * step)
    # The simulation cannot distinguish neighboring sizes: stop within 2 %.
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        found = size(middle * step)
        if found.power(alpha) >= target:
            high, best = middle, found
        else:
            low = middle
    return best


class Sizes:
    """One plan with any number of participants; each number is simulated once."""

    def __init__(self, plan: Plan, *, studies: int = STUDIES, seed: int = 0) -> None:
        self.plan, self.studies, self.seed = plan, studies, seed
        self.found: dict[int, Power] = {}

    def __call__(self, participants: int) -> Power:
        """Return the simulated power with this number of participants."""
        if participants not in self.found:
            plan = replace(self.plan, participants=participants)
            self.found[participants] = simulated_power(plan, studies=self.studies, seed=self.seed)
        return self.found[participants]
