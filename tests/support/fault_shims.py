"""Faults for a process that is to run under them: each function changes this process for good."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

WRITES = ("fsync", "replace", "rename", "link", "unlink")
"""The calls by which what was written becomes permanent, gets its name, or loses it."""


def _around(do: Callable[[int, str], None], names: tuple[str, ...] = WRITES) -> None:
    """Call ``do(position, name)`` before (even positions) and after (odd ones) each of the calls."""
    count = itertools.count()

    def wrapped(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            position = 2 * next(count)
            do(position, name)
            result = original(*arguments, **keywords)
            do(position + 1, name)
            return result

        return call

    for name in names:
        setattr(os, name, wrapped(name, getattr(os, name)))


def count_writes(file: str) -> None:
    """Note each position in a file."""

    def note(position: int, name: str) -> None:
        with open(file, "a") as lines:
            lines.write(f"{position} {name}\n")

    _around(note)


def kill_at(stop: int) -> None:
    """End the process by SIGKILL at a position."""

    def kill(position: int, name: str) -> None:
        if position == stop:
            os.kill(os.getpid(), signal.SIGKILL)

    _around(kill)
