"""Columns of a group: their definition, and the content of their cells.

The meaning of a column (title, unit, direction, form, whether models are ranked by it) is part of its identity. It is
taken from the protocol if that is installed, otherwise from each record; records that disagree get separate columns.
So no record decides what the number of another record means.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from colorbench.evaluation import ProtocolSpec
from colorbench.models import CONSTANT_MODEL, GRAY_MODEL
from colorbench.results import Metric, MetricSpec, Record
from leaderboards.board_schema import Cell, Column
from leaderboards.collected_records import Entry
from leaderboards.published_practice import not_compared
from leaderboards.rankings import Pairings, baselines, improvement, standing
from leaderboards.untrusted_text import clean, name_of

OPEN = 3
"""Columns of a group that are visible when the page opens."""


class Meaning(NamedTuple):
    """The meaning of the numbers of a column."""

    name: str
    title: str
    unit: str
    higher_is_better: bool | None
    form: str
    comparable: bool


def _meaning_of(metric: Metric, spec: ProtocolSpec | None) -> Meaning:
    """Return the meaning of a record's metric; the title is taken from the installed protocol if it has this metric.

    A record may add to it in parentheses what its parameters decide, such as the network of a distance.
    """
    known = _known(spec).get(metric.name)
    title = known.title if known and not metric.title.startswith(f"{known.title} (") else metric.title
    return Meaning(metric.name, title, metric.unit, metric.higher_is_better, metric.form, metric.comparable)


def columns_of(
    number: int, entries: Mapping[str, Entry], spec: ProtocolSpec | None
) -> tuple[list[tuple[Column, Meaning]], list[str]]:
    """Return the columns of a group of the board, the headline first, with their meanings.

    A metric of which no record has a value has no column, unless it is the headline.

    Args:
        number: number of the group.
        entries: row -> record.
        spec: spec of the installed protocol; None if it is not installed in this version.

    Returns:
        The columns, and the titles of the metrics without one.
    """
    often: Counter[Meaning] = Counter()
    measured: set[Meaning] = set()
    positions: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in entries.values():
        for position, metric in enumerate(entry.record.metrics):
            often[_meaning_of(metric, spec)] += 1
            if metric.value is not None:
                measured.add(_meaning_of(metric, spec))
            positions[metric.name][position] += 1
    known = _known(spec)
    of_protocol = list(known)

    def order(meaning: Meaning) -> tuple[bool | int | str, ...]:
        """Return the sort key of a metric.

        Metrics of the protocol come first, in its order. Others follow, the most common first, at their usual position.
        """
        name = meaning.name
        if name in known:
            as_installed = meaning.comparable == known[name].comparable
            return (0, of_protocol.index(name), 0, "", not as_installed, -often[meaning], repr(meaning))
        total = sum(count for other, count in often.items() if other.name == name)
        position = min(positions[name], key=lambda at: (-positions[name][at], at))
        return (1, -total, position, name, False, -often[meaning], repr(meaning))

    meanings = sorted(often, key=order)
    if not meanings:
        return [], []
    by_name = {one.name: one for one in reversed(meanings)}
    given = [one for one in meanings if one in measured] or meanings
    directed = [one for one in given if one.higher_is_better is not None and one.comparable]
    headline = by_name.get(spec.headline if spec else "") or next(iter(directed), given[0])
    absent = [name_of(one.title) for one in meanings if one not in measured and one != headline]
    shown = [headline, *(one for one in directed if one != headline)][:OPEN]
    columns = [
        (
            Column(
                id=f"g{number}c{position}",
                group=number,
                metric=name_of(meaning.name),
                title=name_of(meaning.title),
                unit=clean(meaning.unit, 12),
                higher_is_better=meaning.higher_is_better,
                headline=meaning == headline,
                compared=meaning.comparable,
                explanation=spec.meaning_of(known[meaning.name]) if spec and meaning.name in known else "",
                shown=meaning in shown,
            ),
            meaning,
        )
        for position, meaning in enumerate(
            [headline, *(one for one in meanings if one != headline and one in measured)]
        )
    ]
    return columns, absent


def fill(
    column: Column, meaning: Meaning, entries: Mapping[str, Entry], spec: ProtocolSpec | None, pairings: Pairings
) -> tuple[Column, dict[str, Cell]]:
    """Return the column of the board with its ranking, and its cells by row."""
    having = {row: metric for row, entry in entries.items() if (metric := _metric(entry.record, meaning)) is not None}
    alike = {row: metric for row, metric in having.items() if _meaning_of(metric, spec) == meaning}
    usable = {row: entries[row] for row, metric in alike.items() if metric.value is not None}
    first = next(iter(alike.values()))
    reason = not_compared(next(iter(entries.values())).record.protocol.name, meaning.name)
    position = standing(usable, first, reason, pairings)
    references = {name: baselines(name, usable.values()) for name in (GRAY_MODEL, CONSTANT_MODEL)}
    cells = {}
    for row, entry in entries.items():
        metric = having.get(row)
        if metric is None:
            cells[row] = Cell(missing="its record does not contain this metric")
        elif row not in alike:
            cells[row] = Cell(missing="its record defines this metric differently (title, unit, direction or form)")
        elif metric.value is None:
            # The reason as the record gives it, such as a gap that is not resolved.
            why = clean(metric.warning, 200) if metric.warning else "undefined for all of these images"
            cells[row] = Cell(missing=why, n=metric.n)
        else:
            low, high = position.ranks.get(row, (None, None))
            cells[row] = Cell(
                value=metric.value,
                ci_low=metric.ci_low,
                ci_high=metric.ci_high,
                ci_method=clean(metric.ci_method, 60) if metric.ci_method else None,
                n=metric.n,
                effective_n=metric.effective_n,
                first_rank=low,
                last_rank=high,
                over_gray=improvement(entry, GRAY_MODEL, references[GRAY_MODEL], metric, pairings),
                over_constant=improvement(entry, CONSTANT_MODEL, references[CONSTANT_MODEL], metric, pairings),
                warning=clean(metric.warning, 200) if metric.warning else None,
                unranked=position.apart.get(row),
                recomputed=entry.recomputable(metric.name),
            )
    ranked = replace(
        column,
        ranked=len(position.ranks),
        unranked=position.unranked,
        detectable=position.detectable,
        beats=position.beats,
    )
    return ranked, cells


def _known(spec: ProtocolSpec | None) -> dict[str, MetricSpec]:
    return {one.name: one for one in spec.metrics} if spec else {}


def _metric(record: Record, meaning: Meaning) -> Metric | None:
    return next((metric for metric in record.metrics if metric.name == meaning.name), None)
