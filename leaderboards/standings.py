"""What a group's stored rows say of its models together: ranks, differences from bounds, the smallest to be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from colorbench.errors import UserError
from colorbench.results import Metric, PairedRuns, pair_runs
from colorbench.stats import MINIMUM_IMAGES, as_ratio, paired_interval, rank_models
from leaderboards.entries import Entry
from leaderboards.schema import Improvement


@dataclass(frozen=True)
class Standing:
    """The ranking of a group by one metric; keys are rows of the board."""

    ranks: Mapping[str, tuple[int, int]]
    beats: Mapping[str, tuple[str, ...]]
    detectable: float | None
    unranked: str | None
    """Why there is none."""
    apart: Mapping[str, str] = field(default_factory=dict)
    """Why single models are not ranked."""


def standing(entries: Mapping[str, Entry], metric: Metric, not_compared: str, pairings: Pairings) -> Standing:
    """Return the rank intervals of the competitors of a group by one metric, all at once.

    Models are ranked on the images on which most records of the group are defined. One that is not defined on some of
    these is not ranked: it would take the images away from the others.

    Args:
        entries: all records that have a value of this metric, by row.
        metric: as the group has it.
        not_compared: why models are not compared by it, where they are not.
        pairings: of the group.
    """

    def none(why: str, apart: Mapping[str, str] | None = None) -> Standing:
        return Standing({}, {}, None, why, apart or {})

    if metric.higher_is_better is None:
        return none("neither direction is better")
    if not metric.comparable:
        return none(not_compared)
    if not _competitors(entries):
        return none("no competitor here has a value")
    entries = {row: entry for row, entry in entries.items() if entry.recomputable(metric.name)}
    if not _competitors(entries):
        return none("its values do not follow from the rows")
    together = pairings.of(list(entries.values()))
    if together is None:
        return none("the rows of these records cannot be put on the same images")
    if len(together.positions[0]) < MINIMUM_IMAGES:
        return none(f"fewer than {MINIMUM_IMAGES} images")
    statistics = together.statistics(metric.name)  # (K, n, k)
    defined = ~np.isnan(statistics).any(axis=2)
    usual = 2 * defined.sum(axis=0) >= len(defined)
    lacking = (usual & ~defined).sum(axis=1)
    pairs = as_ratio(np.where(np.isnan(statistics), 0.0, statistics)[:, usual], metric.form)
    with np.errstate(all="ignore"):
        squares = np.square(pairs).sum(axis=(1, 2))
        summable = np.isfinite(squares) & (pairs[..., 1].sum(axis=1) != 0)
    competitors = set(_competitors(entries))
    names: list[str] = []
    positions: list[int] = []
    apart: dict[str, str] = {}
    for position, row in enumerate(entries):
        if row not in competitors:
            continue
        if lacking[position]:
            apart[row] = f"not ranked: undefined on {lacking[position]} images on which most records are defined"
        elif not summable[position]:
            apart[row] = "not ranked: its statistics cannot be added up"
        else:
            names.append(row)
            positions.append(position)
    if not names:
        return none("no competitor is defined on the images of most records", apart)
    with np.errstate(all="ignore"):
        found = rank_models(statistics[positions][:, usual], metric.form, higher_is_better=metric.higher_is_better)
    if found is None:
        return none(f"fewer than {MINIMUM_IMAGES} images on which it is defined for most records", apart)
    return Standing(
        ranks={name: (int(first), int(last)) for name, (first, last) in zip(names, found.ranks, strict=True)},
        beats={name: tuple(names[j] for j in np.flatnonzero(found.better[i])) for i, name in enumerate(names)},
        detectable=_finite(found.detectable),
        unranked=None,
        apart=apart,
    )


def _competitors(entries: Mapping[str, Entry]) -> list[str]:
    return [row for row, entry in entries.items() if entry.record.model.card.role == "competitor"]


class Pairings:
    """The rows of records put on the same images, each set of records once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], PairedRuns | None] = {}

    def of(self, entries: Sequence[Entry]) -> PairedRuns | None:
        """Return the rows of entries, paired; None where there are none, or they do not fit."""
        key = tuple(entry.sha256 for entry in entries)
        if key not in self._known:
            self._known[key] = _paired(entries)
        return self._known[key]


def _paired(entries: Sequence[Entry]) -> PairedRuns | None:
    try:
        return pair_runs([entry.run for entry in entries]) if entries else None
    except UserError:
        return None


def improvement(
    entry: Entry, reference: str, of: Sequence[Entry], metric: Metric, pairings: Pairings
) -> Improvement | None:
    """Return this model minus gray or the constant color on the same images.

    Args:
        entry: the model.
        reference: name of what is subtracted.
        of: the records of that name in the same group.
        metric: of the model.
        pairings: of the group.

    Returns:
        The difference that the model's record states and both records' rows give, or that the rows give where it states
        none. None of a baseline from itself, and where records of the baseline do not agree.
    """
    if entry.record.model.name == reference:
        return None
    for stored in entry.differences:
        if stored.metric == metric.name and stored.minus == reference:
            return Improvement(stored.value, stored.ci_low, stored.ci_high)
    if any(stored.minus == reference for stored in entry.record.differences) or not metric.comparable:
        return None  # stated, and confirmed by no record that is here
    of = [one for one in of if one.outputs & entry.outputs] or of
    if not of or not entry.recomputable(metric.name) or not _agree(of, metric, pairings):
        return None
    both = pairings.of([entry, of[0]])
    if both is None:
        return None
    candidate, counterpart = both.statistics(metric.name)
    with np.errstate(all="ignore"):
        found = paired_interval(candidate, counterpart, metric.form)
    if not math.isfinite(found.value):
        return None
    limits = found.interval
    return Improvement(found.value, limits.low if limits else None, limits.high if limits else None)


def _agree(entries: Sequence[Entry], metric: Metric, pairings: Pairings) -> bool:
    """Return whether records of one baseline say the same but for rounding."""
    if not all(entry.recomputable(metric.name) for entry in entries):
        return False
    together = pairings.of(list(entries))
    if together is None:
        return False
    statistics = together.statistics(metric.name)
    return bool(np.allclose(statistics, statistics[:1], rtol=1e-4, atol=1e-6, equal_nan=True))


def baselines(reference: str, entries: Iterable[Entry]) -> list[Entry]:
    """Return the records of a baseline by that name."""
    return [e for e in entries if e.record.model.name == reference and e.record.model.card.role == "baseline"]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
