"""Standard output holds the result of a command alone: what the code of a plugin prints goes to standard error.

Imports no torch: ``--help`` ends here too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

_results: list[tuple[Any, int | None]] = []
"""The original standard output while it is redirected: the stream, and a duplicate of its descriptor if it has one."""


@contextlib.contextmanager
def standard_output_kept() -> Iterator[None]:
    """Send everything that is printed meanwhile to standard error: by Python, by C code, by child processes.

    Standard output belongs to the result of a command, which ``print_result`` writes.
    """
    if _results:  # already redirected
        yield
        return
    saved = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        # Streams that tests put in place have no descriptor, or one of their own; then Python's own prints are all.
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
            # What C code printed waits in its own buffer, and must go out before the descriptor is given back.
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
    """Redirect further output to standard error: after the result, standard output must stay unchanged.

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
