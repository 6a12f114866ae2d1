"""The result of collecting: consistent records, unfinished runs and excluded records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from colorbench.results import Difference, LoadedRun, Record
from colorbench.verification import Verification, has_statistics


@dataclass(frozen=True)
class Entry:
    """A record and its rows, which are consistent."""

    folder: Path
    record: Record
    sha256: str
    """Of the bytes of ``record.json``."""
    run: LoadedRun
    outputs: frozenset[Path] = frozenset()
    """The results folders that contain it; records of one run share them."""
    verification: Verification | None = None
    differences: tuple[Difference, ...] = ()
    """The stored differences that the rows of both models confirm."""
    repeats: tuple[str, ...] = ()
    """Records of the same result on the same images in folders of other names, which are not shown."""

    def recomputable(self, metric: str) -> bool:
        """Return whether the value of a metric follows from the rows."""
        return has_statistics(self.run, metric)


@dataclass(frozen=True)
class Unfinished:
    """A run without a record: it was interrupted, or it failed."""

    where: str
    """Its folder, relative to the given path."""
    model: str
    protocol: str
    dataset: str
    """From the name of the folder, without the key."""
    shards: int
    """Number of finished shards."""


@dataclass(frozen=True)
class Excluded:
    """A record that is not used on the board."""

    where: str
    reason: str
    model: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class Collection:
    """Everything found below the given paths."""

    entries: tuple[Entry, ...]
    unfinished: tuple[Unfinished, ...]
    excluded: tuple[Excluded, ...]
