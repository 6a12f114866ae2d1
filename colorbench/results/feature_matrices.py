"""Matrices of features on disk: one file for each layer, read by rows, with checksums of their shards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from colorbench.results.duplicate_images import first_positions, without_copies
from colorbench.results.shard import Shard

DTYPES: Mapping[str, Any] = {"float16": np.float16, "float32": np.float32}
_AT_ONCE = 1 << 24
"""Bytes that are read at once for a checksum."""


class _Chosen:
    """Selected rows of a matrix on disk; only these are read."""

    def __init__(self, full: np.ndarray, positions: np.ndarray) -> None:
        self.full, self.positions, self.shape = full, positions, (len(positions), full.shape[1])

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: Any) -> np.ndarray:
        found: np.ndarray = self.full[self.positions[rows]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.full[self.positions], dtype)


FeatureMatrix = np.ndarray | _Chosen
"""(n, dims) features of a layer, in memory or read from disk when indexed."""


@dataclass(frozen=True)
class FeatureStore:
    """Finished features of one source on one dataset."""

    folder: Path
    key: str
    layers: Mapping[str, int]
    """Layer -> dims, in the order of depth."""
    rows: Shard
    """Rows of the images with features; the others are in ``skipped``."""
    positions: np.ndarray
    """(n,) position of each row in the files."""
    count: int
    """Number of rows in the files, including skipped images."""
    storage: str

    def matrix(self, layer: str) -> FeatureMatrix:
        """Return the features of a layer, (n, dims), read from disk when indexed."""
        shape = (self.count, self.layers[layer])
        full = np.memmap(self.folder / matrix_file(layer, self.storage), DTYPES[self.storage], "r", shape=shape)
        return full if len(self.positions) == self.count else _Chosen(full, self.positions)

    def without_copies(self) -> FeatureStore:
        """Return the features with each distinct image once, for datasets that are evaluated."""
        rows = without_copies(self.rows)
        return (
            self
            if rows is self.rows
            else replace(self, rows=rows, positions=self.positions[first_positions(self.rows.sha256s)])
        )

    @cached_property
    def labels(self) -> np.ndarray:
        """Class of each row, (n,); -1 for none."""
        return np.array([-1 if label is None else label for label in self.rows.labels], dtype=np.int64)


def matrix_file(layer: str, storage: str) -> str:
    """Return the name of the file of a layer."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', layer)}.{storage}"


def runs_of(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of runs of consecutive positions."""
    start = 0
    for stop in range(1, len(positions) + 1):
        if stop == len(positions) or positions[stop] != positions[stop - 1] + 1:
            yield start, stop
            start = stop


def wrong_shards(path: Path, row_bytes: int, shards: Sequence[tuple[Sequence[int], str]]) -> set[int]:
    """Return the indices of the shards whose rows in a file are not those that were written.

    Args:
        path: file of a layer; all shards of one that is missing or cannot be read are wrong.
        row_bytes: bytes of a row.
        shards: positions of the rows of each shard, in the order in which they were written, and the hexadecimal
            sha256 of these rows.
    """
    wrong: set[int] = set()
    try:
        with open(path, "rb") as file:
            for index, (positions, expected) in enumerate(shards):
                digest = sha256()
                for start, stop in runs_of(positions):
                    file.seek(positions[start] * row_bytes)
                    left = (stop - start) * row_bytes
                    while left and (data := file.read(min(left, _AT_ONCE))):
                        digest.update(data)
                        left -= len(data)
                if digest.hexdigest() != expected:
                    wrong.add(index)
    except OSError:
        return set(range(len(shards)))
    return wrong
