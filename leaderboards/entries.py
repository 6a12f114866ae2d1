"""What collecting finds: records that agree with themselves, runs without one, and records that are excluded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from colorbench.results import Difference, LoadedRun, Record
from colorbench.verification import Verification, has_statistics


@dataclass(frozen=True)
class Entry:
    """A record and its rows, which agree with one another."""

    folder: Path
    record: Record
    sha256: str
    """Of the bytes of ``record.json``."""
    run: LoadedRun
    outputs: frozenset[Path] = frozenset()
    """The results folders that it lies in, which records of one run share."""
    verification: Verification | None = None
    differences: tuple[Difference, ...] = ()
    """Those stored differences that the rows of the other model give, too."""

    def recomputable(self, metric: str) -> bool:
        """Return whether the value of a metric follows from the rows."""
        return has_statistics(self.run, metric)


@dataclass(frozen=True)
class Unfinished:
    """A run without a record: it was stopped, or it failed."""

    where: str
    """Its folder below the place that was named."""
    model: str
    protocol: str
    dataset: str
    """As the folder's name has it, without the key."""
    shards: int
    """Pieces of it that are done."""


@dataclass(frozen=True)
class Excluded:
    """A record that stands nowhere on the board."""

    where: str
    reason: str
    model: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class Collection:
    """Everything that lies in the places named."""

    entries: tuple[Entry, ...]
    unfinished: tuple[Unfinished, ...]
    excluded: tuple[Excluded, ...]
