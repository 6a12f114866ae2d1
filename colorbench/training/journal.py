"""CSV log of a training's values, which is truncated when the training resumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from colorbench.storage import write_atomic


class Journal:
    """A CSV file with one row per report; the first column is the step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, float]]:
        """Read all rows; an incomplete row is ignored."""
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
        """Append a row; the first one determines the header."""
        head = "" if self.path.exists() else _line(row)
        with self.path.open("a", newline="") as file:
            file.write(head + _line(_values(row)))

    def rewind(self, step: int) -> None:
        """Drop all rows after ``step``."""
        kept = [row for row in self.rows() if row["step"] <= step]
        if kept:
            write_atomic(self.path, "".join([_line(kept[0]), *(_line(_values(row)) for row in kept)]).encode())
        else:
            self.path.unlink(missing_ok=True)


def _values(row: Mapping[str, float]) -> list[str]:
    return [f"{value:.6g}" for value in row.values()]


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
