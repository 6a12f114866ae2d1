"""``colorbench colorize``: colorize images at their full size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import Contract, Debug, Decode, Device, Temperature, Weights


def colorize(
    ctx: typer.Context,
    images: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Images, or folders of them.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="Name of a model, see `colorbench list`.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the PNG files.")],
    weights: Weights = None,
    contract: Contract = None,
    decode: Decode = None,
    temperature: Temperature = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed for stochastic models.")] = 0,
    upsample: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="How colors are enlarged: bilateral (along the edges of the image) or bilinear."
        ),
    ] = "bilateral",
    beside: Annotated[
        bool, typer.Option("--side-by-side", help="Write the input and the result beside one another.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make all images again, and replace files that are there.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Colorize images, such as black-and-white ones.

    The output has the full size and the lightness of the input; only the colors come from the model. A tone of the
    scan (sepia) is removed. Each result is written as DIR/NAME.png in sRGB, upright, with EXIF and resolution of the
    input. The same command continues an interrupted one: existing results are kept.
    """
    from colorbench.cli.colorized_files import (
        metadata_of,
        missing,
        settings_text,
        side_by_side,
        targets,
        write_png,
    )
    from colorbench.cli.command_dataset import unreadable_images
    from colorbench.cli.console import console
    from colorbench.cli.interruption import tell_when_interrupted
    from colorbench.cli.progress_display import ProgressBar
    from colorbench.data import UnreadableImage
    from colorbench.data.image_decoding import decode_file
    from colorbench.data.image_tint import tint_of
    from colorbench.evaluation.devices_and_memory import device_of
    from colorbench.evaluation.full_size_colorization import check_predicts, check_upsampling, colorize_image
    from colorbench.models import load_model
    from colorbench.storage import check_writable

    tell_when_interrupted(f"finished images are in {output}; the same command makes the others")
    terminal = console(text_to_stderr=True)
    how = check_upsampling(upsample)
    plan = targets(images, output, say=lambda line: terminal.print(line, soft_wrap=True))
    check_writable(output)
    torch_device = device_of(device)
    loaded = load_model(model, decode, temperature, weights=weights, contract=contract, device=torch_device)
    check_predicts(loaded)
    settings = {
        "model": loaded.full_name,
        "version": loaded.package_version,
        "weights_sha256": loaded.weights_sha256,
        "decoding": dict(loaded.decoding),
        "seed": seed,
        "upsample": how,
        "side_by_side": beside,
    }
    todo = plan if overwrite else missing(plan, settings)
    failed: list[str] = []
    tints: dict[str, list[Path]] = {"toned": [], "colored": []}
    with ProgressBar(terminal) as bar:
        bar.started(len(todo))
        for source, target in todo.items():
            try:
                image = decode_file(source)
            except UnreadableImage as error:
                failed.append(f"{source}: {error}")
                bar.message(f"skipped: {failed[-1]}")
            else:
                tints.get(tint_of(image.rgb), []).append(source)
                colored = colorize_image(
                    loaded, image.rgb, id=source.name, seed=seed, device=torch_device, upsample=how
                )
                shown = side_by_side(image.rgb, colored) if beside else colored
                write_png(target, shown, settings_text(image.sha256, settings), metadata_of(source))
            bar.counted(1)
    for tint, what in (
        ("toned", "a tone (sepia or another) was removed"),
        ("colored", "colors of the input were not used, only its lightness"),
    ):
        if found := tints[tint]:
            also = f" and {len(found) - 1} more" if len(found) > 1 else ""
            terminal.print(f"{what}: {found[0]}{also}", soft_wrap=True)
    made_before = len(plan) - len(todo)
    kept = f"; {made_before} {'was' if made_before == 1 else 'were'} there already" if made_before else ""
    typer.echo(f"colorized {len(todo) - len(failed)} of {len(plan)} with {loaded.full_name}{kept}: {output}")
    if failed:
        raise unreadable_images(failed, len(plan))
