"""``collect``: search for records below given paths, and their reading as untrusted data.

A record that is unreadable or contradicts its own rows is excluded and named; other records are not affected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from colorbench.errors import UserError, path_hint
from colorbench.evaluation import RunDirectory, folder_of
from colorbench.results import LoadedRun, Record, read_checked_record, read_table
from colorbench.storage import walk
from colorbench.verification import Verification
from leaderboards.collected_records import Collection, Entry, Excluded, Unfinished
from leaderboards.difference_checks import checked
from leaderboards.record_checks import contradictions, excessive
from leaderboards.untrusted_text import clean

RECORD = "record.json"
REFERENCE = "reference"
"""Name of the shipped records on the command line."""
SHIPPED = Path(__file__).parent / "reference" / "records"


def collect(
    positions: Sequence[Path],
    *,
    verifications: Sequence[Verification] = (),
    verify: Callable[[Path], Verification] | None = None,
) -> Collection:
    """Read every record below the given paths; the same record twice counts once.

    Args:
        positions: folders, at any depth above the records, or ``record.json`` files;
            ``reference`` names the shipped records.
        verifications: reports of earlier verifications, matched by the content of the record.
        verify: verifies each record that has no report.

    Raises:
        UserError: if a path does not exist, or no record can be used.
    """
    known = {one.record_sha256: one for one in verifications}
    entries: dict[str, Entry] = {}
    unfinished: dict[Path, Unfinished] = {}
    excluded: dict[Path, Excluded] = {}
    positions_of: dict[str, str] = {}
    for root, folder in _folders(positions):
        where = clean(folder.relative_to(root).as_posix() if folder != root else folder.name, 300)
        if not os.path.lexists(folder / RECORD):
            unfinished[folder] = _unfinished(folder, where)
            continue
        found = _read(folder, where, entries, known, verify)
        if isinstance(found, Excluded):
            excluded[folder] = found
        else:
            before = entries.get(found.sha256)
            positions_of.setdefault(found.sha256, where)
            outputs = found.outputs | (before.outputs if before else frozenset())
            entries[found.sha256] = replace(before or found, outputs=outputs)
    saved, contradicted = checked(entries.values())
    for entry, reason in contradicted:
        excluded[entry.folder] = _excluded(positions_of[entry.sha256], reason, entry.record)
    if not saved:
        named = ", ".join(str(position) for position in positions)
        why = f"; {len(excluded)} excluded, the first: {next(iter(excluded.values())).reason}" if excluded else ""
        hint = "give folders that `colorbench run` wrote"
        raise UserError(f"no usable record found{why}", where=named, hint=hint)
    return Collection(
        tuple(sorted(saved, key=lambda entry: (entry.record.model.name, entry.record.protocol.name, entry.sha256))),
        tuple(sorted(unfinished.values(), key=lambda one: (one.where, one.shards))),
        tuple(sorted(excluded.values(), key=lambda one: (one.where, one.reason))),
    )


def _folders(positions: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield (given path, folder of a record or of an unfinished run)."""
    for named in positions:
        position = SHIPPED if str(named) == REFERENCE and not named.exists() else named
        if position.is_file() and position.name == RECORD:
            yield position.parent.parent.absolute(), position.parent.absolute()
        elif position.is_dir():
            root = position.absolute()
            for folder, folders, files in walk(root):
                if RECORD in files or RECORD in folders or "shards" in folders:
                    folders.clear()
                    yield root, Path(folder)
                folders.sort()
        else:
            raise UserError(
                "no such folder or record",
                where=str(named),
                hint=path_hint(Path(named), "give folders that `colorbench run` wrote"),
            )


def _unfinished(folder: Path, where: str) -> Unfinished:
    parts = ("", "", "", *folder.parts)[-4:]
    dataset = folder.name.rpartition("-")[0]
    shards = len(RunDirectory(folder).done())
    return Unfinished(where, clean("/".join(parts[:-2]), 100), clean(parts[-2], 60), clean(dataset, 100), shards)


def _read(
    folder: Path,
    where: str,
    entries: dict[str, Entry],
    known: dict[str, Verification],
    verify: Callable[[Path], Verification] | None,
) -> Entry | Excluded:
    """Read one record, or return why it is excluded."""
    record: Record | None = None

    def no(reason: str) -> Excluded:
        return _excluded(where, reason, record)

    try:
        record, sha256 = read_checked_record(folder)
        if sha256 in entries:
            return replace(entries[sha256], outputs=_outputs(folder, record))
        too_much = excessive(record)
        if too_much:
            return no(too_much)
        run = LoadedRun(folder, record, read_table(folder, record), sha256)
        wrong = list(contradictions(run))
        if wrong:
            return no(wrong[0] if len(wrong) == 1 else f"{wrong[0]} (and {len(wrong) - 1} more)")
        verification = known.get(sha256) or (verify(folder) if verify else None)
        if verification is not None and not verification.holds:
            fails = next((one for one in verification.checks if one.outcome == "fails"), None)
            return no("verification failed" + (f": {fails.name}: {fails.detail}" if fails else ""))
        return Entry(folder, record, sha256, run, _outputs(folder, record), verification)
    except UserError as error:
        return no(error.what)
    except Exception as error:  # an untrusted file can make a library raise anything; only that file is excluded
        return no(f"it cannot be read ({type(error).__name__})")


def _excluded(where: str, reason: str, record: Record | None) -> Excluded:
    model, protocol = (clean(record.model.name, 120), clean(record.protocol.name, 60)) if record else ("", "")
    return Excluded(where, clean(reason, 300), model, protocol)


def _outputs(folder: Path, record: Record) -> frozenset[Path]:
    """Return the results folder of a record; the record's own folder if its path is not that of a run."""
    own = folder_of(record.model.name, record.protocol.name, record.dataset.name, record.key)
    if folder.parts[-len(own.parts) : -1] != own.parts[:-1]:
        return frozenset([folder])
    return frozenset([folder.parents[len(own.parts) - 1]])
