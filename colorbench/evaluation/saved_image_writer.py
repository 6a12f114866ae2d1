"""Writing of a record's saved images: thumbnails, or all predictions at the size of the preprocessing.

The fixed part of a gallery (ids with the smallest hashes) is written during the pass. The best and worst images are
known only at the end and are then colorized again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from PIL import Image

from colorbench.color import lab_to_rgb8
from colorbench.data import id_hash
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.evaluation.truth_and_prediction import GroundTruth, Prediction
from colorbench.results import INDEX_NAME, SavedImage, saved_names
from colorbench.results.record import PREDICTIONS
from colorbench.storage import file_sha256
from colorbench.storage.atomic_files import durable_sha256, sync_folder

SIDE = 160
"""Longer side of a saved image in pixels, so that a leaderboard of many models stays small."""


def incomplete(
    folder: RunDirectory, thumbnails: Iterable[str], predictions: Mapping[str, str], saved: Mapping[str, str]
) -> tuple[frozenset[str], dict[str, str]]:
    """Return the saved images that are missing or damaged: ids of thumbnails, and id -> path of predictions.

    Args:
        folder: of the run.
        thumbnails: ids of images whose thumbnails are needed.
        predictions: id -> path of predictions that are needed.
        saved: path below the folder -> sha256 of what was written.
    """
    damaged: list[Path] = []

    def intact(path: Path) -> bool:
        name = path.relative_to(folder.path).as_posix()
        try:
            if name in saved and file_sha256(path) == saved[name]:
                return True
            damaged.extend([path] if name in saved else [])
        except FileNotFoundError:
            pass
        except OSError:
            damaged.append(path)
        return False

    small = frozenset(id for id in thumbnails if not all(intact(folder.thumbnails / n) for n in saved_names(id)))
    large = {id: name for id, name in predictions.items() if not intact(folder.predictions / name)}
    if damaged:  # one message, since there may be thousands after a power cut
        folder.say(f"damaged saved images, which are made again: {len(damaged)}, the first: {damaged[0]}")
    return small, large


def keep_thumbnails(folder: RunDirectory, colorization: Prediction, wanted: frozenset[str]) -> dict[str, str]:
    """Write thumbnails of prediction, ground truth and gray version for selected images of a batch.

    Returns:
        Path below the run's folder -> sha256 of each file.
    """
    saved: dict[str, str] = {}
    for i, id in enumerate(colorization.truth.ids):
        if id in wanted:
            prediction, truth, gray = (folder.thumbnails / name for name in saved_names(id))
            saved |= _write(folder, prediction, thumbnail(_image(colorization.rgb8, i)))
            saved |= _write(folder, truth, _shared(colorization.truth, i, "truth"))
            saved |= _write(folder, gray, _shared(colorization.truth, i, "gray"))
    return saved


def _write(folder: RunDirectory, path: Path, data: bytes) -> dict[str, str]:
    folder.write(path, data, durable=False)
    return {path.relative_to(folder.path).as_posix(): sha256(data).hexdigest()}


def keep_predictions(folder: RunDirectory, colorization: Prediction, names: Mapping[str, str]) -> dict[str, str]:
    """Write predictions with a name (see ``prediction_names``) as PNGs at the size of the preprocessing.

    Returns:
        Path below the run's folder -> sha256 of each file.
    """
    saved: dict[str, str] = {}
    for i, id in enumerate(colorization.truth.ids):
        if id not in names:
            continue
        buffer = io.BytesIO()
        # Level 1 takes a third of the default's time for 5 % more bytes.
        _image(colorization.rgb8, i).save(buffer, "PNG", compress_level=1)
        saved |= _write(folder, folder.predictions / names[id], buffer.getvalue())
    return saved


def thumbnail(image: Image.Image) -> bytes:
    """Encode a saved image as a WebP thumbnail of at most 160 pixels per side."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Method 2 takes half of the default's time for 2 % more bytes.
    small.save(buffer, "WEBP", quality=85, method=2)
    return buffer.getvalue()


def write_index(folder: RunDirectory, saved: Iterable[SavedImage]) -> dict[str, str]:
    """Write ``thumbnails/index.json``; return path below the record's folder -> sha256 of every saved image.

    Other images in the folder are removed, such as those of copies.
    """
    lines = [image.model_dump() for image in sorted(saved, key=lambda image: id_hash(image.id))]
    folder.write(folder.thumbnails / INDEX_NAME, json.dumps(lines, indent=1).encode())
    names = {name for line in lines for name in (line["prediction"], line["truth"], line["gray"])} | {INDEX_NAME}
    for path in folder.thumbnails.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)
    hashes = {f"thumbnails/{name}": durable_sha256(folder.thumbnails / name) for name in sorted(names)}
    sync_folder(folder.thumbnails)
    return hashes


def write_prediction_list(folder: RunDirectory, names: Iterable[str]) -> dict[str, str]:
    """Write the list of saved predictions, in the format of ``sha256sum``; return its path -> sha256."""
    lines, folders = [], set()
    for name in names:
        path = folder.predictions / name
        lines.append(f"{durable_sha256(path)}  predictions/{name}\n")
        folders.add(path.parent)
    for one in sorted(folders):
        sync_folder(one)
    listing = folder.path / PREDICTIONS
    folder.write(listing, "".join(lines).encode())
    return {listing.name: file_sha256(listing)}


def _shared(truth: GroundTruth, i: int, kind: Literal["truth", "gray"]) -> bytes:
    """Encode the ground truth or its gray version as WebP, once for all models and protocols."""

    def make() -> torch.Tensor:
        if kind == "truth":
            image = _image(truth.rgb8, i)
        else:
            lab = truth.lab[i : i + 1] * truth.lab.new_tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
            image = _image(lab_to_rgb8(lab), 0)
        return torch.frombuffer(bytearray(thumbnail(image)), dtype=torch.uint8)

    return bytes(truth.shared(f"thumbnail/{kind}/{i}", make).numpy().tobytes())


def _image(rgb8: torch.Tensor, i: int) -> Image.Image:
    """Return image i of (N, 3, H, W) uint8."""
    return Image.fromarray(rgb8[i].permute(1, 2, 0).contiguous().cpu().numpy())
