"""The typer application ``colorbench`` with its global options."""

from __future__ import annotations

from typing import Annotated

import typer

from colorbench.cli.command_group import VerbGroup

app = typer.Typer(
    name="colorbench",
    cls=VerbGroup,
    rich_markup_mode=None,  # plain help: rich's costs 0.1 s and breaks lines when piped
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    # Inherited by all verbs.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
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
    """Evaluate image colorization models, with confidence intervals.

    Start with: colorbench run --model zoo/cic --protocol auc
    """
