"""``colorbench cache``: write a copy of a dataset that decodes fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import Data, Debug, Limit, ListFile, choice


def cache(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the copy.")],
    what: Annotated[str, typer.Argument(metavar="images", help="What to copy: `images`.")] = "images",
    short_side: Annotated[
        int,
        typer.Option("--short-side", min=1, metavar="N", help="Short side of larger images, in pixels."),
    ] = 256,
    list_file: ListFile = None,
    limit: Limit = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=0, help="Threads that decode images (default: one per core).")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a copy of a dataset with smaller images that decode fast.

    Use it as --data when decoding limits a run or a training. Resizing changes scores, so the copy has a name of its
    own, and its results are never compared with those of the original images. The same command continues an
    interrupted copy.
    """
    from colorbench.cli.command_dataset import fail_if_skipped, open_limited
    from colorbench.cli.console import console
    from colorbench.cli.interruption import tell_when_interrupted
    from colorbench.cli.progress_display import ProgressBar
    from colorbench.data.resized_copy_writer import write_copy
    from colorbench.storage import check_writable

    choice(what, ("images",), "argument")
    terminal = console(text_to_stderr=True)
    dataset = open_limited(data, list_file, limit, terminal)
    check_writable(output)
    tell_when_interrupted("run the same command to continue")
    with ProgressBar(terminal) as bar:
        bar.started(len(dataset))
        skipped = write_copy(dataset, output, short_side, workers=workers, advanced=bar.counted)
    typer.echo(f"wrote {len(dataset) - len(skipped)} of {len(dataset)} images of {dataset.name}: {output}")
    fail_if_skipped(skipped, len(dataset), terminal)
