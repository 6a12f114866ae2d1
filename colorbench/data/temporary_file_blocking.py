"""Block access to the images of the dataset while a check tests whether the model reads them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from colorbench.data.dataset import Sample
from colorbench.data.image_formats import PLUGINS, SUFFIXES, suffix_of


@dataclass
class _Closed:
    """What is refused at present."""

    folders: frozenset[str]
    """Real paths of the folders that hold samples."""
    files: frozenset[tuple[int, int]]
    """(device, inode) of samples that are refused by any path."""
    refused: list[str] = field(default_factory=list)


_closed: list[_Closed] = []
MOST_FILES = 1000
"""Samples that are refused under any name; the others by their folder. A link to each of a million is no use."""


@contextlib.contextmanager
def images_refused(samples: Sequence[Sample]) -> Iterator[list[str]]:
    """Refuse to open the files of a dataset, in all threads of this process, within this context.

    Only Python's own ways of opening a file are closed. A model that wants to cheat finds others; ``verify --rerun``
    asks it in a process that has no way at all.

    Args:
        samples: of the dataset: image files in their folders are refused, and the first samples by any path.

    Yields:
        the paths that were refused so far.
    """
    files = set()
    for sample in samples[:MOST_FILES]:
        with contextlib.suppress(OSError):
            status = os.stat(sample.path)
            files.add((status.st_dev, status.st_ino))
    closed = _Closed(
        frozenset(os.path.realpath(folder) for folder in {sample.path.parent for sample in samples}), frozenset(files)
    )
    _install()
    _closed.append(closed)
    try:
        yield closed.refused
    finally:
        _closed.remove(closed)


@lru_cache(maxsize=1)
def _install() -> None:
    """Set the hook; Python has no way to take it out again, and it costs nothing while nothing is refused."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _closed or event != "open" or isinstance(arguments[0], int):
        return
    path = os.fsdecode(arguments[0])
    # The file itself may lie elsewhere than the link that leads to it.
    places = {os.path.abspath(path), os.path.realpath(path)}
    for closed in _closed:
        among = any(_is_image(place) and os.path.dirname(place) in closed.folders for place in places)
        if among or _inode(path) in closed.files:
            closed.refused.append(path)
            raise PermissionError(f"not while a model is checked: {path}")


def _is_image(path: str) -> bool:
    # Not `formats.is_image`, which may import a plugin of Pillow: this runs within every `open`.
    suffix = suffix_of(path)
    return suffix in SUFFIXES or suffix in PLUGINS


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
