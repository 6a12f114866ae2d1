"""``colorbench check``: check that a model, protocol or dataset conforms to colorbench."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from colorbench.cli.shared_options import Debug, Device, Json
from colorbench.cli.standard_output import print_result
from colorbench.errors import UserError, as_sentence

if TYPE_CHECKING:
    from rich.console import Console

    from colorbench.testing import CheckReport


def check(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|PROTOCOL|DATASET",
            help="Name of a model, protocol or dataset, FILE.py:CLASS, or a folder of images.",
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="[ROLE=]DIR",
            help="Images for checking a model or protocol [default: crops of the packaged images].",
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the protocol; repeatable."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="CHECK", help="Skip this check; repeatable."),
    ] = None,
    device: Device = "cpu",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check that a model, protocol or dataset conforms to colorbench.

    A model: shapes, units, determinism, independence of batch, size and everything but lightness, half precision,
    device, fingerprint, license. A protocol: declaration, parameters, bounds, order, rows, verification. A dataset:
    readable images, names, labels, copies. Names of models and protocols come before folders. Exit code 1 if a check
    failed. In a test: colorbench.testing.check(NAME).raise_for_failures().
    """
    from colorbench.cli.console import console
    from colorbench.cli.run import by_role
    from colorbench.cli.shared_options import key_values
    from colorbench.cli.standard_output import standard_output_kept
    from colorbench.data import open_dataset
    from colorbench.testing import check as check_target
    from colorbench.testing.check_any_kind import kind_of

    kind = kind_of(name)
    for flag, given in (("--param", param), ("--data", data)):
        if given and kind not in {"--param": ("protocol",), "--data": ("model", "protocol")}[flag]:
            raise UserError(f"the check of a {kind} does not take {flag}", hint="remove it")
    parameters = key_values([one.removeprefix(f"{name.partition('@')[0]}.") for one in param or []], "--param")
    sets = {role: open_dataset(folder) for role, folder in by_role(data or []).items()}
    if sets and "test" not in sets:
        raise UserError("there are no images to score", hint="give --data test=DIR")
    with standard_output_kept():
        report = check_target(
            name, parameters=parameters or None, data=sets or None, device=device, skip=tuple(skip or ())
        )
    if json:
        print_result(report.model_dump_json(indent=1))
    _show(console(text_to_stderr=json), report)
    if not report.passed:
        raise typer.Exit(1)


def _show(terminal: Console, report: CheckReport) -> None:
    """Print a line for each check of a plugin, with a hint if it failed, and a summary."""
    from rich.table import Table
    from rich.text import Text

    from colorbench.reporting.terminal_lines import line

    styles = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in report.findings:
        outcome = "FAILED" if finding.outcome == "failed" else finding.outcome
        detail = Text(finding.detail)
        if finding.hint is not None:
            detail.append(f"\n{as_sentence(finding.hint)}", style="dim")
        table.add_row(finding.name, Text(outcome, style=styles[finding.outcome]), detail)
    terminal.print(table)
    skipped = sum(finding.outcome == "skipped" for finding in report.findings)
    total, failed = len(report.findings), len(report.failures)
    counted = f"{failed} of {total} checks failed" if failed else f"all checks passed ({skipped} skipped)"
    line(terminal, f"{report.kind} {report.name}: {counted}, {report.seconds:.0f} s of CPU time", style="bold")
