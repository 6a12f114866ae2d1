"""Export of gray input images for other programs, as 8-bit PNGs with a manifest."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from colorbench.color import lab_to_rgb8, rgb_to_lab
from colorbench.data.batch_loader import SkippedImage, decoding_threads, load_batches
from colorbench.data.dataset import Dataset
from colorbench.data.input_manifest import FILE, Gray, InputImage, Manifest
from colorbench.data.name_matching import prediction_names
from colorbench.data.preprocessing import get_preprocessing
from colorbench.errors import UserError
from colorbench.storage import version_of, write_atomic


def write_inputs(
    dataset: Dataset,
    output: Path,
    *,
    gray: Gray = "cie-l",
    preprocessing: str = "native",
    overwrite: bool = False,
    advanced: Callable[[int], None] = lambda n: None,
) -> tuple[Manifest, Sequence[SkippedImage]]:
    """Write gray inputs: every image of a dataset as a gray PNG, upright, and ``manifest.json``.

    Args:
        dataset: color images.
        output: a folder outside of the dataset; files have the paths of the images, with the suffix .png.
        gray: conversion from color to gray.
        preprocessing: preprocessing that is applied before; the default keeps the size of every image.
        overwrite: whether existing files are replaced.
        advanced: called with the number of images that were finished.

    Returns:
        The manifest, and the images that could not be read and are missing from it.

    Raises:
        UserError: for an output folder within the dataset, and for files that exist already.
    """
    chosen = get_preprocessing(preprocessing)
    names = prediction_names(sample.id for sample in dataset.samples)
    _check_output(dataset, output, [*names.values(), FILE], overwrite=overwrite)
    images: list[InputImage] = []
    skipped: list[SkippedImage] = []
    for batch in load_batches(dataset.samples, chosen, batch_size=1, workers=decoding_threads(None)):
        skipped += batch.skipped
        for id, source, levels in zip(batch.ids, batch.sha256s, _gray_levels(batch.rgb8, gray), strict=True):
            data = _png(levels)
            write_atomic(output / names[id], data, durable=False)
            height, width = levels.shape
            sha256 = hashlib.sha256(data).hexdigest()
            images.append(
                InputImage(id=id, file=names[id], width=width, height=height, source_sha256=source, sha256=sha256)
            )
        advanced(len(batch.ids) + len(batch.skipped))
    version = version_of("colorbench") or "unknown"
    manifest = Manifest(colorbench=version, dataset=dataset.name, gray=gray, preprocessing=chosen.name, images=images)
    write_atomic(output / FILE, (manifest.model_dump_json(indent=1) + "\n").encode())
    return manifest, skipped


def _gray_levels(rgb8: Tensor, gray: Gray) -> np.ndarray:
    """Convert color images to gray inputs: (N, 3, H, W) uint8 sRGB -> (N, H, W) uint8."""
    if gray == "bt601":
        images = rgb8.permute(0, 2, 3, 1).contiguous().numpy()
        return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    lab = rgb_to_lab(rgb8)
    lab[:, 1:] = 0
    levels: np.ndarray = lab_to_rgb8(lab)[:, 0].numpy()  # all three channels are equal
    return levels


def _png(levels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels)).save(buffer, "PNG")
    return buffer.getvalue()


def check_outside(dataset: Dataset, output: Path) -> None:
    """Check that an output folder is outside of a dataset.

    Raises:
        UserError: for a folder within it.
    """
    target = output.resolve()
    for sample in dataset.samples[:1]:
        root = Path(str(sample.path.absolute()).removesuffix(sample.id)).resolve()
        if sample.container is not None:
            # A folder of tar files with images in it would be opened as those images.
            several = any(one.path != sample.path for one in dataset.samples)
            root = sample.path.parent.resolve() if several else root
        if target.is_relative_to(root):
            what = "the output lies within the dataset, whose images would become more"
            raise UserError(what, where=str(output), hint="give another --output")


def _check_output(dataset: Dataset, output: Path, names: Sequence[str], *, overwrite: bool) -> None:
    check_outside(dataset, output)
    present = [name for name in names if (output / name).exists()]
    if present and not overwrite:
        what = f"files that already exist: {len(present)}"
        raise UserError(what, where=str(output / present[0]), hint="give another --output, or --overwrite")
