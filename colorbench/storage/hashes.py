"""sha256 hashes of plain data, of files and of sets of contents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

FULL_FILE = 2**26
"""Largest size in bytes of a data file that is hashed completely; larger ones are hashed by samples."""
_SAMPLE, _SAMPLES = 2**16, 64


def digest_of(value: Any) -> str:
    """Return the hexadecimal sha256 of plain data (numbers, text, lists, mappings), for any order of keys."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Convert mappings, sequences, paths and numpy numbers to types that JSON supports, which ``digest_of`` hashes.

    Raises:
        TypeError: for other types.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item"):
        return plain(value.item())
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored in a record: {value!r}")


def not_storable(value: Any) -> str | None:
    """Return the first part of plain data that ``digest_of`` cannot hash and no record can hold; None if there is none.

    Records cannot hold NaN, infinity, lone surrogates, or objects.
    """
    try:
        digest_of(value)
    except (TypeError, ValueError) as error:
        return " ".join(str(error).split())
    return None


def content_fingerprint(sha256s: Iterable[str]) -> str:
    """Return the sha256 over sorted content hashes, which is equal for equal sets of images with any names."""
    return hashlib.sha256("\n".join(sorted(sha256s)).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return a stamp of a file, which changes like its hash whenever it is written or replaced.

    The stamp changes even if the times of the file are reset.
    """
    status = os.stat(path)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


@lru_cache(maxsize=10_000)
def sampled_sha256(path: Path, stamp: tuple[int, ...]) -> str:
    """Return the sha256 of a file; for a very large one, a hash of 64 samples.

    Args:
        path: path of the file.
        stamp: ``stamp_of(path)``; a file with an equal stamp is not read again.
    """
    with path.open("rb") as file:
        if stamp[0] <= FULL_FILE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(stamp[0]).encode())
        for index in range(_SAMPLES):
            file.seek(index * (stamp[0] - _SAMPLE) // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
        return digest.hexdigest()
