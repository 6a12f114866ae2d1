"""``colorbench compare``: significance tests of differences between records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import Debug, Json
from colorbench.cli.standard_output import print_result
from colorbench.reporting.comparison_tables import show_comparison


def compare(
    ctx: typer.Context,
    records: Annotated[
        list[str],
        typer.Argument(metavar="A B...", help="Names of models with results, result folders, or folders above them."),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME", help="Metric to compare; repeatable [default: all comparable metrics]."
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", "-p", metavar="NAME", help="Protocol, if a folder has results of several."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", metavar="DIR", help="Dataset (folder or name), if a folder has results of several."
        ),
    ] = None,
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Folder in which results of named models are looked for.")
    ] = Path("runs"),
    allow_unstable: Annotated[
        bool, typer.Option("--allow-unstable", help="Also compare by metrics with a very low effective sample size.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare results with significance tests.

    Every pair is compared on the same images: difference with confidence interval (paired bootstrap), p value
    (sign-flip test, Holm-corrected over all reported tests), wins per model, required sample size, and the images
    that contribute most. A folder above several models stands for all of them but the references. If a folder has
    several results of a model, the newest ones with equal configuration and images are compared, and printed.
    """
    from colorbench.cli.console import console
    from colorbench.plugin_descriptions import headline_of
    from colorbench.results import load_run
    from colorbench.results.record_comparison import compare as compare_runs
    from colorbench.verification.record_selection import by_model, choose_common, dataset_name, find_results

    places = by_model([find_results(name, results) for name in records], protocol)
    folders = choose_common(places, protocol, dataset_name(data))
    runs = [load_run(folder) for folder in folders]
    pairs = zip(places, folders, strict=True)
    if not json and (taken := [str(folder) for place, folder in pairs if folder != place.path]):
        typer.echo(f"compared: {', '.join(taken)}", err=True)
    headline = headline_of(runs[0].record.protocol.name) if runs else None
    found = compare_runs(runs, metrics=metric or [], headline=headline, allow_unstable=allow_unstable)
    if json:
        print_result(found.model_dump_json(indent=1))
    else:
        show_comparison(console(text_to_stderr=False), found)
