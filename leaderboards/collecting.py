"""From the places that were named to records: all that lie below, each read as data of a stranger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from colorbench.errors import UserError
from colorbench.evaluation.identity import content_fingerprint
from colorbench.evaluation.record import Record
from colorbench.evaluation.store import RunFolder
from colorbench.evaluation.stored_rows import StoredRun, read_checked_record, read_table
from colorbench.evaluation.verification import Verification
from leaderboards.text import clean

RECORD = "record.json"
REFERENCE = "reference"
"""The word for the records that ship."""
SHIPPED = Path(__file__).parent / "reference" / "records"


@dataclass(frozen=True)
class Entry:
    """A record, with its rows where they can be read and are those that it tells of."""

    folder: Path
    record: Record
    sha256: str
    """Of the bytes of ``record.json``."""
    run: StoredRun | None
    trouble: str | None
    """Why there are no rows."""
    verification: Verification | None = None


@dataclass(frozen=True)
class Unfinished:
    """A run without a record: it was stopped, or it failed."""

    where: str
    """Its folder below the place that was named."""
    model: str
    protocol: str
    shards: int
    """Pieces of it that are done."""


@dataclass(frozen=True)
class Refused:
    """A record that could not be read."""

    where: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """Everything that lies in the places named."""

    entries: tuple[Entry, ...]
    unfinished: tuple[Unfinished, ...]
    refused: tuple[Refused, ...]


def collect(
    places: Sequence[Path],
    *,
    verifications: Sequence[Verification] = (),
    verify: Callable[[Path], Verification] | None = None,
) -> Collection:
    """Read every record below the places; the same record twice counts once.

    Args:
        places: folders, at any depth above the records, or ``record.json`` files; ``reference`` names those that ship.
        verifications: found by whoever asks for the board, matched by the content of the record.
        verify: makes one for each record that has none.

    Raises:
        UserError: for a place that is not there, and where no record can be read at all.
    """
    known = {one.record_sha256: one for one in verifications}
    entries: dict[str, Entry] = {}
    unfinished: dict[Path, Unfinished] = {}
    refused: dict[Path, Refused] = {}
    for root, folder in _folders(places):
        where = clean(folder.relative_to(root).as_posix() if folder != root else folder.name, 300)
        if not (folder / RECORD).is_file():
            parts = folder.parts[-4:]
            shards = len(RunFolder(folder).done())
            unfinished[folder] = Unfinished(where, clean("/".join(parts[:-2]), 100), clean(parts[-2], 60), shards)
            continue
        try:
            record, sha256 = read_checked_record(folder)
        except UserError as error:
            refused[folder] = Refused(where, clean(error.what, 300))
            continue
        if sha256 not in entries:
            found = known.get(sha256) or (verify(folder) if verify else None)
            entries[sha256] = _entry(folder, record, sha256, found)
    if not entries:
        named = ", ".join(str(place) for place in places)
        why = f"; the first that was refused: {next(iter(refused.values())).reason}" if refused else ""
        mend = "give folders that `colorbench run` wrote"
        raise UserError(f"no record that can be read lies here{why}", where=named, mend=mend)
    return Collection(
        tuple(
            sorted(
                entries.values(), key=lambda entry: (entry.record.model.name, entry.record.protocol.name, entry.sha256)
            )
        ),
        tuple(sorted(unfinished.values(), key=lambda one: (one.where, one.shards))),
        tuple(sorted(refused.values(), key=lambda one: (one.where, one.reason))),
    )


def _folders(places: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """(place named, folder of a record or of an unfinished run)."""
    for named in places:
        place = SHIPPED if str(named) == REFERENCE and not named.exists() else named
        if place.is_file() and place.name == RECORD:
            yield place.parent.parent.absolute(), place.parent.absolute()
        elif place.is_dir():
            root = place.absolute()
            for folder, folders, files in os.walk(root):
                if RECORD in files or "shards" in folders:
                    folders.clear()
                    yield root, Path(folder)
                folders.sort()
        else:
            raise UserError("no such folder of records", where=str(named), mend="give what `colorbench run` wrote")


def _entry(folder: Path, record: Record, sha256: str, verification: Verification | None) -> Entry:
    try:
        run = StoredRun(folder, record, read_table(folder, record), sha256)
    except UserError as error:
        return Entry(folder, record, sha256, None, clean(error.what, 200), verification)
    if content_fingerprint(run.sha256s) != record.dataset.fingerprint:
        what = "the rows are not of the photographs that the record names"
        return Entry(folder, record, sha256, None, what, verification)
    return Entry(folder, record, sha256, run, None, verification)
