"""JSON files of caches, each with the hash of its text: a damaged one counts as missing and is made again."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from colorbench.storage.atomic_files import set_aside, write_atomic


def write_cached_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Write a value atomically, after a line with the sha256 of its text; a folder in its place is set aside."""
    text = json.dumps(value).encode()
    if path.is_dir():
        set_aside(path)
    write_atomic(path, sha256(text).hexdigest().encode() + b"\n" + text, durable=durable)


def read_cached_json(path: Path) -> Any:
    """Return the value of a file; None if the file is missing, unreadable or damaged."""
    try:
        digest, _, text = path.read_bytes().partition(b"\n")
        return json.loads(text) if sha256(text).hexdigest().encode() == digest else None
    except (OSError, ValueError):
        return None
