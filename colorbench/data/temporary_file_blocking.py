"""Block access to the images of the dataset while a check tests whether the model reads them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from colorbench.data.dataset import Sample
from colorbench.data.image_formats import PLUGINS, SUFFIXES, suffix_of


@dataclass
class _Closed:
    """The folders and files to which access is refused at present."""

    folders: frozenset[str]
    """Real paths of the folders that hold samples."""
    files: frozenset[tuple[int, int]]
    """(device, inode) of samples that are refused by every path."""
    refused: list[str] = field(default_factory=list)


_closed: list[_Closed] = []
MOST_FILES = 1000
"""Number of samples that are refused by every path; the rest are refused by folder only."""


@contextlib.contextmanager
def images_refused(samples: Sequence[Sample]) -> Iterator[list[str]]:
    """Refuse to open the files of a dataset: block them in all threads of this process, within this context.

    Only Python's own functions are covered. Native code can still open files; ``verify --rerun`` therefore runs the
    model in a process without any access.

    Args:
        samples: samples of the dataset: image files in their folders are refused, and the first samples and all
            containers (tar files, tables) by every path.

    Yields:
        The paths that were refused so far.
    """
    paths = {sample.path for sample in samples[:MOST_FILES]}
    folders = set()
    for sample in samples:
        folders.add(sample.path.parent)
        if sample.container is not None:
            paths.add(sample.path)
    files = {inode for path in paths if (inode := _inode(path)) is not None}
    closed = _Closed(frozenset(os.path.realpath(folder) for folder in folders), frozenset(files))
    _install()
    _closed.append(closed)
    try:
        yield closed.refused
    finally:
        _closed.remove(closed)


@lru_cache(maxsize=1)
def _install() -> None:
    """Install the audit hook once; Python cannot remove it, and it costs nothing while nothing is refused."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _closed or event != "open" or isinstance(arguments[0], int):
        return
    path = os.fsdecode(arguments[0])
    # The file may be in another folder than the link to it.
    places = {os.path.abspath(path), os.path.realpath(path)}
    for closed in _closed:
        among = any(_is_image(place) and os.path.dirname(place) in closed.folders for place in places)
        if among or _inode(path) in closed.files:
            closed.refused.append(path)
            raise PermissionError(f"not while a model is checked: {path}")


def _is_image(path: str) -> bool:
    # Not `image_formats.is_image`, which may import a plugin of Pillow: this runs within every `open`.
    suffix = suffix_of(path)
    return suffix in SUFFIXES or suffix in PLUGINS


def _inode(path: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
