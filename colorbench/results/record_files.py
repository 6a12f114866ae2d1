"""Check that the files beside a record still have the bytes that the record was made with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from colorbench.results.record import PREDICTIONS, Record
from colorbench.storage import file_sha256, is_inside


def damaged_files(folder: Path, record: Record) -> list[Path]:
    """Return the files of a record that have other bytes than it states, or cannot be read.

    Arrays and images may be missing, since records are often copied without them; rows may not.

    Args:
        folder: of the record.
        record: in it.
    """
    stated = {"rows.parquet": record.files.rows, **record.files.arrays, **record.files.saved_images}
    damaged = [folder / name for name, sha256 in stated.items() if not _intact(folder, name, sha256)]
    listing = folder / PREDICTIONS
    if PREDICTIONS in stated and listing not in damaged and listing.is_file():
        damaged += [folder / name for name, sha256 in _lines(listing) if not _intact(folder, name, sha256)]
    return damaged


def _lines(listing: Path) -> Iterator[tuple[str, str]]:
    """Yield (path below the record's folder, sha256) of each line of a list."""
    for line in listing.read_text().splitlines():
        sha256, _, name = line.partition("  ")
        yield name, sha256


def _intact(folder: Path, name: str, sha256: str) -> bool:
    """Return whether a file has a hash, or may be missing and is."""
    try:
        if not (folder / name).exists():
            return name != "rows.parquet"
        path = is_inside(folder, name)
        return path is not None and file_sha256(path) == sha256
    except OSError:
        return False
