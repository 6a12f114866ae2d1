"""``colorbench prior``: estimate the color prior of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colorbench.cli.shared_options import Data, Debug, Json, Limit, ListFile
from colorbench.cli.standard_output import print_result

if TYPE_CHECKING:
    from rich.console import Console

    from colorbench.color import Prior

TOP = 10
BATCH = 16


def prior(
    ctx: typer.Context,
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.npy", help="Output file; FILE.json is written beside it.")
    ],
    soft: Annotated[
        bool, typer.Option("--soft/--hard", help="Count soft encodings (10 nearest bins), or nearest bins.")
    ] = True,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Smooth the counts (sigma 5); only with --hard: soft ones are smooth.")
    ] = False,
    preprocessing: Annotated[
        str, typer.Option("--preprocessing", metavar="NAME", help="Preprocessing: squash256, center256 or native.")
    ] = "squash256",
    list_file: ListFile = None,
    limit: Limit = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite FILE.npy.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Estimate the color prior (ab histogram) of a dataset.

    Use the result for class rebalancing in the auc protocol or in training:
    colorbench run --protocol auc --param prior=FILE.npy
    """
    from colorbench.cli.console import console
    from colorbench.color import save_prior
    from colorbench.color.prior import smooth as smoothed
    from colorbench.errors import UserError
    from colorbench.storage import check_writable

    if smooth and soft:
        raise UserError("soft counts are already smooth", hint="add --hard")
    if output.suffix != ".npy":
        raise UserError(f"a prior is a .npy file, not {output.name!r}", hint=f"write --output {output.stem}.npy")
    if output.exists() and not overwrite:
        raise UserError("this file already exists", where=str(output), hint="--overwrite replaces it")
    check_writable(output.parent)
    terminal = console(text_to_stderr=json)
    counted = _count(data, list_file, limit, preprocessing, soft, terminal)
    result = smoothed(counted) if smooth else counted
    save_prior(result, output)
    if json:
        print_result(output.with_suffix(".json").read_text())
    _print_prior(terminal, result, output)


def _count(
    data: str, list_file: Path | None, limit: int | None, preprocessing: str, soft: bool, terminal: Console
) -> Prior:
    """Count the color prior of a dataset, with equal weight for every image, including gray ones."""
    import torch

    from colorbench.cli.command_dataset import open_limited
    from colorbench.cli.console import console
    from colorbench.cli.progress_display import ProgressBar
    from colorbench.color import ab_bins, rgb_to_lab
    from colorbench.color.prior import from_counts, hard_counts, soft_counts
    from colorbench.data import get_preprocessing, load_batches
    from colorbench.data.batch_loader import SkippedImage
    from colorbench.errors import READABLE, UserError

    dataset = open_limited(data, list_file, limit, terminal)
    counts_of = soft_counts if soft else hard_counts
    counts = torch.zeros(len(ab_bins()), dtype=torch.float64)
    images = 0
    skipped: list[SkippedImage] = []
    with ProgressBar(console(text_to_stderr=True)) as bar:
        bar.started(len(dataset))
        for batch in load_batches(dataset.samples, get_preprocessing(preprocessing), batch_size=BATCH, workers=1):
            for image in batch.rgb8:
                ab = rgb_to_lab(image[None])[:, 1:]
                counts += counts_of(ab) / ab[0, 0].numel()
            images += len(batch.ids)
            skipped += batch.skipped
            bar.counted(len(batch.ids) + len(batch.skipped))
    if not images:
        where = f"the first: {skipped[0].id}: {skipped[0].reason}" if skipped else dataset.name
        raise UserError("none of the images could be read", where=where, hint=READABLE)
    if skipped:
        terminal.print(f"left out {len(skipped)}, the first being {skipped[0].id}: {skipped[0].reason}", soft_wrap=True)
    return from_counts(counts, "soft" if soft else "hard", dataset.name, images=images)


def _print_prior(terminal: Console, prior: Prior, path: Path) -> None:
    """Print the most frequent bins, the entropy, and the file of a prior."""
    import numpy as np
    from rich.table import Table

    from colorbench.color import ab_bins

    p = prior.probabilities
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("bin (a, b)", "share"):
        table.add_column(head, justify="right")
    for index in np.argsort(-p, kind="stable")[:TOP]:
        a, b = ab_bins()[index].tolist()
        table.add_row(f"({a:.0f}, {b:.0f})", f"{100 * p[index]:.2f} %")
    terminal.print(f"{prior.kind} prior of {prior.images} images of {prior.name}; most common of the {len(p)} bins:")
    terminal.print(table)
    terminal.print(
        f"entropy {prior.entropy:.3f} nats, that of {np.exp(prior.entropy):.1f} equally frequent bins; "
        f"{int((p == 0).sum())} bins are empty",
        soft_wrap=True,
    )
    terminal.print(f"written: {path} and {path.with_suffix('.json').name}", soft_wrap=True)
