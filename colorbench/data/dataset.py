"""Dataset, sample and decoded image: the data types for sets of images; ids are known before any file is opened."""

from __future__ import annotations

import errno
import hashlib
import io
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


class Container(Protocol):
    """A file that contains many images: a tar file, or a table with a column of images."""

    path: Path

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes of one image.

        Args:
            position: ``Sample.position``.
            size: ``Sample.size``.

        Raises:
            OSError: for a file that is missing or damaged.
            RunError: for a file that changed since it was listed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One image that has not been read yet."""

    id: str
    """POSIX path below the root of its dataset; unique in the dataset."""
    path: Path
    """The image file, or the container that the image is in."""
    label: int | None = None
    """Class index, if the dataset has labels."""
    size: int = 0
    """Bytes of the image; in a Parquet file, bytes of its row group."""
    modified: int = 0
    """Modification time of ``path`` in nanoseconds."""
    container: Container | None = field(default=None, compare=False, repr=False)
    """The open container; None for an image that is a file."""
    position: int = 0
    """Place in the container: offset in bytes, or row."""

    def open(self) -> io.BufferedReader | io.BytesIO:
        """Open the bytes of the image for reading.

        Raises:
            OSError: for a file that cannot be read.
            RunError: for a container that changed since it was listed.
        """
        if self.container is not None:
            return io.BytesIO(self.read())
        self._check_plain()
        return self.path.open("rb")

    def read(self) -> bytes:
        """Return the bytes of the image; raises as ``open``."""
        if self.container is not None:
            return self.container.read(self.position, self.size)
        self._check_plain()
        return self.path.read_bytes()

    def _check_plain(self) -> None:
        """Raise for pipes and devices, which may have taken the place of a file: reading them may not end."""
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device", str(self.path))

    def sha256(self) -> str:
        """Return the hexadecimal sha256 of the image's bytes; raises as ``open``."""
        with self.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@runtime_checkable
class SamplesInColumns(Protocol):
    """Samples that are made when they are asked for: a part of them is taken without making any."""

    def names(self) -> Iterator[str]:
        """Yield the ids."""
        ...

    def taken(self, indices: np.ndarray) -> Any:
        """Return the samples at ``indices``, (m,), in columns."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order (sorted by id), with the names of their classes."""

    name: str
    samples: Sequence[Sample]
    class_names: tuple[str, ...] | None = None
    """Name of class i (a synset, a folder), if the dataset has labels."""
    redistributable: bool = False
    """Whether its images may be embedded in pages that are passed on."""
    source: str = ""
    """Description of the origin, for the record."""
    remarks: tuple[str, ...] = field(default=(), compare=False)
    """Remarks for the user about reading: files that were ignored, classes that were not used."""

    def __len__(self) -> int:
        return len(self.samples)

    def limit(self, count: int) -> Dataset:
        """Return the ``count`` samples whose ids have the smallest hash.

        This is a fixed random subset, the same on every machine.
        """
        columns = self.samples if isinstance(self.samples, SamplesInColumns) else None
        names = (sample.id for sample in self.samples) if columns is None else columns.names()
        chosen = _smallest(names, self.samples, count)
        if columns is not None:
            return replace(self, samples=columns.taken(chosen).in_order())
        return replace(self, samples=tuple(sorted((self.samples[i] for i in chosen), key=lambda sample: sample.id)))


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image."""

    id: str
    rgb: np.ndarray
    """(H, W, 3) uint8, sRGB, upright."""
    sha256: str
    """Hash of the file's bytes; images of different records are paired by it."""
    gray: bool
    """Whether the image has no color (all channels equal within 2 of 255)."""
    label: int | None = None


def _smallest(names: Iterable[str], samples: Sequence[Sample], count: int) -> np.ndarray:
    """Return the sorted indices of the ``count`` ids with the smallest hash; 16 bytes of memory for each id."""
    if count >= len(samples):
        return np.arange(len(samples))
    heads = np.fromiter((int(id_hash(name)[:16], 16) for name in names), np.uint64, len(samples))
    last = np.partition(heads, count - 1)[count - 1]
    inside = np.flatnonzero(heads < last)
    equal = sorted(np.flatnonzero(heads == last).tolist(), key=lambda index: id_hash(samples[index].id))
    return np.sort(np.concatenate([inside, equal[: count - len(inside)]]).astype(np.int64))


def id_hash(id: str) -> str:
    """Return the hexadecimal sha256 of an image's id, for an order of a dataset that is random but fixed."""
    return hashlib.sha256(id.encode()).hexdigest()
