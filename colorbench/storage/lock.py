"""File lock that keeps two processes from doing the same work."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from filelock import FileLock, Timeout

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class Lock:
    """A lock on a small file, which ends with ``release`` or with the process."""

    def __init__(self, held: FileLock) -> None:
        self._held = held

    @classmethod
    def take(cls, path: Path) -> Lock | None:
        """Take the lock; return None if this or another process holds it."""
        # Any thread may release it: the thread that finishes the work may not be the one that acquired it.
        # Where the file system has no locks, filelock would use a file's existence, which outlives a killed process.
        held = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
        try:
            held.acquire()
        except Timeout:
            return None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            # The file system has no locks; at worst, work is done twice.
        return cls(held)

    def release(self) -> None:
        """Release the lock; the file is kept, since others may have opened it already."""
        with contextlib.suppress(FileNotFoundError):
            self._held.release(force=True)
