"""The command line: one file a verb, loaded only when its verb is called, so that ``--help`` costs next to nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from colorbench.cli.verbs import VerbGroup

app = typer.Typer(
    name="colorbench",
    cls=VerbGroup,
    rich_markup_mode=None,  # plain help: rich's costs 0.1 s and breaks lines when piped
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"colorbench {version('colorbench')}")
        raise typer.Exit


@app.callback()
def colorbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Measure how well automatic image colorizers do, and say how sure the numbers are.

    Start with: colorbench run --model zoo/cic --protocol auc
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line (default: the process's own) and exit: 0 done, 1 a run failed, 2 wrong usage or input."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show "Δ" gets "?" in its place, not a traceback at the end of a long run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # Not `list(...)`: once its verb is loaded, that name in this package is the module colorbench.cli.list.
    try:
        app(args=None if arguments is None else [*arguments], prog_name="colorbench")
    finally:
        from colorbench.guard import close_standard_output

        close_standard_output()
