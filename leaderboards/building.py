"""Records -> board: which share a column, which are one model, and what each cell says."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from colorbench.errors import UserError
from colorbench.evaluation.anchors import CONSTANT, GRAY
from colorbench.evaluation.pairing import column_key
from colorbench.evaluation.protocol import MetricSpec, ProtocolSpec
from colorbench.evaluation.provenance import version_of
from colorbench.evaluation.record import Metric, Record
from colorbench.evaluation.request import get_protocol
from colorbench.stats.bootstrap import MINIMUM
from leaderboards.badges import DEMONSTRATION, badges_of
from leaderboards.board import Badge, Board, Cell, Choice, Column, Group, Row
from leaderboards.collecting import Collection, Entry
from leaderboards.describing import card_facts, source_of
from leaderboards.judging import Pairings, Standing, improvement, record_of, standing
from leaderboards.text import address, clean, name_of, said

OPEN = 3
"""Columns of a group that the page opens with."""
Key = tuple[str, ...]


def build(
    collection: Collection, *, title: str = "Colorization leaderboard"
) -> tuple[Board, Mapping[str, Mapping[int, Entry]]]:
    """The board, and the record behind each row and group (row -> number of the group -> entry)."""
    by_group: dict[Key, list[Entry]] = defaultdict(list)
    for entry in collection.entries:
        by_group[column_key(entry.record)].append(entry)
    # The groups with most models first; a protocol's groups stand side by side.
    weight: dict[str, int] = defaultdict(int)
    for key, entries in by_group.items():
        weight[key[0]] = max(weight[key[0]], len(entries))
    keys = sorted(by_group, key=lambda key: (-weight[key[0]], key[0], -len(by_group[key]), key))
    row_of = _rows(by_group, keys)
    placed: dict[str, dict[int, Entry]] = defaultdict(dict)
    for number, key in enumerate(keys):
        for entry in by_group[key]:
            placed[row_of[entry.sha256]][number] = entry
    pairings = Pairings()
    groups: list[Group] = []
    columns: list[Column] = []
    cells: dict[str, dict[str, Cell]] = {row: {} for row in placed}
    specs = {key[0]: _spec(key[0]) for key in keys}
    for number, key in enumerate(keys):
        here = {row: found[number] for row, found in sorted(placed.items()) if number in found}
        spec = specs[key[0]]
        spec = spec if spec is not None and str(spec.version) == key[1] else None
        made = _columns(number, here, spec)
        groups.append(_group(number, keys, by_group, spec, next((c.id for c in made if c.headline), None)))
        bounds = {name: record_of(name, here.values()) for name in (GRAY, CONSTANT)}
        for column in made:
            judged, column_cells = _fill(column, here, bounds, pairings)
            columns.append(judged)
            for row in placed:
                cells[row][column.id] = column_cells.get(row) or Cell(
                    missing=_absent(row, number, groups[number], collection, placed)
                )
    rows = _sorted_rows([_row(row, found, placed) for row, found in placed.items()], groups, columns, cells)
    board = Board(
        title=clean(title, 200),
        groups=tuple(groups),
        columns=tuple(columns),
        rows=tuple(rows),
        cells={row.id: cells[row.id] for row in rows},
        unfinished=collection.unfinished,
        refused=collection.refused,
        version=version_of("colorbench") or "unknown",
    )
    return board, {row.id: placed[row.id] for row in rows}


def _rows(by_group: Mapping[Key, Sequence[Entry]], keys: Iterable[Key]) -> dict[str, str]:
    """Record -> id of its row. Two records of one model in one group are two rows: nothing is averaged or dropped."""
    found = {}
    for key in keys:
        seen: dict[str, int] = defaultdict(int)
        for entry in sorted(
            by_group[key],
            key=lambda one: (one.record.execution.dtype != "float32", one.record.execution.seed, one.sha256),
        ):
            who = _digest(_traits(entry.record))
            found[entry.sha256] = who if not seen[who] else _digest([who, entry.sha256])
            seen[who] += 1
    return found


def _traits(record: Record) -> dict[str, Any]:
    """What makes a model another one."""
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


def _spec(protocol: str) -> ProtocolSpec | None:
    """What the installed protocol of that name says of itself; a name that is not installed is only a name."""
    try:
        return get_protocol(protocol).spec
    except UserError:
        return None


def _group(
    number: int,
    keys: Sequence[Key],
    by_group: Mapping[Key, Sequence[Entry]],
    spec: ProtocolSpec | None,
    headline: str | None,
) -> Group:
    key, record = keys[number], by_group[keys[number]][0].record
    mine = _choices(record)
    siblings = [_choices(by_group[other][0].record) for other in keys if other[0] == key[0] and other != key]
    choices = []
    for name in dict.fromkeys([*mine, *(choice for other in siblings for choice in other)]):
        value = mine.get(name, "not a choice")
        choices.append(
            Choice(clean(name, 60), value, any(other.get(name, "not a choice") != value for other in siblings))
        )
    data = record.dataset
    return Group(
        number=number,
        protocol=name_of(record.protocol.name),
        version=record.protocol.version,
        title=spec.title if spec else name_of(record.protocol.name),
        identity_sha256=clean(record.protocol.identity_sha256, 64),
        dataset=name_of(data.name),
        fingerprint=clean(data.fingerprint, 64),
        recipe=clean(data.recipe, 60),
        gray_policy=clean(data.gray_policy, 20),
        n=data.n_evaluated,
        # One source that forbids it is enough.
        redistributable=all(entry.record.dataset.redistributable for entry in by_group[key]),
        source="; ".join(sorted({clean(one.record.dataset.source, 200) for one in by_group[key]} - {""})),
        records=len(by_group[key]),
        choices=tuple(choices),
        headline=headline,
        demonstration=data.n_evaluated < MINIMUM,
        installed=spec is not None,
    )


def _choices(record: Record) -> dict[str, str]:
    """Everything by which groups of a protocol may differ."""
    data, protocol = record.dataset, record.protocol
    limit = "" if data.limit is None else f" (limit {data.limit})"
    return {
        "version": str(protocol.version),
        **{str(key): said(value) for key, value in protocol.identity.items()},
        "gray photographs": clean(data.gray_policy, 20),
        "photographs": clean(f"{data.n_evaluated} of {data.name}{limit}, {data.fingerprint[:8]}", 120),
    }


def _columns(number: int, entries: Mapping[str, Entry], spec: ProtocolSpec | None) -> list[Column]:
    """The metrics of a group, the headline first."""
    metrics: dict[str, Metric] = {}
    for entry in entries.values():
        for metric in entry.record.metrics:
            metrics.setdefault(metric.name, metric)
    known: dict[str, MetricSpec] = {one.name: one for one in spec.metrics} if spec else {}
    directed = [one.name for one in metrics.values() if one.higher_is_better is not None and one.comparable]
    headline = spec.headline if spec and spec.headline in metrics else next(iter(directed), next(iter(metrics), ""))
    order = [headline, *(name for name in metrics if name != headline)] if metrics else []
    shown = [headline, *(name for name in directed if name != headline)][:OPEN]
    return [
        Column(
            id=f"g{number}c{place}",
            group=number,
            metric=name_of(name),
            title=name_of(metrics[name].title),
            unit=clean(metrics[name].unit, 12),
            higher_is_better=metrics[name].higher_is_better,
            headline=name == headline,
            compared=metrics[name].comparable,
            explanation=known[name].explanation if name in known else "",
            shown=name in shown,
        )
        for place, name in enumerate(order)
    ]


def _fill(
    column: Column, entries: Mapping[str, Entry], bounds: Mapping[str, Entry | None], pairings: Pairings
) -> tuple[Column, dict[str, Cell]]:
    """The column with its ranking, and its cells by row."""
    having = {row: metric for row, entry in entries.items() if (metric := _metric(entry.record, column)) is not None}
    first = next(iter(having.values()), None)
    alike = {row: metric for row, metric in having.items() if first is not None and _same_kind(metric, first)}
    ranked = {
        row: entries[row]
        for row in alike
        if entries[row].record.model.card.role == "competitor"
        and entries[row].run is not None
        and alike[row].value is not None
    }
    if first is None:
        place = Standing({}, {}, None, "no record has it")
    else:
        place = standing(
            ranked, first.model_copy(update={"comparable": column.compared}), pairings.of(list(ranked.values()))
        )
    cells = {}
    for row, entry in entries.items():
        metric = having.get(row)
        if metric is None:
            cells[row] = Cell(missing="its record does not have this metric")
        elif row not in alike:
            cells[row] = Cell(missing="its record describes this metric otherwise (unit, direction or form)")
        elif metric.value is None:
            cells[row] = Cell(missing="not defined for any of these photographs", n=metric.n)
        else:
            low, high = place.ranks.get(row, (None, None))
            cells[row] = Cell(
                value=metric.value,
                ci_low=metric.ci_low,
                ci_high=metric.ci_high,
                ci_method=clean(metric.ci_method, 60) if metric.ci_method else None,
                n=metric.n,
                effective_n=metric.effective_n,
                first_rank=low,
                last_rank=high,
                over_gray=improvement(entry, GRAY, bounds[GRAY], metric, pairings),
                over_constant=improvement(entry, CONSTANT, bounds[CONSTANT], metric, pairings),
                warning=clean(metric.warning, 200) if metric.warning else None,
            )
    judged = replace(
        column, ranked=len(place.ranks), unranked=place.unranked, detectable=place.detectable, beats=place.beats
    )
    return judged, cells


def _metric(record: Record, column: Column) -> Metric | None:
    return next((metric for metric in record.metrics if name_of(metric.name) == column.metric), None)


def _same_kind(one: Metric, other: Metric) -> bool:
    return (one.unit, one.form, one.higher_is_better) == (other.unit, other.form, other.higher_is_better)


def _absent(
    row: str, number: int, group: Group, collection: Collection, placed: Mapping[str, Mapping[int, Entry]]
) -> str:
    """Why a model has no record in a group."""
    model = name_of(next(iter(placed[row].values())).record.model.name)
    for one in collection.unfinished:
        # A folder tells the names only in the letters that every file system takes.
        if one.protocol == group.protocol and one.model.endswith(model):
            return f"this run was not finished ({one.shards} pieces are done)"
    if any(choice.apart for choice in group.choices):
        return "not measured with these choices"
    return f"not measured by {group.protocol} on these photographs"


def _row(id: str, found: Mapping[int, Entry], placed: Mapping[str, Mapping[int, Entry]]) -> Row:
    first = next(iter(found.values()))
    record = first.record
    card = record.model.card
    badges = _row_badges(list(found.values()))
    return Row(
        id=id,
        name=name_of(record.model.name),
        label=_label(id, placed),
        kind="competitor" if card.role == "competitor" else "bound",
        role=card.role,
        title=clean(card.title, 200),
        parameters=card.parameters if card.parameters is None or 0 < card.parameters < 1e15 else None,
        card=card_facts(record, [entry.record.dataset for entry in found.values()]),
        link=address(card.paper),
        badges=badges,
        sources=tuple(source_of(number, entry) for number, entry in sorted(found.items())),
    )


def _row_badges(entries: Sequence[Entry]) -> tuple[Badge, ...]:
    """Badges of all its records; what holds of a few of several says so, and praise must hold of all."""
    found: dict[str, list[Badge]] = defaultdict(list)
    for entry in entries:
        for badge in badges_of(entry):
            # How few photographs there are is said of the group.
            if badge.word != DEMONSTRATION:
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
    """The model's name; of several with that name, with the first things that tell them apart."""

    def about(row: str) -> dict[str, str]:
        records = [entry.record for _, entry in sorted(placed[row].items())]
        model = records[0].model
        return {
            "": name_of(model.name),
            "decoding": ", ".join(
                f"{clean(key, 20)} {said(value, 30)}" for key, value in sorted(model.decoding.items())
            ),
            "weights": f"weights {clean(model.weights_sha256, 8)}" if model.weights_sha256 else "no weights",
            "version": f"version {clean(model.package_version, 40)}" if model.package_version else "no version",
            "role": model.card.role,
            "dtype": clean(records[0].execution.dtype, 20),
            "seed": f"seed {records[0].execution.seed}",
            "record": f"record {clean(records[0].key, 8)}",
        }

    mine = about(id)
    others = [about(row) for row in placed if row != id]
    others = [other for other in others if other[""] == mine[""]]
    words = []
    for trait in list(mine)[1:]:
        if not others:
            break
        if any(other[trait] != mine[trait] for other in others):
            words.append(mine[trait])
            others = [other for other in others if other[trait] == mine[trait]]
    words = [word for word in words if word]
    return f"{mine['']} ({', '.join(words)})" if words else mine[""]


def _sorted_rows(
    rows: Iterable[Row], groups: Sequence[Group], columns: Sequence[Column], cells: Mapping[str, Mapping[str, Cell]]
) -> list[Row]:
    by_id = {column.id: column for column in columns}
    headlines = [by_id[group.headline] for group in groups if group.headline]

    def place(row: Row) -> tuple[Any, ...]:
        values: list[tuple[bool, float]] = []
        for column in headlines:
            value = cells[row.id][column.id].value
            values.append(
                (value is None, 0.0 if value is None else value if column.higher_is_better is False else -value)
            )
        return (row.kind != "competitor", row.role == "reference", *values, row.label, row.id)

    return sorted(rows, key=place)
