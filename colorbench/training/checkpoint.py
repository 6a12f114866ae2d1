"""Writing and reading of a training's checkpoint.

Checkpoints are written atomically. Rows of a log after the last checkpoint are dropped when a training resumes, since
those steps are repeated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from colorbench.errors import RunError, UserError
from colorbench.storage.atomic_files import rename

FORMAT = 3
"""Format version of checkpoints; raised when older ones can no longer be resumed."""


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; the previous one is kept until the new one is on disk.

    Raises:
        RunError: if it cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
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
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader may raise any error for a damaged file
        what = f"the checkpoint cannot be read: {str(error).splitlines()[0]}"
        raise UserError(what, where=str(path), hint=hint) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError("the checkpoint was made by another version of colorbench", where=str(path), hint=hint)
    return state
