"""Rows of the leaderboard: assignment of records to models, with facts and badges."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from colorbench.models import display_name, hashed_part
from colorbench.results import Record
from leaderboards.badges import SMOKE_TEST, badges_of
from leaderboards.board_schema import Badge, Cell, Column, Group, Row
from leaderboards.collected_records import Entry
from leaderboards.model_facts import card_facts, source_of
from leaderboards.untrusted_text import address, clean, name_of, stated


def rows_of(by_group: Mapping[tuple[str, ...], Sequence[Entry]]) -> dict[str, str]:
    """Return the id of each record's row: the records of one model, at most one per group.

    Two records of one model in one group are two rows: nothing is averaged or dropped. The results folder then decides
    which other records of the model belong to which row, so a foreign record with the name of a model cannot replace
    the original. The id depends only on the records of the row.
    """
    alike: dict[str, list[tuple[tuple[str, ...], Entry]]] = defaultdict(list)
    for key, entries in by_group.items():
        for entry in entries:
            alike[_digest(_traits(entry.record))].append((key, entry))
    found: dict[str, str] = {}
    for members in alike.values():
        for row in [members] if _one_each(members) else _apart(members):
            id = _digest(sorted(entry.sha256 for _, entry in row))
            found |= {entry.sha256: id for _, entry in row}
    return found


def _one_each(members: Iterable[tuple[tuple[str, ...], Entry]]) -> bool:
    return max(Counter(key for key, _ in members).values()) == 1


def _apart(members: Sequence[tuple[tuple[str, ...], Entry]]) -> list[list[tuple[tuple[str, ...], Entry]]]:
    """Return the members grouped by results folder, dtype and seed; alone those that this does not separate."""
    buckets: list[tuple[set[Any], list[tuple[tuple[str, ...], Entry]]]] = []
    for key, entry in members:
        run = entry.record.execution
        positions = {(output, run.dtype, run.seed) for output in entry.outputs}
        joined = [(key, entry)]
        rest = []
        for known, those in buckets:
            if known & positions:
                positions, joined = positions | known, those + joined
            else:
                rest.append((known, those))
        buckets = [*rest, (positions, joined)]
    split: list[list[tuple[tuple[str, ...], Entry]]] = []
    for _, those in buckets:
        in_group = Counter(key for key, _ in those)
        single = [one for one in those if in_group[one[0]] == 1]
        split += [row for row in (single, *([one] for one in those if in_group[one[0]] > 1)) if row]
    return split


def _traits(record: Record) -> dict[str, Any]:
    """Return the properties that distinguish a model from others of the same name."""
    model = record.model
    return {
        "name": model.name,
        "weights": model.weights_sha256,
        "version": model.package_version,
        "decoding": model.decoding,
        "role": model.card.role,
    }


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return f"m{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:10]}"


def row_of(id: str, found: Mapping[int, Entry], placed: Mapping[str, Mapping[int, Entry]]) -> Row:
    """Return the board's row of a model.

    Args:
        id: id of the row.
        found: number of a group -> record of the model.
        placed: id -> the same, for all rows.
    """
    first = next(iter(found.values()))
    record = first.record
    card = record.model.card
    badges = _row_badges(list(found.values()))
    return Row(
        id=id,
        name=name_of(record.model.name),
        label=_label(id, placed),
        kind="competitor" if card.role == "competitor" else "reference",
        role=card.role,
        title=clean(card.title, 200),
        parameters=card.parameters if card.parameters is None or 0 < card.parameters < 1e15 else None,
        card=card_facts(record, [entry.record.dataset for entry in found.values()]),
        link=address(card.paper),
        badges=badges,
        sources=tuple(source_of(number, entry) for number, entry in sorted(found.items())),
    )


def _row_badges(entries: Sequence[Entry]) -> tuple[Badge, ...]:
    """Return the badges of all records of a row.

    A badge that applies to some of the records gives their number; a positive badge must apply to all.
    """
    found: dict[str, list[Badge]] = defaultdict(list)
    for entry in entries:
        for badge in badges_of(entry):
            # A smoke test is stated once, for the group.
            if badge.word != SMOKE_TEST:
                found[badge.word].append(badge)
    shown = []
    for badges in found.values():
        first, all_of_them = badges[0], len(badges) == len(entries)
        if first.tone == "good" and not all_of_them:
            continue
        share = "" if all_of_them else f" ({len(badges)} of {len(entries)} records)"
        shown.append(replace(first, meaning=f"{first.meaning}{share}"))
    return tuple(shown)


def _label(id: str, placed: Mapping[str, Mapping[int, Entry]]) -> str:
    """Return the model's name; if several rows have it, with the first properties that distinguish them."""
    names = {entry.record.model.name for found in placed.values() for entry in found.values()}

    def about(row: str) -> dict[str, str]:
        records = [entry.record for _, entry in sorted(placed[row].items())]
        model = records[0].model
        what = hashed_part(model.name)
        return {
            "": name_of(display_name(model.name, names)),
            "decoding": ", ".join(
                f"{clean(key, 20)} {stated(value, 30)}" for key, value in sorted(model.decoding.items())
            ),
            "weights": f"{what} {clean(model.weights_sha256, 8)}" if model.weights_sha256 else f"no {what}",
            "version": f"version {clean(model.package_version, 40)}" if model.package_version else "no version",
            "role": model.card.role_name,
            "dtype": clean(records[0].execution.dtype, 20),
            "seed": f"seed {records[0].execution.seed}",
            "record": f"record {placed[row][min(placed[row])].sha256[:8]}",
        }

    candidate = about(id)
    others = [about(row) for row in placed if row != id]
    others = [other for other in others if other[""] == candidate[""]]
    message = []
    for trait in list(candidate)[1:]:
        if not others:
            break
        if any(other[trait] != candidate[trait] for other in others):
            message.append(candidate[trait])
            others = [other for other in others if other[trait] == candidate[trait]]
    message = [word for word in message if word]
    return f"{candidate['']} ({', '.join(message)})" if message else candidate[""]


def sorted_rows(
    rows: Iterable[Row], groups: Sequence[Group], columns: Sequence[Column], cells: Mapping[str, Mapping[str, Cell]]
) -> list[Row]:
    """Return the board's rows sorted by each group's headline, the best first, models without a value last."""
    by_id = {column.id: column for column in columns}
    headlines = [by_id[group.headline] for group in groups if group.headline]

    def position(row: Row) -> tuple[Any, ...]:
        values: list[tuple[bool, float]] = []
        for column in headlines:
            value = cells[row.id][column.id].value
            values.append(
                (value is None, 0.0 if value is None else value if column.higher_is_better is False else -value)
            )
        return (row.kind != "competitor", row.role == "reference", *values, row.label, row.id)

    return sorted(rows, key=position)
