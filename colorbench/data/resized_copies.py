"""The note that marks a resized copy of a dataset, whose images decode fast.

The note is the file ``FILE`` in the root of the copy. Datasets that are opened from it carry the size in their name and
source, and their images have other hashes, so that their records are never paired with those of the originals.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from colorbench.data.dataset import Dataset
from colorbench.errors import UserError
from colorbench.storage import write_atomic

FILE = "resized_copy.json"
_KIND = "colorbench resized copy"
_AGAIN = "run the same command again"


@dataclass(frozen=True)
class CopyNote:
    """What is stored about a copy."""

    dataset: str
    """Name of the copied dataset."""
    source: str
    """Its source."""
    short_side: int
    files: str
    """Digest of names and stamps of the copied files."""
    complete: bool
    kind: str = _KIND

    def name(self, dataset: str) -> str:
        """Return the name of a dataset of these images."""
        return f"{dataset}-short{self.short_side}"

    def marked(self, dataset: Dataset, root: Path) -> Dataset:
        """Return a dataset that was opened from the copy with its size in name, source and remarks."""
        own = dataset.name == root.resolve().name
        what = f"short side at most {self.short_side} pixels"
        return replace(
            dataset,
            name=self.name(self.dataset if own else dataset.name),
            source=f"resized copy ({what}) of {self.dataset}: {self.source}",
            remarks=(*dataset.remarks, f"resized copy, {what}: its scores are not those of the original images"),
        )


def find_copy(folder: Path) -> tuple[CopyNote, Path] | None:
    """Return the note of the copy that a folder belongs to, and the root of the copy; None for other folders.

    Raises:
        UserError: for a copy that is unfinished, or whose note is damaged.
    """
    resolved = folder.resolve()
    root = next((one for one in (resolved, *resolved.parents) if (one / FILE).is_file()), None)
    if root is None:
        return None
    note = read_note(root)
    if not note.complete:
        raise UserError("this resized copy is not finished", where=str(root), hint=f"{_AGAIN} (`colorbench cache`)")
    return note, root


def read_note(root: Path) -> CopyNote:
    """Read the note in the root of a copy.

    Raises:
        UserError: for a damaged note.
    """
    try:
        note = CopyNote(**json.loads((root / FILE).read_text(encoding="utf-8")))
        if note.kind != _KIND or type(note.short_side) is not int or type(note.complete) is not bool:
            raise ValueError(note.kind)
        return note
    except (OSError, ValueError, TypeError, RecursionError) as error:
        what = "the note of this resized copy is damaged"
        raise UserError(what, where=str(root / FILE), hint="make the copy again in another folder") from error


def write_note(root: Path, note: CopyNote) -> None:
    """Write the note into the root of a copy."""
    write_atomic(root / FILE, (json.dumps(asdict(note), indent=1) + "\n").encode())
