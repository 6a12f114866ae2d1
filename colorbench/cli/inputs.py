"""``colorbench inputs``: write gray images and a manifest for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import Data, Debug, Limit, ListFile, choice


def inputs(
    ctx: typer.Context,
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the PNG files and manifest.json.")
    ],
    gray: Annotated[
        str,
        typer.Option(
            "--gray",
            metavar="cie-l|bt601",
            help="Gray by CIE L, as models of colorbench are shown it, or by the luma of BT.601.",
        ),
    ] = "cie-l",
    preprocessing: Annotated[
        str, typer.Option("--preprocessing", metavar="NAME", help="Applied before: native, squash256, center256 ...")
    ] = "native",
    list_file: ListFile = None,
    limit: Limit = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing files.")] = False,
    debug: Debug = False,
) -> None:
    """Write a dataset as gray images, for another program.

    Each image becomes DIR/NAME.png, 8-bit gray and upright. manifest.json holds the id and the size of every image, and
    the sha256 of both files. Let the program write its predictions under the same names, and evaluate them with
    colorbench run --model 'images:PREDICTIONS[manifest=DIR]': images that have changed since are refused.
    """
    from colorbench.cli.command_dataset import fail_if_skipped, open_limited
    from colorbench.cli.console import console
    from colorbench.cli.interruption import tell_when_interrupted
    from colorbench.cli.progress_display import ProgressBar
    from colorbench.data.gray_inputs import write_inputs
    from colorbench.storage import check_writable

    way = choice(gray, ("cie-l", "bt601"), "--gray")
    terminal = console(text_to_stderr=True)
    dataset = open_limited(data, list_file, limit, terminal)
    check_writable(output)
    tell_when_interrupted(f"there is no manifest yet; run it again with --overwrite ({output})")
    with ProgressBar(terminal) as bar:
        bar.started(len(dataset))
        manifest, skipped = write_inputs(
            dataset, output, gray=way, preprocessing=preprocessing, overwrite=overwrite, advanced=bar.counted
        )
    typer.echo(f"wrote {len(manifest.images)} of {len(dataset)} images of {dataset.name}, and manifest.json: {output}")
    fail_if_skipped(skipped, len(dataset), terminal)
