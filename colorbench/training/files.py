"""What a training leaves in its folder while it runs: one checkpoint, and tables of figures.

A checkpoint is whole or not there. A table is a log: rows that a killed training wrote after its last checkpoint are
dropped when it is resumed, since those steps are done again.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from colorbench.errors import RunError, UserError

FORMAT = 3
"""Of the checkpoint; raised when an older one can no longer be gone on from."""


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; the one before it stays until the new one is on the disk.

    Raises:
        RunError: if the disk refuses.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise RunError(
            f"cannot write a checkpoint: {reason}",
            where=str(path),
            mend="the one before it stays; make room, then resume",
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, onto the CPU.

    Raises:
        UserError: for a file that is damaged or of another version.
    """
    mend = "give another -o, or remove it to begin anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the reader raise
        what = f"the checkpoint cannot be read: {str(error).splitlines()[0]}"
        raise UserError(what, where=str(path), mend=mend) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError("the checkpoint is of another version of colorbench", where=str(path), mend=mend)
    return state


class Journal:
    """A CSV file with one row a report; the first column is the step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, float]]:
        """What was written so far; a row that was cut off is passed over."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            return [
                {name: float(value) for name, value in zip(header, row, strict=True)}
                for row in reader
                if len(row) == len(header) and all(row)
            ]

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; the first one makes the header."""
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(row)
            writer.writerow([f"{value:.6g}" for value in row.values()])

    def rewind(self, step: int) -> None:
        """Drop all rows after ``step``."""
        kept = [row for row in self.rows() if row["step"] <= step]
        partial = self.path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        if kept:
            copy = Journal(partial)
            for row in kept:
                copy.append(row)
            partial.replace(self.path)
        else:
            self.path.unlink(missing_ok=True)
