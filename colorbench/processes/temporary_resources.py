"""Temporary folders and child processes that are removed even where a signal ends this process at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator

_folders: set[str] = set()
_children: dict[int, subprocess.Popen[bytes]] = {}


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[str]:
    """Yield the path of a new temporary folder, which is deleted afterwards, also by an interruption."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        _folders.add(folder)
        try:
            yield folder
        finally:
            _folders.discard(folder)


@contextlib.contextmanager
def ended_with_this_process(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a child process afterwards, also by an interruption."""
    _children[process.pid] = process
    try:
        yield
    finally:
        process.kill()
        process.wait()
        del _children[process.pid]


def remove_resources() -> None:
    """Kill the child processes and delete the folders; for a signal handler, so nothing here takes a lock."""
    for process in list(_children.values()):
        if process.returncode is None:
            with contextlib.suppress(OSError):
                os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
                os.waitpid(process.pid, 0)  # not Popen.wait, whose lock the interrupted code may hold
    for folder in list(_folders):
        shutil.rmtree(folder, ignore_errors=True)
