"""One-line errors for failures of the operating system that a user can fix: paths, permissions, disk, memory."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from colorbench.errors import MACHINE_TROUBLE, RunError, UserError, is_out_of_memory, printable

_UNUSABLE_PATH = {errno.ENAMETOOLONG, errno.ELOOP}
_SHORTER = "give a shorter path without links in a circle"
_AGAIN = "then run the same command; finished work is kept"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors of the operating system into one line, in a context or a decorated function.

    Raises:
        UserError: for a path that cannot be read, written or used.
        RunError: for a disk or machine that fails.
    """
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        if (shown := one_line_error(error)) is None:
            raise
        raise shown from error


def one_line_error(error: BaseException) -> UserError | None:
    """Return the error to show for a path, disk or machine that fails; None for another error, which is a bug."""
    if is_out_of_memory(error):
        what = f"out of memory or threads: {printable(str(error) or type(error).__name__)}"
        return RunError(what, hint=f"use a smaller --batch-size or fewer --workers, {_AGAIN}")
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):  # of Path.resolve, up to Python 3.12
        return UserError(f"a path cannot be used: {printable(str(error))}", hint=_SHORTER)
    if not isinstance(error, OSError):
        return None
    where = None if error.filename is None else os.fsdecode(error.filename)
    if error.errno in (errno.EACCES, errno.EPERM) and where is not None and (unreadable := _unreadable(where)):
        return UserError(f"cannot read: {error.strerror}", where=unreadable, hint="make it readable")
    if error.errno in MACHINE_TROUBLE:
        what = f"cannot read or write: {error.strerror}"
        return RunError(what, where=where, hint=f"{MACHINE_TROUBLE[error.errno]}, {_AGAIN}")
    return write_error(error, where)


def write_error(error: OSError, where: str | None) -> UserError | None:
    """Return the error to show if a file cannot be written; None if the disk and the path are not at fault.

    The user must change the command or the permissions (``UserError``), or the run failed and can go on (``RunError``).
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError("the disk is full", where=where, hint="free disk space, then run the same command to resume")
    if error.errno == errno.EFBIG:
        hint = "raise the file size limit (ulimit -f) or use another --output; finished shards are kept"
        return RunError("a file would exceed the file size limit of this process", where=where, hint=hint)
    if error.errno in _UNUSABLE_PATH:
        return UserError(f"a path cannot be used: {error.strerror}", where=where, hint=_SHORTER)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        hint = "use another --output, or check the permissions"
        return UserError(f"cannot write: {error.strerror}", where=where, hint=hint)
    return None


def _unreadable(path: str) -> str | None:
    """Return the file or folder that must be made readable to read a path: itself or one above; None if it is not."""
    here = os.path.abspath(path)
    above = [str(folder) for folder in reversed(Path(here).parents)]
    closed = next((folder for folder in above if os.path.isdir(folder) and not _may(folder, os.X_OK)), None)
    if closed is not None:
        return closed
    return path if os.path.exists(here) and not _may(here, os.R_OK) else None


def _may(path: str, mode: int) -> bool:
    # The effective user opens files; without the argument, the real one would be asked for.
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
