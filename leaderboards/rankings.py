"""Comparison of the models of a group by their rows: ranks, differences from baselines, minimal detectable effect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from colorbench.errors import UserError
from colorbench.results import Metric, PairedRuns, pair_runs
from colorbench.stats import MINIMUM_IMAGES, as_ratio, paired_interval, rank_models
from leaderboards.board_schema import Improvement
from leaderboards.collected_records import Entry


@dataclass(frozen=True)
class Standing:
    """The ranking of a group by one metric; keys are rows of the board."""

    ranks: Mapping[str, tuple[int, int]]
    beats: Mapping[str, tuple[str, ...]]
    detectable: float | None
    unranked: str | None
    """Why there is no ranking."""
    apart: Mapping[str, str] = field(default_factory=dict)
    """Row -> why this model is not ranked."""


def standing(entries: Mapping[str, Entry], metric: Metric, not_compared: str, pairings: Pairings) -> Standing:
    """Return the ranking of the models of a group by one metric, as simultaneous rank intervals.

    Models are ranked on the images on which most records of the group are defined. A model that is undefined on some of
    these is not ranked, since these images would be lost for all other models.

    Args:
        entries: row -> record, for all records that have a value of this metric.
        metric: the metric of the group.
        not_compared: why models are not ranked, if the metric is not comparable.
        pairings: cache of the paired rows.
    """

    def none(why: str, apart: Mapping[str, str] | None = None) -> Standing:
        return Standing({}, {}, None, why, apart or {})

    if metric.higher_is_better is None:
        return none("the metric has no better direction")
    if not metric.comparable:
        return none(not_compared)
    if not _competitors(entries):
        return none("no model has a value")
    entries = {row: entry for row, entry in entries.items() if entry.recomputable(metric.name)}
    if not _competitors(entries):
        return none("its values cannot be recomputed from per-image scores")
    together = pairings.of(list(entries.values()))
    if together is None:
        return none("the rows of these records cannot be paired by image")
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
    del pairs  # hundreds of models of 50,000 images need the memory
    competitors = set(_competitors(entries))
    names: list[str] = []
    positions: list[int] = []
    apart: dict[str, str] = {}
    for position, row in enumerate(entries):
        if row not in competitors:
            continue
        if lacking[position]:
            apart[row] = f"undefined on {lacking[position]} images on which most records are defined"
        elif not summable[position]:
            apart[row] = "its sums over images are not finite or 0"
        else:
            names.append(row)
            positions.append(position)
    if not names:
        return none("no model is defined on the images on which most records are", apart)
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
    """Cache the rows of sets of records, paired by image."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], PairedRuns | None] = {}

    def of(self, entries: Sequence[Entry]) -> PairedRuns | None:
        """Return the paired rows of entries; None if there are none or they cannot be paired."""
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
    """Return the paired difference of a model from a baseline.

    Args:
        entry: the record of the model.
        reference: name of the baseline.
        of: the records of that name in the same group.
        metric: the metric of the model.
        pairings: cache of the paired rows.

    Returns:
        The stored difference if the rows of both records confirm it; the recomputed one if none is stored. None for the
        baseline itself, and if records of the baseline disagree.
    """
    if entry.record.model.name == reference:
        return None
    for stored in entry.differences:
        if stored.metric == metric.name and stored.minus == reference:
            return Improvement(stored.value, stored.ci_low, stored.ci_high)
    if any(stored.minus == reference for stored in entry.record.differences) or not metric.comparable:
        return None  # stored, but not confirmed by any record
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
    """Return whether the records of one baseline are equal up to rounding."""
    if not all(entry.recomputable(metric.name) for entry in entries):
        return False
    together = pairings.of(list(entries))
    if together is None:
        return False
    statistics = together.statistics(metric.name)
    return bool(np.allclose(statistics, statistics[:1], rtol=1e-4, atol=1e-6, equal_nan=True))


def baselines(reference: str, entries: Iterable[Entry]) -> list[Entry]:
    """Return the records of a baseline by its name, among the entries of a ranking."""
    return [e for e in entries if e.record.model.name == reference and e.record.model.card.role == "baseline"]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
