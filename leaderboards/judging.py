"""What a group's stored rows say of its models together: ranks, differences from bounds, the smallest to be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from colorbench.errors import UserError
from colorbench.evaluation.pairing import Common, common
from colorbench.evaluation.record import Metric
from colorbench.stats.bootstrap import MINIMUM
from colorbench.stats.paired import paired_interval
from colorbench.stats.ranking import rank_models
from leaderboards.board import Improvement
from leaderboards.collecting import Entry


@dataclass(frozen=True)
class Standing:
    """The ranking of a group by one metric; keys are rows of the board."""

    ranks: Mapping[str, tuple[int, int]]
    beats: Mapping[str, tuple[str, ...]]
    detectable: float | None
    unranked: str | None
    """Why there is none."""


def standing(entries: Mapping[str, Entry], metric: Metric, together: Common | None) -> Standing:
    """Rank intervals of the competitors of a group by one metric, all at once.

    Args:
        entries: the competitors that have this metric and rows, by row.
        metric: as the group has it.
        together: their rows, in the same order; None where they cannot be paired.
    """

    def none(why: str) -> Standing:
        return Standing({}, {}, None, why)

    if metric.higher_is_better is None:
        return none("neither direction is better")
    if not metric.comparable:
        return none("shown, not compared: too few photographs decide it, or it holds for this set alone")
    if not entries:
        return none("no competitor has rows here")
    if together is None:
        return none("the rows of these records cannot be put on the same photographs")
    if len(together.places[0]) < MINIMUM:
        return none(f"fewer than {MINIMUM} photographs")
    try:
        statistics = together.statistics(metric.name)
    except UserError as error:
        return none(error.what)
    if not np.isfinite(statistics[~np.isnan(statistics)]).all():
        return none("the statistics are no numbers to be added up")
    with np.errstate(all="ignore"):
        found = rank_models(statistics, metric.form, higher_is_better=metric.higher_is_better)
    if found is None:
        return none(f"fewer than {MINIMUM} photographs on which it is defined for all")
    names = list(entries)
    return Standing(
        ranks={name: (int(first), int(last)) for name, (first, last) in zip(names, found.ranks, strict=True)},
        beats={name: tuple(names[j] for j in np.flatnonzero(found.better[i])) for i, name in enumerate(names)},
        detectable=_finite(found.detectable),
        unranked=None,
    )


class Pairings:
    """The rows of records put on the same photographs, each set of records once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Common | None] = {}

    def of(self, entries: Sequence[Entry]) -> Common | None:
        """Their rows; None where there are none, or they do not fit."""
        key = tuple(entry.sha256 for entry in entries)
        if key not in self._known:
            self._known[key] = _paired(entries)
        return self._known[key]


def _paired(entries: Sequence[Entry]) -> Common | None:
    runs = [entry.run for entry in entries if entry.run is not None]
    if not runs or len(runs) < len(entries):
        return None
    try:
        return common(runs)
    except UserError:
        return None


def improvement(entry: Entry, bound: str, of: Entry | None, metric: Metric, pairings: Pairings) -> Improvement | None:
    """This model minus gray or the best single colour on the same photographs.

    Args:
        entry: the model.
        bound: name of what is taken away.
        of: its record in the same group, if there is one.
        metric: of the model.
        pairings: of the group.

    Returns:
        The difference that the model's record states, or that both records' rows give; None of a bound to itself.
    """
    if of is entry:
        return None
    for stored in entry.record.differences:
        if stored.metric == metric.name and stored.minus == bound:
            return Improvement(stored.value, stored.ci_low, stored.ci_high)
    if of is None or not metric.comparable:
        return None
    both = pairings.of([entry, of])
    if both is None:
        return None
    try:
        mine, theirs = both.statistics(metric.name)
    except UserError:
        return None
    with np.errstate(all="ignore"):
        found = paired_interval(mine, theirs, metric.form)
    if not math.isfinite(found.value):
        return None
    limits = found.interval
    return Improvement(found.value, limits.low if limits else None, limits.high if limits else None)


def record_of(bound: str, entries: Iterable[Entry]) -> Entry | None:
    """The entry of a bound, which is a baseline by that name."""
    found = (e for e in entries if e.record.model.name == bound and e.record.model.card.role == "baseline")
    return next(found, None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
