"""Simulated studies, many at once: whom they ask, what they show, and how people answer.

A participant p fools to a method's fake on image i with probability expit(b + u_p + v_i): u is drawn anew for every
participant, v for every image, normal with the given deviations on the logit scale, and b is solved so that the mean
over both is the rate asked for. A part of v is common to all methods (some images are easy to fool with), the rest is a
method's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from colorbench.errors import UserError
from protocols.human_study.study.schema import Assignment


@dataclass(frozen=True)
class Plan:
    """A study that could be made. ``check`` refuses what could not."""

    rate: float = 0.25
    """Fooling rate of the first method, 0..1, over all participants and images."""
    effect: float = 0.05
    """By how much the second method's is higher."""
    participants: int = 40
    """Of the whole study, all methods together."""
    tests: int = 36
    """Judgments a participant that count for a method; sentinels are not among them."""
    images: int = 200
    """Images of the tests."""
    methods: int = 2
    """Judged in the study; the first two are compared."""
    assignment: Assignment = "within"
    """``within``: a participant judges all methods, ``tests / methods`` times each; ``between``: one."""
    participant_sd: float = 0.4
    """Deviation between participants, logit scale."""
    image_sd: float = 0.8
    """Deviation between images, logit scale."""
    shared: float = 0.5
    """Share of the images' variance that is common to all methods, 0..1."""

    @property
    def tests_a_method(self) -> int:
        """Test trials of one method in the whole study, about."""
        return self.participants * self.tests // self.methods

    def check(self) -> None:
        """Refuse what no study can be.

        Raises:
            UserError: naming the flag.
        """
        if not (0 < self.rate < 1 and 0 < self.rate + self.effect < 1):
            raise UserError(
                f"fooling rates of {self.rate:g} and {self.rate + self.effect:g} cannot be",
                hint="give --rate and --effect with both rates between 0 and 1",
            )
        if self.methods < 2:
            raise UserError("power is about telling two methods apart", hint="give --methods 2 or more")
        if self.tests > self.images:
            what = f"{self.tests} test trials need {self.tests} images, there are {self.images}"
            raise UserError(what, hint="give more --images, or fewer --trials: nobody sees an image twice")
        if self.assignment == "within" and self.tests < self.methods:
            raise UserError(f"{self.tests} test trials cannot hold {self.methods} methods", hint="give more --trials")
        if self.participants < (2 * self.methods if self.assignment == "between" else 2):
            raise UserError(f"{self.participants} participants are too few", hint="give more --participants")
        if min(self.participant_sd, self.image_sd) < 0 or not 0 <= self.shared <= 1:
            raise UserError("deviations must not be negative, and --shared lies in 0..1")


@dataclass(frozen=True)
class Simulated:
    """The answers of S simulated studies, n each; the arrays are (S, n)."""

    fooled: np.ndarray
    """bool."""
    participant: np.ndarray
    """Whole numbers from 0."""
    image: np.ndarray
    """Whole numbers from 0."""
    method: np.ndarray
    """Whole numbers from 0."""


@lru_cache(maxsize=256)
def intercept(rate: float, sd: float) -> float:
    """Find b with E[expit(b + sd z)] = rate, z standard normal; the logit of the rate itself only for sd = 0.

    By Gauss-Hermite quadrature with 80 nodes, exact to 1e-10 for deviations up to 3.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    return float(brentq(lambda b: float(weights @ expit(b + sd * nodes)) - rate, -60, 60, xtol=1e-12))


def deal(studies: int, participants: int, tests: int, images: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which images each participant sees: (studies, participants, tests).

    Nobody sees one twice, and all are seen equally often, to within one. Whole decks are shuffled and dealt; what the
    participant at the end of a deck has in hand goes to the bottom of the next.
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
    """Return the method of every trial, of the shape (S, participants, tests) of ``dealt``.

    Within a participant: each method equally often, to within one, and each image under another method in the next
    deck, as far as the first allows.
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
    """Draw the responses of simulated studies; every study has participants and images of its own.

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
