"""Samples of a large dataset as columns: an image takes its id and some 30 bytes, not a Python object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow

from colorbench.data.dataset import Container, Sample

_AT_ONCE = 4096
"""Number of samples that are made at once while a dataset is iterated over."""


class SampleColumns(Sequence[Sample]):
    """An immutable sequence of samples; each is made when it is asked for."""

    def __init__(
        self,
        ids: Any,
        sizes: np.ndarray,
        modified: np.ndarray,
        places: Sequence[Path | Container],
        *,
        place: np.ndarray | None = None,
        positions: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        """Take the columns, of n samples in their order.

        Args:
            ids: (n,) Arrow array of type ``large_string``.
            sizes: (n,) int64.
            modified: (n,) int64, nanoseconds.
            places: folders, to which ids are relative, and containers.
            place: (n,) index into ``places``; None: all are in the first.
            positions: (n,) int64, ``Sample.position``; None for files.
            labels: (n,) int32 class indices; None without classes.
        """
        self.ids, self.sizes, self.modified, self.places = ids, sizes, modified, tuple(places)
        self.place, self.positions, self.labels = place, positions, labels
        self.digests: dict[bool, str] = {}
        """Digests of these samples, see ``files_digest``."""

    @classmethod
    def joined(cls, parts: Sequence[tuple[SampleColumns, str]]) -> tuple[SampleColumns, np.ndarray]:
        """Return the samples of several containers, sorted by id, and the index of each before sorting, (n,).

        Args:
            parts: samples with positions and without labels, and what is put in front of their ids.
        """
        import pyarrow.compute  # takes a tenth of a second

        firsts = np.cumsum([0, *(len(part.places) for part, _ in parts)])[:-1]
        place = [part.place_numbers() + first for (part, _), first in zip(parts, firsts, strict=True)]
        text = partial(pyarrow.scalar, type=pyarrow.large_string())
        ids = [pyarrow.compute.binary_join_element_wise(text(before), part.ids, text("")) for part, before in parts]
        whole = cls(
            pyarrow.concat_arrays(ids),
            np.concatenate([part.sizes for part, _ in parts]),
            np.concatenate([part.modified for part, _ in parts]),
            [one for part, _ in parts for one in part.places],
            place=np.concatenate(place),
            positions=np.concatenate([part.positions for part, _ in parts if part.positions is not None]),
        )
        order = _order(whole.ids)
        return whole.taken(order), order

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> SampleColumns: ...

    def __getitem__(self, index: int | slice) -> Sample | SampleColumns:
        if isinstance(index, slice):
            return self._picked(self.ids[index], index)
        start = range(len(self))[index]  # raises IndexError
        return self._made(start, start + 1)[0]

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._made(start, min(start + _AT_ONCE, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def names(self) -> Iterator[str]:
        """Yield the ids."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self.ids[start : start + _AT_ONCE].to_pylist()

    def place_numbers(self) -> np.ndarray:
        """Return the index into ``places`` of each sample, (n,) int32."""
        return np.zeros(len(self), np.int32) if self.place is None else self.place

    def labeled(self, labels: Iterable[int]) -> SampleColumns:
        """Return the samples with class indices, one for each."""
        whole = self[:]
        whole.labels = np.fromiter(labels, np.int32, len(self))
        return whole

    def taken(self, indices: np.ndarray) -> SampleColumns:
        """Return the samples at ``indices``, (m,), in that order."""
        return self._picked(self.ids.take(_integer_array(indices)), indices)

    def in_order(self) -> SampleColumns:
        """Return the samples sorted by id."""
        names = self.names()
        last = next(names, "")
        if all(last < (last := name) for name in names):
            return self
        return self.taken(_order(self.ids))

    def _picked(self, ids: Any, index: slice | np.ndarray) -> SampleColumns:
        columns = (self.place, self.positions, self.labels)
        place, positions, labels = (None if one is None else one[index] for one in columns)
        sizes, modified = self.sizes[index], self.modified[index]
        return SampleColumns(ids, sizes, modified, self.places, place=place, positions=positions, labels=labels)

    def _made(self, start: int, stop: int) -> list[Sample]:
        part, count = slice(start, stop), stop - start
        labels = [None] * count if self.labels is None else self.labels[part].tolist()
        numbers = [0] * count if self.place is None else self.place[part].tolist()
        positions = [0] * count if self.positions is None else self.positions[part].tolist()
        made = []
        for id, size, modified, label, number, position in zip(
            self.ids[part].to_pylist(),
            self.sizes[part].tolist(),
            self.modified[part].tolist(),
            labels,
            numbers,
            positions,
            strict=True,
        ):
            place = self.places[number]
            path, container = (place / id, None) if isinstance(place, Path) else (place.path, place)
            made.append(Sample(id, path, label, size, modified, container, position))
        return made


class ColumnsBuilder:
    """Collects the files of a folder; 16 bytes and the id for each, in chunks."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ids: list[str] = []
        self._chunks: list[Any] = []
        self._sizes: list[np.ndarray] = []
        self._modified: list[np.ndarray] = []
        self._pending: list[tuple[int, int]] = []

    def add(self, id: str, size: int, modified: int) -> None:
        """Add a file."""
        self._ids.append(id)
        self._pending.append((size, modified))
        if len(self._ids) >= 1 << 16:
            self._flush()

    def samples(self) -> SampleColumns:
        """Return the files that were added, sorted by id."""
        self._flush()
        sizes, modified = np.concatenate(self._sizes), np.concatenate(self._modified)
        return SampleColumns(pyarrow.concat_arrays(self._chunks), sizes, modified, [self._root]).in_order()

    def _flush(self) -> None:
        self._chunks.append(_text_array(self._ids))
        stamps = np.array(self._pending, np.int64).reshape(-1, 2)
        self._sizes.append(stamps[:, 0].copy())
        self._modified.append(stamps[:, 1].copy())
        self._ids, self._pending = [], []


# ``pyarrow.array`` and ``to_numpy`` import pandas (half a second of CPU time) to see whether they meet its objects.


def _text_array(texts: Sequence[str]) -> Any:
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=offsets[1:])
    buffers = pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"".join(encoded))
    return pyarrow.LargeStringArray.from_buffers(len(encoded), *buffers)


def _order(texts: Any) -> np.ndarray:
    """Return the indices that sort an array of texts, (n,)."""
    import pyarrow.compute  # takes a tenth of a second

    return np.from_dlpack(pyarrow.compute.sort_indices(texts))


def _integer_array(values: np.ndarray) -> Any:
    kept = np.ascontiguousarray(values, np.int64)
    return pyarrow.Array.from_buffers(pyarrow.int64(), len(kept), [None, pyarrow.py_buffer(kept)])
