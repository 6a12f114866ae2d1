"""Stamp of a file with many images, which shows that it changed between listing and reading."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from colorbench.errors import RunError


@dataclass(frozen=True)
class ContainerStamp:
    """Size, modification time and inode of a file."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> ContainerStamp:
        """Return the stamp of a file."""
        return cls._from(os.stat(path))

    def check(self, status: os.stat_result, path: Path) -> None:
        """Compare a file's present status with the stamp.

        Raises:
            RunError: if the file changed.
        """
        if self._from(status) != self:
            what = "this file changed after its images were listed"
            raise RunError(what, where=str(path), hint="run the same command again")

    @classmethod
    def _from(cls, status: os.stat_result) -> ContainerStamp:
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)
