"""``colorbench study analyze`` and ``colorbench study power``."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colorbench.cli import Debug, Figures, Json, choice, print_result

if TYPE_CHECKING:
    from rich.console import Console

    from protocols.human_study.analysis.fooling_rates import Analysis


def analyze(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the analysis (STUDY/analysis)."),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option("--records", metavar="DIR", help="Folder for the leaderboard's results (--output/records)."),
    ] = None,
    responses: Annotated[
        Path | None,
        typer.Option(
            "--responses", metavar="FILE", help="Read the responses from this table instead of the study's exports."
        ),
    ] = None,
    participants: Annotated[
        Path | None, typer.Option("--participants", metavar="FILE", help="Read the participants from this table.")
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, metavar="N", help="Number of bootstrap resamples.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the bootstrap.")] = 0,
    figures: Figures = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Analyze a study: fooling rates with confidence intervals.

    Applies the exclusions of the design and no others, and also reports the numbers without exclusions. Says if the
    exclusions were changed after the first participant. Writes a page, tables, plots, a methods paragraph, and one
    result per method for the leaderboard.
    """
    import sys

    from colorbench.cli import console
    from colorbench.storage import check_writable
    from protocols.human_study.analysis.analysis_files import write
    from protocols.human_study.analysis.fooling_rates import analyze as analyzed
    from protocols.human_study.analysis.response_reading import read_study_data

    study_data = read_study_data(study, responses, participants)
    folder = output or study / "analysis"
    check_writable(folder)
    if figures is not None:
        check_writable(figures, "--figures")
    found = analyzed(study_data, resamples=resamples, seed=seed)
    folders = write(found, study, folder, records or folder / "records", tuple(sys.argv), figures)
    if json:
        from protocols.human_study.analysis.analysis_tables import as_json

        print_result(jsonlib.dumps(as_json(found), indent=1, ensure_ascii=False, allow_nan=False))
    _print_analysis(console(text_to_stderr=json), found, folder, folders)


def _print_analysis(terminal: Console, analysis: Analysis, folder: Path, folders: list[Path]) -> None:
    """Print the rates, the comparisons, the exclusions, and the paths of the files."""
    from rich.table import Table
    from rich.text import Text

    from colorbench.reporting import counted
    from protocols.human_study.analysis.analysis_files import PAGE
    from protocols.human_study.analysis.methods_text import format_p, percent, points

    for note in analysis.notes:
        terminal.print(f"! {note}", style="yellow")
    result, applied = analysis.result, analysis.applied
    status = "" if applied.changes is None else f" ({applied.status})"
    sentinels = int(applied.kept.sum()) - result.responses
    guards = f", and {counted(sentinels, 'response')} to sentinels" if sentinels else ""
    terminal.print(
        f"{counted(result.responses, 'response')} of {counted(result.participants, 'participant')} on "
        f"{counted(result.images, 'image')}{guards}; excluded{status}: "
        f"{counted(len(applied.reasons), 'participant')}, {int((~applied.kept).sum())} of "
        f"{counted(len(applied.kept), 'response')}"
    )
    for rule in applied.rules:
        if rule.trials:
            terminal.print(f"  {rule.description}: {rule.counts}", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for head in ("fooling rate", "all responses", "d'", "n"):
        table.add_column(head, justify="right", no_wrap=True)
    for before, row in analysis.rows:
        name = Text(before.method, style="dim" if before.sentinel else "bold")
        if before.sentinel:
            name.append(" (sentinels)")
        rate, d, n = "–", "–", "0"
        if row is not None:
            rate, n = percent(row.rate.value, row.rate.interval), str(row.rate.responses)
            d = "–" if row.d_prime.value is None else f"{row.d_prime.value:.2f}"
        table.add_row(name, rate, percent(before.rate.value), d, n)
    terminal.print(table)
    for one in result.comparisons:
        low_high = one.difference.interval
        ends = f" [{points(low_high.low, signed=True)}, {points(low_high.high, signed=True)}]" if low_high else ""
        test = f", {format_p(one.p_holm)} (Holm)" if one.p_holm == one.p_holm else ""
        terminal.print(
            f"{one.first} minus {one.second}: {points(one.difference.value, signed=True)} points{ends}{test}",
            soft_wrap=True,
        )
    if any(row.rate.interval for row in result.methods):
        terminal.print(
            "[low, high]: 95 % confidence interval over participants and images (two-way clustered)", style="dim"
        )
    terminal.print(Text.assemble("page: ", (str(folder / PAGE), "bold")), soft_wrap=True)
    for folder_of_record in folders:
        terminal.print(Text.assemble("record: ", (str(folder_of_record / "record.json"), "bold")), soft_wrap=True)


def power(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY]", help="Use methods, participants, trials and images of this study."),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", metavar="P", help="Fooling rate of the first method, 0 to 1.")
    ] = 0.25,
    effect: Annotated[
        float, typer.Option("--effect", metavar="P", help="Difference to the second method: 0.05 is 5 points.")
    ] = 0.05,
    participants: Annotated[
        int | None, typer.Option("--participants", min=2, metavar="N", help="Participants in the study (40).")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=2, metavar="N", help="Trials per participant, including sentinels (40)."),
    ] = None,
    sentinels: Annotated[
        float | None,
        typer.Option(
            "--sentinels", min=0.0, max=1.0, metavar="SHARE", help="Share of sentinel trials against zoo/random (0.1)."
        ),
    ] = None,
    images: Annotated[int | None, typer.Option("--images", min=2, metavar="N", help="Images (200).")] = None,
    methods: Annotated[
        int | None, typer.Option("--methods", min=2, metavar="N", help="Number of methods, without sentinels (2).")
    ] = None,
    assignment: Annotated[
        str | None,
        typer.Option("--assignment", metavar="within|between", help="All methods per participant (default), or one."),
    ] = None,
    participant_sd: Annotated[
        float,
        typer.Option(
            "--participant-sd", min=0.0, metavar="SD", help="Standard deviation between participants, logit scale."
        ),
    ] = 0.4,
    image_sd: Annotated[
        float, typer.Option("--image-sd", min=0.0, metavar="SD", help="Standard deviation between images, logit scale.")
    ] = 0.8,
    shared: Annotated[
        float,
        typer.Option(
            "--shared",
            min=0.0,
            max=1.0,
            metavar="P",
            help="Share of the image variance that all methods have in common.",
        ),
    ] = 0.5,
    alpha: Annotated[
        float, typer.Option("--alpha", metavar="P", help="Level of the two-sided test, over all pairs.")
    ] = 0.05,
    target: Annotated[float, typer.Option("--target", metavar="P", help="Target power.")] = 0.8,
    studies: Annotated[
        int, typer.Option("--studies", min=100, metavar="N", help="Simulated studies per sample size.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the simulation.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compute the power of a study by simulation.

    Counts how often simulated studies find the difference with the test of `analyze`, and reports the participants
    needed. With three or more methods, the pair is also tested at the strictest level of Holm's correction.
    """
    from colorbench.cli import console
    from colorbench.errors import UserError
    from protocols.human_study.power.power_commands import plan_of, print_power, simulated

    for flag, value in (("--alpha", alpha), ("--target", target)):
        if not 0 < value < 1:
            raise UserError(f"{flag} must be between 0 and 1, not {value:g}")
    if assignment is not None:
        choice(assignment, ("within", "between"), "--assignment")
    given = {
        "participants": participants,
        "trials": trials,
        "sentinels": sentinels,
        "images": images,
        "methods": methods,
        "assignment": assignment,
    }
    plan, guards = plan_of(
        study,
        {name: value for name, value in given.items() if value is not None},
        rate=rate,
        effect=effect,
        participant_sd=participant_sd,
        image_sd=image_sd,
        shared=shared,
    )
    terminal = console(text_to_stderr=json)
    response = simulated(plan, alpha=alpha, target=target, studies=studies, seed=seed)
    report = {"plan": {**vars(plan), "sentinels": guards}, "alpha": alpha, "target": target, "seed": seed, **response}
    if json:
        print_result(jsonlib.dumps(report, indent=1, allow_nan=False))
    print_power(terminal, plan, guards, report)
