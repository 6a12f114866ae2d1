"""A CSV file of figures that a training appends to and rewinds when it resumes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path


class Journal:
    """A CSV file with one row a report; the first column is the step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, float]]:
        """Read what was written so far; an incomplete row is passed over."""
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
