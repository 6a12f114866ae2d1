"""``colorbench score``: metrics between a folder of predictions and a folder of ground truth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import FORMATS, Debug, Explain, Format, Json, Limit, ListFile, choice
from colorbench.cli.standard_output import standard_output_kept


def score(
    ctx: typer.Context,
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Folder of predicted color images.")],
    ground_truth: Annotated[
        str,
        typer.Argument(metavar="GROUND_TRUTH", help="Folder of the ground-truth images, or a dataset as for --data."),
    ],
    protocol: Annotated[
        list[str] | None,
        typer.Option("--protocol", "-p", metavar="NAME", help="Protocol [default: fidelity]; repeatable."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", help="Protocol parameter, such as preprocessing=native."),
    ] = None,
    list_file: ListFile = None,
    limit: Limit = None,
    gray: Annotated[str, typer.Option("--gray", metavar="keep|drop", help="Keep or drop grayscale images.")] = "keep",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Also save the results to this folder, with scores per image."
        ),
    ] = None,
    format: Format = "text",
    explain: Explain = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a folder of predictions against a folder of ground truth.

    Every image of the ground truth needs a prediction of the same name; the suffix may differ. No model is loaded.
    The results equal those of `colorbench run --model images:PREDICTIONS --data GROUND_TRUTH`.
    """
    from colorbench._api.score import scored
    from colorbench.cli.console import console
    from colorbench.cli.progress_display import ProgressBar
    from colorbench.cli.run import parameters
    from colorbench.cli.run_output import OutputOptions, show_results
    from colorbench.data import open_dataset
    from colorbench.processes import current_launch

    choice(format, FORMATS, "--format")
    protocols = list(dict.fromkeys(protocol or ["fidelity"]))
    with standard_output_kept(), ProgressBar(console(text_to_stderr=True)) as bar:
        records = scored(
            predictions,
            open_dataset(ground_truth, list_file=list_file),
            protocols,
            parameters(param or [], protocols),
            gray_policy=choice(gray, ("keep", "drop"), "--gray"),
            limit=limit,
            output=output,
            listener=bar,
            command=("colorbench", *sys.argv[1:]),
        )
    if current_launch().rank == 0:  # only one of several processes prints
        show_results(records, records, output, None, OutputOptions(format, explain=explain, json=json))
