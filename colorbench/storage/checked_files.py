"""Files of caches that end with the sha256 of their data: damaged ones are set aside, and count as missing."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from colorbench.storage.atomic_files import set_aside, write_atomic

_DIGEST = hashlib.sha256().digest_size
_AT_ONCE = 1 << 22
"""Bytes that are read at once."""


def _nothing(_: str) -> None:
    return


def write_checked(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write data atomically, followed by its sha256, 32 bytes; a folder in its place is set aside."""
    if path.is_dir():
        set_aside(path)
    write_atomic(path, data + hashlib.sha256(data).digest(), durable=durable)


def read_checked(path: Path, say: Callable[[str], None] = _nothing) -> bytes | None:
    """Return the data of a file of ``write_checked``; None if it is missing or damaged.

    Args:
        path: of the file; a damaged one, or what is in its place, is renamed.
        say: called with a line about a damaged file.
    """
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        written = b""
    if hashlib.sha256(written[:-_DIGEST]).digest() == written[-_DIGEST:]:
        return written[:-_DIGEST]
    _damaged(path, say)
    return None


def is_intact(path: Path, say: Callable[[str], None] = _nothing) -> bool:
    """Return whether a file of ``write_checked`` is complete, as ``read_checked``, with little memory for any size."""
    try:
        if ends_with_digest(path):
            return True
    except FileNotFoundError:
        return False
    except OSError:
        pass
    _damaged(path, say)
    return False


def ends_with_digest(path: Path) -> bool:
    """Return whether the last 32 bytes of a file are the sha256 of those before them; raises as ``open``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - _DIGEST
        while left > 0 and (data := file.read(min(left, _AT_ONCE))):
            digest.update(data)
            left -= len(data)
        return left == 0 and file.read() == digest.digest()


def _damaged(path: Path, say: Callable[[str], None]) -> None:
    with contextlib.suppress(FileNotFoundError):  # another process has found it, too
        say(f"{path} is damaged: it is now {set_aside(path).name}, and is made again")
