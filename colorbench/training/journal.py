"""CSV log of a training's values; the checkpoint has a copy of it, to which it returns when the training resumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from colorbench.errors import RunError
from colorbench.storage import write_atomic
from colorbench.storage.atomic_files import set_aside

TABLES = ("log.csv", "validation.csv")
"""Values of the training, and of its validations."""


class Journal:
    """A CSV file with one row per report; the first column is the step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, float]]:
        """Read all rows; an incomplete row is ignored.

        Raises:
            RunError: for a damaged file.
        """
        if not self.path.exists():
            return []
        try:
            with self.path.open(newline="", encoding="ascii") as file:
                reader = csv.reader(file)
                header = next(reader, [])
                rows = [
                    {name: float(value) for name, value in zip(header, row, strict=True)}
                    for row in reader
                    if len(row) == len(header) and all(row)
                ]
        except (OSError, ValueError, csv.Error) as error:
            hint = "run the same command again: the table of the last checkpoint is restored"
            raise RunError("a table of this training is damaged", where=str(self.path), hint=hint) from error
        return rows

    def text(self) -> str:
        """Return the content of the file; empty if there is none."""
        return self.path.read_bytes().decode("ascii", "replace") if self.path.is_file() else ""

    def append(self, row: Mapping[str, float]) -> None:
        """Append a row; the first one determines the header."""
        head = "" if self.path.exists() else _line(row)
        with self.path.open("a", newline="") as file:
            file.write(head + _line(_values(row)))

    def restore(self, text: str, say: Callable[[str], None]) -> None:
        """Return to the content of a checkpoint; rows after it are dropped, since their steps are repeated.

        Args:
            text: content when the checkpoint was written.
            say: called with a line if the file has other rows, or is none; it is then set aside.
        """
        found = self.text()
        if self.path.exists() and not (self.path.is_file() and found.startswith(text)):
            say(f"{self.path} is damaged: it is now {set_aside(self.path).name}, and the last checkpoint's is restored")
        if text:
            write_atomic(self.path, text.encode())
        else:
            self.path.unlink(missing_ok=True)


def table_texts(folder: Path) -> dict[str, str]:
    """Return the contents of the tables of a training, for its checkpoint."""
    return {name: Journal(folder / name).text() for name in TABLES}


def restore_tables(folder: Path, texts: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Return to the tables of a checkpoint; see ``Journal.restore``."""
    for name in TABLES:
        Journal(folder / name).restore(texts.get(name, ""), say)


def _values(row: Mapping[str, float]) -> list[str]:
    return [f"{value:.6g}" for value in row.values()]


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
