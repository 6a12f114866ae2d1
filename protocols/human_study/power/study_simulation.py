"""Simulation of many studies at once: participants, images, and responses.

Participant p is fooled by a method on image i with probability expit(b + u_p + v_i). u is drawn for every participant
and v for every image, from normal distributions with the given standard deviations on the logit scale, and b is solved
so that the mean over both is the given rate. A share of the variance of v is common to all methods (some images fool
more easily); the rest is independent for each method.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from colorbench.errors import UserError
from protocols.human_study.study_folder.design_schema import Assignment


@dataclass(frozen=True)
class Plan:
    """The plan of a study; ``check`` refuses invalid ones."""

    rate: float = 0.25
    """Fooling rate of the first method, 0..1, over all participants and images."""
    effect: float = 0.05
    """Difference of the second rate to the first."""
    participants: int = 40
    """Number over all methods."""
    tests: int = 36
    """Test trials per participant, without sentinels."""
    images: int = 200
    """Number of test images."""
    methods: int = 2
    """Number of methods; the first two are compared."""
    assignment: Assignment = "within"
    """``within``: all methods per participant, ``tests / methods`` trials each; ``between``: one method."""
    participant_sd: float = 0.4
    """Standard deviation between participants, logit scale."""
    image_sd: float = 0.8
    """Standard deviation between images, logit scale."""
    shared: float = 0.5
    """Share of the images' variance that is common to all methods, 0..1."""

    def check(self) -> None:
        """Refuse an invalid plan.

        Raises:
            UserError: naming the flag.
        """
        if not (0 < self.rate < 1 and 0 < self.rate + self.effect < 1):
            raise UserError(
                f"fooling rates of {self.rate:g} and {self.rate + self.effect:g} are not possible",
                hint="choose --rate and --effect so that both rates are between 0 and 1",
            )
        if self.methods < 2:
            raise UserError("power needs at least two methods", hint="use --methods 2 or more")
        if self.tests > self.images:
            what = f"{self.tests} test trials need {self.tests} images, and there are {self.images}"
            raise UserError(what, hint="increase --images, or decrease --trials: nobody sees an image twice")
        if self.assignment == "within" and self.tests < self.methods:
            raise UserError(f"{self.tests} test trials are fewer than {self.methods} methods", hint="increase --trials")
        if self.participants < (2 * self.methods if self.assignment == "between" else 2):
            raise UserError(f"{self.participants} participants are too few", hint="increase --participants")
        if min(self.participant_sd, self.image_sd) < 0 or not 0 <= self.shared <= 1:
            raise UserError("standard deviations must not be negative, and --shared must be in 0..1")


@dataclass(frozen=True)
class Simulated:
    """The responses of S simulated studies, n each; the arrays are (S, n)."""

    fooled: np.ndarray
    """bool."""
    participant: np.ndarray
    """Integers from 0."""
    image: np.ndarray
    """Integers from 0."""
    method: np.ndarray
    """Integers from 0."""


@lru_cache(maxsize=256)
def intercept(rate: float, sd: float) -> float:
    """Find b of a simulated rate with E[expit(b + sd z)] = rate, z standard normal.

    It is the logit of the rate itself only for sd = 0.

    By Gauss-Hermite quadrature with 80 nodes, exact to 1e-10 for deviations up to 3.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    return float(brentq(lambda b: float(weights @ expit(b + sd * nodes)) - rate, -60, 60, xtol=1e-12))


def deal(studies: int, participants: int, tests: int, images: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the images of each simulated participant: (studies, participants, tests).

    No participant sees an image twice, and the counts of images differ by at most one. Complete decks are shuffled and
    dealt; images of a participant from the end of a deck are at the bottom of the next deck.
    """
    decks = -(-participants * tests // images)
    dealt = np.empty((studies, decks * images), np.int32)
    for deck in range(decks):
        order = rng.random((studies, images))
        start = deck * images
        in_hand = dealt[:, start // tests * tests : start]
        np.put_along_axis(order, in_hand, np.take_along_axis(order, in_hand, 1) + 1, 1)
        dealt[:, start : start + images] = np.argsort(order, axis=1)
    return dealt[:, : participants * tests].reshape(studies, participants, tests)


def methods_of(dealt: np.ndarray, images: int, methods: int, assignment: Assignment) -> np.ndarray:
    """Return the method of every simulated trial, of the shape (S, participants, tests) of ``dealt``.

    Within participants, the counts of methods differ by at most one, and each image has another method in the next
    deck, as far as the first condition allows.
    """
    participants, tests = dealt.shape[1:]
    turn = np.arange(participants)[:, None]
    if assignment == "between":
        return np.broadcast_to(turn % methods, dealt.shape)
    deck = np.arange(participants * tests).reshape(participants, tests) // images
    rank = np.argsort(np.argsort((dealt + deck) % methods, axis=2, kind="stable"), axis=2)
    quota = np.sort((np.arange(tests) + turn) % methods, axis=1)  # (participants, tests)
    return np.take_along_axis(np.broadcast_to(quota, dealt.shape), rank, 2)


def simulate(plan: Plan, studies: int, rng: np.random.Generator) -> Simulated:
    """Draw the responses of simulated studies; every study has its own participants and images.

    The first method has ``rate``, all others ``rate + effect``.
    """
    images = deal(studies, plan.participants, plan.tests, plan.images, rng)
    method = methods_of(images, plan.images, plan.methods, plan.assignment)
    sd = float(np.hypot(plan.participant_sd, plan.image_sd))
    level = np.full(plan.methods, intercept(plan.rate + plan.effect, sd))
    level[0] = intercept(plan.rate, sd)
    participant = rng.normal(0, plan.participant_sd, (studies, plan.participants, 1))
    common = rng.normal(0, plan.image_sd * np.sqrt(plan.shared), (studies, 1, plan.images))
    own = rng.normal(0, plan.image_sd * np.sqrt(1 - plan.shared), (studies, plan.methods, plan.images))
    effect = (common + own).reshape(studies, -1)  # (S, methods * images)
    position = (method * plan.images + images).reshape(studies, -1)
    shift = np.take_along_axis(effect, position, 1).reshape(images.shape)
    fooled = rng.random(images.shape) < expit(level[method] + participant + shift)
    who = np.broadcast_to(np.arange(plan.participants)[:, None], images.shape)
    flat = (studies, -1)
    return Simulated(fooled.reshape(flat), who.reshape(flat), images.reshape(flat), method.reshape(flat))
