"""The command line: one file a verb, loaded only when its verb is called, so that ``--help`` costs next to nothing."""

from __future__ import annotations

import sys

from colorbench.cli.interrupt import exit_on_interrupt

# Little is imported before Ctrl-C is handled, not even `typing`: it may come at any moment.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from colorbench.cli.application import app

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line (default: the process's own) and exit: 0 done, 1 a run failed, 2 wrong usage or input."""
    with exit_on_interrupt():
        from colorbench.cli.application import app

        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show "Δ" gets "?" in its place, not a traceback at the end of a long run.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        # Not `list(...)`: once its verb is loaded, that name in this package is the module colorbench.cli.list.
        try:
            app(args=None if arguments is None else [*arguments], prog_name="colorbench")
        finally:
            if arguments is None:  # of this process alone: a caller of this function goes on printing
                from colorbench.models.guard import close_standard_output

                close_standard_output()


def __getattr__(name: str) -> Any:
    if name == "app":
        from colorbench.cli.application import app

        return app
    raise AttributeError(f"module 'colorbench.cli' has no attribute {name!r}")
