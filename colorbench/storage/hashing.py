"""Hashes of plain data and of sets of contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


def digest_of(value: Any) -> str:
    """Return the hexadecimal sha256 of plain data (numbers, text, lists, mappings), whatever the order of the keys."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Convert mappings, sequences, paths and numpy numbers to what JSON knows.

    Raises:
        TypeError: for anything else.
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
    raise TypeError(f"{type(value).__name__} cannot stand in a record: {value!r}")


def not_storable(value: Any) -> str | None:
    """Return what a record cannot hold of plain data; None for nothing.

    It cannot hold NaN, infinity, half a surrogate pair, or objects.
    """
    try:
        digest_of(value)
    except (TypeError, ValueError) as error:
        return " ".join(str(error).split())
    return None


def content_fingerprint(sha256s: Iterable[str]) -> str:
    """Return the sha256 over sorted content hashes: the same for the same set of images, whatever their names."""
    return hashlib.sha256("\n".join(sorted(sha256s)).encode()).hexdigest()
