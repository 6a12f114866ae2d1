"""``build``: the leaderboard's data from records (groups of columns, rows, and the content of each cell)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from colorbench.evaluation import ProtocolSpec, folder_of
from colorbench.results import Record, column_key
from colorbench.stats import MINIMUM_IMAGES
from colorbench.storage import version_of
from leaderboards.board_columns import columns_of, fill
from leaderboards.board_rows import row_of, rows_of, sorted_rows
from leaderboards.board_schema import OTHER, Board, Cell, Choice, Column, Group
from leaderboards.collected_records import Collection, Entry
from leaderboards.dataset_names import Names, dataset_names, without_repeats
from leaderboards.rankings import Pairings
from leaderboards.record_checks import protocol_of
from leaderboards.untrusted_text import clean, name_of, stated

Key = tuple[str, ...]
LONGEST_CATEGORY = 40
T = TypeVar("T", bound=Hashable)


def build(
    collection: Collection, *, title: str = "Colorization leaderboard"
) -> tuple[Board, Mapping[str, Mapping[int, Entry]]]:
    """Build the board, and the record behind each row and group (row -> number of the group -> entry)."""
    by_group: dict[Key, list[Entry]] = defaultdict(list)
    names = dataset_names(collection.entries)
    for entry in without_repeats(collection.entries, names):
        by_group[column_key(entry.record)].append(entry)
    # The groups with most models first; groups of one protocol are adjacent.
    weight: dict[str, int] = defaultdict(int)
    for key, entries in by_group.items():
        weight[key[0]] = max(weight[key[0]], len(entries))
    keys = sorted(by_group, key=lambda key: (-weight[key[0]], key[0], -len(by_group[key]), key))
    ids = rows_of({key: by_group[key] for key in keys})
    placed: dict[str, dict[int, Entry]] = defaultdict(dict)
    for number, key in enumerate(keys):
        for entry in by_group[key]:
            placed[ids[entry.sha256]][number] = entry
    called: dict[Key, set[str]] = defaultdict(set)
    for entry in collection.entries:
        called[column_key(entry.record)].add(entry.record.dataset.name)
    first = {row: next(iter(found.values())).record for row, found in placed.items()}
    pairings = Pairings()
    groups: list[Group] = []
    columns: list[Column] = []
    cells: dict[str, dict[str, Cell]] = {row: {} for row in placed}
    for number, key in enumerate(keys):
        here = {row: found[number] for row, found in sorted(placed.items()) if number in found}
        protocol = protocol_of(by_group[key][0].record)
        spec = None if protocol is None else protocol.spec
        made, absent = columns_of(number, here, spec)
        headline = next((column.id for column, _ in made if column.headline), None)
        groups.append(_group(number, keys, by_group, names, spec, headline, absent))
        for column, meaning in made:
            ranked, column_cells = fill(column, meaning, here, spec, pairings)
            columns.append(ranked)
            for row in placed:
                cells[row][column.id] = column_cells.get(row) or Cell(
                    missing=_absent(groups[number], called[key], collection, first[row])
                )
    rows = sorted_rows([row_of(row, found, placed) for row, found in placed.items()], groups, columns, cells)
    board = Board(
        title=clean(title, 200),
        groups=tuple(groups),
        columns=tuple(columns),
        rows=tuple(rows),
        cells={row.id: cells[row.id] for row in rows},
        unfinished=collection.unfinished,
        excluded=collection.excluded,
        version=version_of("colorbench") or "unknown",
    )
    return board, {row.id: placed[row.id] for row in rows}


def _title(spec: ProtocolSpec, record: Record) -> str:
    """Return the protocol's title, with the preset that sets the record's parameters, if one does."""
    preset = spec.preset_of(record.protocol.parameters) if spec.version == record.protocol.version else None
    return f"{spec.title} ({preset})" if preset else spec.title


def _group(
    number: int,
    keys: Sequence[Key],
    by_group: Mapping[Key, Sequence[Entry]],
    names: Names,
    spec: ProtocolSpec | None,
    headline: str | None,
    absent: Sequence[str],
) -> Group:
    key = keys[number]
    records = [entry.record for entry in by_group[key]]
    record = records[0]
    candidate = _choices(records, names)
    siblings = [
        _choices([entry.record for entry in by_group[other]], names)
        for other in keys
        if other[0] == key[0] and other != key
    ]
    shown, *also = names[record.dataset.fingerprint]
    choices = []
    for name in dict.fromkeys([*candidate, *(choice for other in siblings for choice in other)]):
        value = candidate.get(name, "(none)")
        choices.append(Choice(clean(name, 60), value, any(other.get(name, "(none)") != value for other in siblings)))
    return Group(
        number=number,
        protocol=name_of(record.protocol.name),
        category=(clean(spec.category, LONGEST_CATEGORY) if spec else "") or OTHER,
        version=record.protocol.version,
        title=_title(spec, record) if spec else name_of(record.protocol.name),
        identity_sha256=clean(record.protocol.identity_sha256, 64),
        dataset=name_of(shown),
        also_named=tuple(map(name_of, also)),
        fingerprint=clean(record.dataset.fingerprint, 64),
        preprocessing=clean(_commonest(one.dataset.preprocessing for one in records), 60),
        gray_policy=clean(record.dataset.gray_policy, 20),
        n=record.dataset.n_evaluated,
        # A single record without the rights is enough to forbid it.
        redistributable=all(one.dataset.redistributable for one in records),
        source="; ".join(sorted({clean(one.dataset.source, 200) for one in records} - {""})),
        records=len(records),
        choices=tuple(choices),
        headline=headline,
        absent=tuple(absent),
        too_few_images=record.dataset.n_evaluated < MINIMUM_IMAGES,
        installed=spec is not None,
    )


def _choices(records: Sequence[Record], names: Names) -> dict[str, str]:
    """Return every choice in which groups of a protocol may differ, from the records of one group."""
    first = records[0]  # all records of a group have the same identity, images and gray policy
    name, limit = names[first.dataset.fingerprint][0], _commonest(one.dataset.limit for one in records)
    cut = "" if limit is None else f" (limit {limit})"
    return {
        "version": str(first.protocol.version),
        **{str(key): stated(value) for key, value in first.protocol.identity.items()},
        "gray images": clean(first.dataset.gray_policy, 20),
        "images": clean(f"{first.dataset.n_evaluated} of {name}{cut}, {first.dataset.fingerprint[:8]}", 120),
    }


def _commonest(values: Iterable[T]) -> T:
    """Return the most common value; of equally common values the first in text order."""
    often = Counter(values)
    return min(often, key=lambda value: (-often[value], str(value)))


def _absent(group: Group, called: Iterable[str], collection: Collection, record: Record) -> str:
    """Return why a model has no record in a group.

    Args:
        group: the group.
        called: names of the dataset in the records of the group.
        collection: also the unfinished runs.
        record: any record of the model.
    """
    # Folder names contain only characters that every file system permits, so names are compared in that form.
    *model, protocol, _ = folder_of(record.model.name, group.protocol, group.dataset, "").parts
    folders = [folder_of(record.model.name, group.protocol, name, "").name.rpartition("-")[0] for name in called]
    for one in collection.unfinished:
        named = one.model.split("/")[-len(model) :]
        if (named, one.protocol) == (model, protocol) and one.dataset in folders:
            return f"run not finished ({one.shards} shards done)"
    if any(choice.apart for choice in group.choices):
        return "not evaluated with this configuration"
    return f"not evaluated by {group.protocol} on these images"
