"""``colorbench inputs``: write gray images and a manifest for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import Data, Debug, Limit, ListFile, choice
from colorbench.errors import RunError


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
    from time import perf_counter

    from colorbench.cli.console import console
    from colorbench.cli.interruption import tell_when_interrupted
    from colorbench.cli.progress_display import ProgressBar
    from colorbench.data import open_dataset
    from colorbench.data.gray_inputs import write_inputs
    from colorbench.storage import check_writable

    way = choice(gray, ("cie-l", "bt601"), "--gray")
    dataset = open_dataset(data, list_file=list_file)
    if limit is not None:
        dataset = dataset.limit(limit)
    terminal = console(text_to_stderr=True)
    for remark in dataset.remarks:
        terminal.print(f"{dataset.name}: {remark}", soft_wrap=True, markup=False)
    check_writable(output)
    tell_when_interrupted(f"there is no manifest yet; run it again with --overwrite ({output})")
    done, started = 0, perf_counter()
    with ProgressBar(terminal) as bar:
        bar.started(len(dataset))

        def advanced(n: int) -> None:
            nonlocal done
            done += n
            bar.advanced(n, done / (perf_counter() - started))

        manifest, skipped = write_inputs(
            dataset, output, gray=way, preprocessing=preprocessing, overwrite=overwrite, advanced=advanced
        )
        for one in skipped:
            bar.message(f"left out: {one.id}: {one.reason}")
    typer.echo(f"wrote {len(manifest.images)} of {len(dataset)} images of {dataset.name}, and manifest.json: {output}")
    if skipped:
        raise RunError(f"unreadable images: {len(skipped)}", where=f"{skipped[0].id}: {skipped[0].reason}")
