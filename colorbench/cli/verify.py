"""``colorbench verify``: recompute a record's numbers from its stored data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colorbench.cli.shared_options import Debug, Device, Json, ListFile, Weights
from colorbench.cli.standard_output import print_result
from colorbench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from colorbench.verification import Verification

STORED = "as stored"
"""Heading of what the record states and nothing can recompute."""


def verify(
    ctx: typer.Context,
    record: Annotated[
        str,
        typer.Argument(metavar="RECORD", help="Name of a model with results, a result folder, or a folder above it."),
    ],
    rerun: Annotated[int, typer.Option("--rerun", min=0, metavar="K", help="Evaluate K random images again.")] = 0,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="DIR", help="Dataset: checks the key; required for --rerun."),
    ] = None,
    list_file: ListFile = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="A .csv with the columns file and class_index.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME", help="Model for --rerun, instead of the recorded name."),
    ] = None,
    weights: Weights = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", "-p", metavar="NAME", help="Protocol, if a folder has results of several."),
    ] = None,
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Folder in which results of named models are looked for.")
    ] = Path("runs"),
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Seed for choosing the --rerun images [default: random, printed]."),
    ] = None,
    device: Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a verification report (for `leaderboard build --verification`).",
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify a result: recompute its numbers from the stored per-image scores.

    Checks checksums, dataset fingerprint, identity and key, and recomputes every score, metric, interval and
    difference from the per-image scores. This shows that the numbers are consistent; --rerun evaluates the model again
    on random images and shows that they are the model's. Exit code 1 if a check fails, 2 if --rerun is not possible.
    The result folder is not changed.
    """
    from secrets import randbelow

    from colorbench.cli.console import console
    from colorbench.reporting.terminal_lines import line
    from colorbench.storage import check_writable, write_atomic
    from colorbench.verification import verify as check
    from colorbench.verification.record_selection import choose_record, dataset_name, find_results, images_of
    from colorbench.verification.rerun_comparison import rerunner
    from colorbench.verification.rerun_measurement import Wanted

    folder = choose_record(find_results(record, results), protocol, dataset_name(data))
    if output is not None and output.resolve().parent == folder.resolve():
        raise UserError("nothing is written into a record's folder", where=str(output), hint="give another --output")
    if output is not None:
        check_writable(output.parent)
    images = images_of(folder, data, list_file, labels, needed=rerun > 0)
    again = None
    if rerun and images is not None:
        drawn = randbelow(1 << 31) if seed is None else seed
        again = rerunner(Wanted(rerun, images, drawn, model, weights, device))
    found = check(folder, images=images, rerun=again)
    text = found.model_dump_json(indent=1) + "\n"
    if output is not None:
        write_atomic(output, text.encode())
    if json:
        print_result(text)
    terminal = console(text_to_stderr=json)
    _show(terminal, found, folder)
    if not rerun:
        line(terminal, found.promise)
    elif found.holds and found.rerun is None:
        line(terminal, f"rerun not done: {_reason(found, model)}")
    if not found.holds:
        raise typer.Exit(1)
    if rerun and found.rerun is None:
        raise typer.Exit(2)  # it was requested, so a script must not take it as done


def _show(terminal: Console, found: Verification, folder: Path) -> None:
    """Print one line per check of ``verify``; failures are highlighted."""
    from rich.text import Text

    from colorbench.reporting.terminal_lines import line

    marks = {"holds": ("ok", "green"), "fails": ("FAILED", "bold red"), "unchecked": ("skipped", "yellow")}
    wide = max(len(STORED), *(len(check.name) for check in found.checks))
    for check in found.checks:
        mark, style = marks[check.outcome]
        line(terminal, Text.assemble((f"{check.name:<{wide}}  ", ""), (f"{mark:<7}  ", style), (check.detail, "")))
    for what in found.claimed:
        line(terminal, Text.assemble((f"{STORED:<{wide}}  ", ""), (f"{'skipped':<7}  ", "yellow"), (what, "")))
    failed = sum(check.outcome == "fails" for check in found.checks)
    if failed:
        line(terminal, f"{failed} of {len(found.checks)} checks failed: {folder}", style="bold red")
    else:
        skipped = sum(check.outcome == "unchecked" for check in found.checks) + len(found.claimed)
        rest = f" ({skipped} skipped)" if skipped else ""
        line(terminal, f"all checks passed{rest}: {folder}", style="bold")


def _reason(found: Verification, model: str | None) -> str:
    """Return why a rerun was not done, or what to add for it, given the option ``--model``."""
    from colorbench.verification.model_checks import by_name, needed_option

    if model is None and found.model is not None and not by_name(found.model):
        return needed_option(found.model)
    return next((check.detail for check in found.checks if check.name == "rerun"), "the record cannot be read")
