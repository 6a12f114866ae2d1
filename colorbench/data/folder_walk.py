"""Recursive search for image files below a folder, for datasets, stored predictions, ``colorize`` and training.

- Images are recognized by their suffix (``data.image_formats``); no file is opened.
- Hidden files and folders (``.ipynb_checkpoints``, ``._photo.jpg``) and those of operating systems (``__MACOSX``,
  ``Thumbs.db``) are ignored.
- Links are followed. A folder that is reached twice counts once, so loops end.
- Pipes, sockets and devices are never opened. A dangling link is an image that cannot be read.
- A folder that cannot be read, or an image whose name no record could hold, raises an error.
- All other files are counted by suffix and reported.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from colorbench.data.image_formats import PLUGINS, is_image, suffix_of
from colorbench.data.sample_columns import ColumnsBuilder, SampleColumns
from colorbench.errors import UserError

_LEFT_BY_SYSTEMS = frozenset(
    {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
)
SPECIAL = "special file"
_NAMED = 6  # suffixes per line
_NOT_STORABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""A lone surrogate marks a byte that is not UTF-8; the others are control characters."""


@dataclass(frozen=True)
class FolderContents:
    """The images below a folder, and the number of other files."""

    images: SampleColumns
    """Sorted by id, the POSIX path below the folder."""
    passed_over: Mapping[str, int]
    """Suffix -> number of other files."""

    def remark(self) -> str | None:
        """Return one line about ignored files; None without any."""
        return passed_over_line(self.passed_over)


def walk(root: Path, *, used: frozenset[Path] = frozenset()) -> FolderContents:
    """Walk a folder and find every image below it.

    Args:
        root: a folder.
        used: files with another purpose (labels), which are not counted as ignored.

    Raises:
        UserError: for a folder that cannot be read, and an image whose name is not UTF-8 or has control characters.
    """
    images = ColumnsBuilder(root)
    passed_over: Counter[str] = Counter()
    visited = set()
    pending = [(str(root), "")]
    while pending:
        folder, below = pending.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                # Links last, so that a folder is found by its own name before a link to it.
                found = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
        except OSError as error:
            raise UserError(
                f"cannot read this folder: {error.strerror}", where=ascii(folder)[1:-1], hint="make it readable"
            ) from error
        deeper = []
        for entry in found:
            if is_hidden(entry.name):
                continue
            status_of = _status(entry)
            if status_of is not None and stat.S_ISDIR(status_of.st_mode):
                deeper.append((entry.path, f"{below}{entry.name}/"))
            elif status_of is not None and not stat.S_ISREG(status_of.st_mode):
                passed_over[SPECIAL] += 1
            elif not is_image(entry.name):
                passed_over[suffix_of(entry.name)] += Path(entry.path) not in used
            else:
                id = check_name(below + entry.name)
                size, modified = (0, 0) if status_of is None else (status_of.st_size, status_of.st_mtime_ns)
                images.add(id, size, modified)
        pending += reversed(deeper)
    return FolderContents(images.samples(), +passed_over)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is ignored: it is hidden, or of an operating system."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def check_name(name: str, of: str = "an image") -> str:
    """Check that records, tables and terminals can hold the name of an image or folder, and return it.

    Raises:
        UserError: for a name that is not UTF-8 or has control characters.
    """
    if not name.isprintable() and (sign := _NOT_STORABLE.search(name)):
        what = "is not UTF-8" if "\ud800" <= sign[0] <= "\udfff" else "has control characters"
        raise UserError(f"the name of {of} {what}", where=ascii(name), hint="rename it")
    return name


def passed_over_line(passed_over: Mapping[str, int]) -> str | None:
    """Return one line about files that are not images, by suffix; None without any."""
    total = sum(passed_over.values())
    if not total:
        return None
    often = sorted(passed_over.items(), key=lambda entry: (-entry[1], entry[0]))
    parts = [f"{count} {_printable(suffix)}" for suffix, count in often[:_NAMED]]
    if rest := sum(count for _, count in often[_NAMED:]):
        parts.append(f"{rest} of other kinds")
    install = sorted({PLUGINS[suffix][1] for suffix in passed_over if suffix in PLUGINS})
    hint = f"; to read them: pip install {' '.join(install)}" if install else ""
    files = "1 other file was" if total == 1 else f"{total} other files were"
    return f"{files} ignored: {', '.join(parts)}{hint}"


def _printable(suffix: str) -> str:
    if not suffix:
        return "without suffix"
    if suffix == SPECIAL:
        return "pipes, sockets or devices"
    return suffix if suffix.isprintable() and len(suffix) <= 16 else ascii(suffix[:16])


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of a file or of the target of a link; None for a dangling or circular link."""
    try:
        return entry.stat()
    except OSError:
        return None
