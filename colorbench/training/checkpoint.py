"""Writing and reading of a training's checkpoint.

Checkpoints are written atomically. Rows of a log after the last checkpoint are dropped when a training resumes, since
those steps are repeated. The last 32 bytes of a checkpoint are the sha256 of those before them: torch reads a file with
a flipped bit without an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch

from colorbench.errors import RunError, UserError
from colorbench.storage.atomic_files import rename
from colorbench.storage.checked_files import ends_with_digest

FORMAT = 4
"""Format version of checkpoints; raised when older ones can no longer be resumed."""
_DIGEST = 32
"""Bytes of a sha256."""


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; the previous one is kept until the new one is on disk.

    Raises:
        RunError: if it cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w+b") as file:
            torch.save({"format": FORMAT, **state}, file)
            # The last two bytes of a zip archive are the length of its comment, so far 0.
            file.seek(-2, os.SEEK_END)
            file.write(_DIGEST.to_bytes(2, "little"))
            file.seek(0)
            digest = file_digest(file, "sha256").digest()
            file.seek(0, os.SEEK_END)
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())
        rename(partial, path)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise RunError(
            f"cannot write a checkpoint: {reason}",
            where=str(path),
            hint="the previous checkpoint is intact; free disk space, then resume",
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, onto the CPU.

    Raises:
        UserError: for a file that is damaged or of another version.
    """
    hint = "use another -o, or remove it to start over"
    try:
        if not ends_with_digest(path):
            raise ValueError("it is damaged, or was made by another version of colorbench")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader may raise any error for a damaged file
        what = f"the checkpoint cannot be read: {str(error).splitlines()[0]}"
        raise UserError(what, where=str(path), hint=hint) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError("the checkpoint was made by another version of colorbench", where=str(path), hint=hint)
    return state
