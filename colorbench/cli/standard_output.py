"""Redirection of standard output, so that it contains only the result of a command, not the output of plugins.

This module imports no torch, since ``--help`` uses it, too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

_results: list[tuple[Any, int | None]] = []
"""The original standard output while it is redirected: the stream, and a duplicate of its descriptor, if any."""


@contextlib.contextmanager
def standard_output_kept() -> Iterator[None]:
    """Redirect everything printed by Python, C code and child processes to standard error within this context.

    ``print_result`` writes the result of a command to the original standard output.
    """
    if _results:  # already redirected
        yield
        return
    saved = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        # Streams of tests have no descriptor, or their own; then only Python's output is redirected.
        if sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2:
            saved = os.dup(1)
            os.dup2(2, 1)
    _results.append((sys.stdout, saved))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _results.clear()
        if saved is not None:
            # C code has its own buffers, which must be flushed before the descriptor is restored.
            _flush_c()
            os.dup2(saved, 1)
            os.close(saved)


def print_result(text: str) -> None:
    """Write the result of a command to standard output, also while it is redirected; a missing newline is added."""
    text = text if text.endswith("\n") else f"{text}\n"
    stream, descriptor = _results[0] if _results else (sys.stdout, None)
    if descriptor is None:
        stream.write(text)
        stream.flush()
        return
    with open(os.dup(descriptor), "w", encoding=stream.encoding, errors="replace") as file:
        file.write(text)


def close_standard_output() -> None:
    """Redirect further standard output to standard error, so that nothing follows the result.

    Code of a plugin may print when the interpreter ends.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        if sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2:
            _flush_c()
            os.dup2(2, 1)


def _flush_c() -> None:
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
