"""``colorbench colorize``: colorize images at their full size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colorbench.cli.shared_options import Contract, Debug, Decode, Device, Temperature, Weights
from colorbench.errors import RunError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy import ndarray


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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing images.")] = False,
    debug: Debug = False,
) -> None:
    """Colorize images, such as black-and-white ones.

    The output has the full size and the lightness of the input; only the colors come from the model. Each result is
    written as DIR/NAME.png, with the EXIF rotation applied.
    """
    from time import perf_counter

    from colorbench.cli.console import console
    from colorbench.cli.interruption import tell_when_interrupted
    from colorbench.cli.progress_display import ProgressBar
    from colorbench.data import UnreadableImage
    from colorbench.data.image_decoding import decode_file
    from colorbench.evaluation.devices_and_processes import device_of
    from colorbench.evaluation.predict import colorize_image
    from colorbench.models import load_model
    from colorbench.storage import check_writable

    tell_when_interrupted(f"finished images are in {output}")
    terminal = console(text_to_stderr=True)
    plan = targets(images, output, overwrite=overwrite, say=lambda line: terminal.print(line, soft_wrap=True))
    check_writable(output)
    position = device_of(device)
    loaded = load_model(model, decode, temperature, weights=weights, contract=contract, device=position)
    failed: list[str] = []
    started = perf_counter()
    with ProgressBar(terminal) as bar:
        bar.started(len(plan))
        for done, (source, target) in enumerate(plan.items(), start=1):
            try:
                rgb = decode_file(source).rgb
            except UnreadableImage as error:
                failed.append(f"{source}: {error}")
                bar.message(f"skipped: {failed[-1]}")
            else:
                write_png(target, colorize_image(loaded, rgb, id=source.name, seed=seed, device=position))
            bar.advanced(1, done / (perf_counter() - started))
    typer.echo(f"colorized {len(plan) - len(failed)} of {len(plan)} with {loaded.full_name}: {output}")
    if failed:
        raise RunError(f"unreadable images: {len(failed)}", where=failed[0])


def targets(
    images: list[Path], output: Path, *, overwrite: bool, say: Callable[[str], None] = lambda line: None
) -> dict[Path, Path]:
    """Return the PNG of each image below ``output``; folders below a given folder are kept.

    Args:
        images: files with any suffix, and folders, which are searched for images.
        output: a folder.
        overwrite: whether existing files are replaced.
        say: called with messages about ignored files.

    Raises:
        UserError: for a missing path, an empty folder, two images with one target, an image that would be replaced by
            its own result, and (without ``overwrite``) existing targets.
    """
    from colorbench.data.folder_walk import check_name, walk

    plan: dict[Path, Path] = {}
    for given in images:
        if given.is_dir():
            contents = walk(given)
            found = [image.path for image in contents.images]
            if (remark := contents.remark()) is not None:
                say(f"{given}: {remark}")
            if output.resolve() != given.resolve():
                # Results below the input folder are not colorized again.
                found = [path for path in found if not path.resolve().is_relative_to(output.resolve())]
            if not found:
                raise UserError("no images in this folder", where=str(given), hint=remark or "give another")
            plan |= {path: (output / path.relative_to(given)).with_suffix(".png") for path in found}
        elif given.is_file():
            check_name(str(given))
            plan[given] = output / f"{given.stem}.png"
        else:
            raise UserError("no such image", where=str(given), hint="check the path")
    sources: dict[Path, Path] = {}
    for source, target in plan.items():
        if target in sources and sources[target].resolve() != source.resolve():
            raise UserError(f"{sources[target]} and {source} would both become {target}", hint="use two output folders")
        sources[target] = source
        if target.exists() and target.resolve() == source.resolve():
            what = "an input image would be overwritten by its result"
            raise UserError(what, where=str(source), hint="give another --output")
    there = [target for target in sources if target.exists()]
    if there and not overwrite:
        hint = "give another --output, or --overwrite to replace them"
        raise UserError(f"images that already exist: {len(there)}", where=str(there[0]), hint=hint)
    return {source: target for target, source in sources.items()}


def write_png(path: Path, rgb: ndarray) -> None:
    """Write an image (H, W, 3) uint8 as PNG, atomically."""
    import io

    from PIL import Image

    from colorbench.storage import write_atomic

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue(), durable=False)
