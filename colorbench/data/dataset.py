"""Dataset, sample and decoded image: the data types for sets of images; ids are known before any file is opened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One image that has not been read yet."""

    id: str
    """POSIX path below the root of its dataset; unique in the dataset."""
    path: Path
    label: int | None = None
    """Class index, if the dataset has labels."""
    size: int = 0
    """Bytes in the file."""
    modified: int = 0
    """Modification time in nanoseconds."""


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order (sorted by id), with the names of their classes."""

    name: str
    samples: tuple[Sample, ...]
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
        chosen = sorted(self.samples, key=lambda sample: id_hash(sample.id))[:count]
        return replace(self, samples=tuple(sorted(chosen, key=lambda sample: sample.id)))


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


def id_hash(id: str) -> str:
    """Return the hexadecimal sha256 of an image's id, for an order of a dataset that is random but fixed."""
    return hashlib.sha256(id.encode()).hexdigest()
