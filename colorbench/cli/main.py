"""Entry point of the command line."""

from __future__ import annotations

import gc
import os
import sys

from colorbench.cli.interruption import exit_on_interrupt

# Little is imported before Ctrl-C is handled, not even `typing`, since it may come at any time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line (default: the process's own) and exit: 0 done, 1 a run failed, 2 wrong usage or input."""
    with exit_on_interrupt():
        if arguments is None:
            _set_up_process()
        from colorbench.cli.application import app

        for stream in (sys.stdout, sys.stderr):
            # A terminal without "Δ" shows "?" instead of a traceback at the end of a long run.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        try:
            app(args=None if arguments is None else [*arguments], prog_name="colorbench")
        finally:
            if arguments is None:  # only for the process itself: a caller of this function may continue to print
                from colorbench.cli.standard_output import close_standard_output

                close_standard_output()


def _set_up_process() -> None:
    """Set options before numpy and torch read them; those of threads and memory save a fifth of a run's CPU time."""
    # Idle threads of OpenMP and OpenBLAS would spin on the cores that decode and score.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # If another process of a launch is killed, torch would print a traceback for each request to its store.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Imports create hundreds of thousands of permanent objects; collecting garbage meanwhile is useless.
    gc.set_threshold(50_000, 20, 20)
