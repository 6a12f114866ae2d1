"""Faults for a process that is to run under them: each function changes this process for good."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

WRITES = ("fsync", "replace", "rename", "link", "unlink")
"""The calls by which what was written becomes permanent, gets its name, or loses it."""


def get(name: str) -> Any:
    """Return an attribute of a module by its full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def put(name: str, value: Any) -> None:
    """Replace an attribute of a module by its full name."""
    module, _, attribute = name.rpartition(".")
    setattr(import_module(module), attribute, value)


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


def fail_from(first: int, number: int) -> None:
    """Let every call from a position on fail with an error number, as on a disk that stays full."""

    def fail(position: int, name: str) -> None:
        if position >= first and position % 2 == 0:
            raise OSError(number, os.strerror(number))

    _around(fail, ("fsync", "replace", "link", "mkdir"))


def slow(seconds: float, first: int = 0) -> None:
    """Let each batch of a model take some seconds, from the batch with a number on."""
    name = "colorbench.evaluation.image_pass.colorize"
    original, count = get(name), itertools.count()

    def colorize(*arguments: Any) -> Any:
        time.sleep(seconds if next(count) >= first else 0)
        return original(*arguments)

    put(name, colorize)


def note_images(file: str) -> None:
    """Note the ids of the images that a model is asked for in a file."""
    name = "colorbench.evaluation.image_pass.colorize"
    original = get(name)

    def colorize(model: Any, truth: Any, *arguments: Any) -> Any:
        with open(file, "a") as lines:
            lines.writelines(f"{id}\n" for id in truth.ids)
        return original(model, truth, *arguments)

    put(name, colorize)


def no_locks(number: int, seconds: float) -> None:
    """Let the file system refuse every lock, and each batch take some seconds."""

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.flock = flock
    slow(seconds)


def unreadable(number: int) -> None:
    """Let reading an image fail with an error number."""
    original = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self.suffix == ".jpg":
            raise OSError(number, os.strerror(number), str(self))
        return original(self)

    Path.read_bytes = read_bytes


def no_memory(module: str, function: str, kind: str) -> None:
    """Let a function of a module fail as where memory is exhausted, from its second call on."""
    errors = {
        "python": MemoryError(),
        "numpy": MemoryError("Unable to allocate 9.00 GiB for an array with shape (9,) and data type float64"),
        "torch": RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        "thread": RuntimeError("can't start new thread"),
    }
    name, count = f"{module}.{function}", itertools.count()
    original = get(name)

    def fail(*arguments: Any, **keywords: Any) -> Any:
        if next(count):
            raise errors[kind]
        return original(*arguments, **keywords)

    put(name, fail)


def clock_goes_back() -> None:
    """Let the clock go back an hour with every look at it."""
    now, count = time.time(), itertools.count()
    time.time = lambda: now - 3600 * next(count)


def pipe_instead_of(image: str) -> None:
    """Replace an image by a pipe once the folder was listed."""
    name = "colorbench.evaluation.runner.resolve"
    original = get(name)

    def resolve(*arguments: Any, **keywords: Any) -> Any:
        os.unlink(image)
        os.mkfifo(image)
        return original(*arguments, **keywords)

    put(name, resolve)


def impatient(seconds: float) -> None:
    """Take a process for stopped after some seconds without a sign of life, instead of many."""
    put("colorbench.processes.work_claims.EXPIRY", seconds)
