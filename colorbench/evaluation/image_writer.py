"""Images that are kept beside a record: small ones for people, or every answer at the preprocessing's size.

The fixed part of a gallery is the images whose ids have the smallest hash: the same for every model on a set. They
are written in the pass. A metric's best and worst are known only at the end; those few are colorized once more then.
"""

from __future__ import annotations

import heapq
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
import torch
from PIL import Image

from colorbench.color import lab_to_rgb8
from colorbench.data import id_hash
from colorbench.evaluation.batch import GroundTruth, Prediction
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.results import INDEX_NAME, MetricSpec, SavedImage, Shard, saved_names
from colorbench.results.image_index import is_complete
from colorbench.storage.atomic import durable_sha256, sync_folder
from colorbench.storage.hashing import file_sha256

FIXED = 24
EXTREMES = 4
"""How many of a metric's best, and of its worst, are kept."""
SIDE = 160
"""Longer side of a kept image in pixels: a board of many models stays small."""


def fixed_ids(ids: Iterable[str]) -> frozenset[str]:
    """Return the 24 ids of smallest hash."""
    return frozenset(heapq.nsmallest(FIXED, ids, key=id_hash))


def extreme_ids(ids: Sequence[str], scores: np.ndarray, higher_is_better: bool | None) -> dict[str, list[str]]:
    """Return the ids at the ends of (n,) scores as ``best`` and ``worst``, the farthest first; NaN is at no end.

    Ties are in the order of the ids' hashes. At most half of the images stand at either end.
    """
    if higher_is_better is None:
        return {}
    sign = -1.0 if higher_is_better else 1.0
    known = [(sign * float(score), id_hash(id), id) for id, score in zip(ids, scores, strict=True) if score == score]
    count = min(EXTREMES, len(known) // 2)
    best = sorted(known)[:count]
    worst = sorted(known, key=lambda entry: (-entry[0], entry[1]))[:count]
    return {"best": [id for *_, id in best], "worst": [id for *_, id in worst]}


def gallery_reasons(
    ids: Sequence[str], headline: MetricSpec | None, columns: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Return id -> why its thumbnails are saved: it is of the fixed part, or best or worst by the headline metric."""
    fixed = fixed_ids(ids)
    reasons = {id: ["fixed"] for id in ids if id in fixed}
    if headline is not None and headline.name in columns:
        ends = extreme_ids(ids, columns[headline.name], headline.higher_is_better)
        for end, found in ends.items():
            for position, id in enumerate(found, start=1):
                reasons.setdefault(id, []).append(f"{headline.name} {end} {position}")
    return reasons


def incomplete(
    folder: RunDirectory, thumbnails: Iterable[str], predictions: Mapping[str, str]
) -> tuple[frozenset[str], dict[str, str]]:
    """Return which wanted images are not there or damaged: ids of thumbnails, and id -> path of predictions."""
    small = (id for id in thumbnails if not all(is_complete(folder.thumbnails / name) for name in saved_names(id)))
    large = {id: name for id, name in predictions.items() if not is_complete(folder.predictions / name)}
    return frozenset(small), large


def saved_images(
    reasons: Mapping[str, list[str]], rows: Shard, columns: Mapping[str, np.ndarray], metrics: Iterable[MetricSpec]
) -> list[SavedImage]:
    """Return the entries of the index, each with its image's scores."""
    location_of = {id: position for position, id in enumerate(rows.ids)}
    names = [metric.name for metric in metrics if metric.name in columns]
    return [
        SavedImage.of(id, rows.sha256s[i], why, {name: float(columns[name][i]) for name in names})
        for id, why in reasons.items()
        for i in [location_of[id]]
    ]


def keep_thumbnails(folder: RunDirectory, colorization: Prediction, wanted: frozenset[str]) -> None:
    """Write answer, truth and gray of the wanted images of a batch."""
    for i, id in enumerate(colorization.truth.ids):
        if id in wanted:
            prediction, truth, gray = saved_names(id)
            folder.write(folder.thumbnails / prediction, thumbnail(_image(colorization.rgb8, i)), durable=False)
            folder.write(folder.thumbnails / truth, _shared(colorization.truth, i, "truth"), durable=False)
            folder.write(folder.thumbnails / gray, _shared(colorization.truth, i, "gray"), durable=False)


def prediction_names(ids: Iterable[str]) -> dict[str, str]:
    """Return the path of each id below ``predictions/``.

    The id with the suffix .png, as ``images:DIR`` looks for it.

    Images whose ids differ in the suffix alone keep it.
    """
    known = list(ids)
    replaced = {id: str(PurePosixPath(id).with_suffix(".png")) for id in known}
    often = Counter(replaced.values())
    return {id: name if often[name] == 1 else f"{id}.png" for id, name in replaced.items()}


def keep_predictions(folder: RunDirectory, colorization: Prediction, names: Mapping[str, str]) -> None:
    """Write predictions that have a name (see ``prediction_names``) as PNGs, at the preprocessing's size."""
    for i, id in enumerate(colorization.truth.ids):
        if id not in names:
            continue
        buffer = io.BytesIO()
        # Level 1: a third of the time of the default for a twentieth more bytes.
        _image(colorization.rgb8, i).save(buffer, "PNG", compress_level=1)
        folder.write(folder.predictions / names[id], buffer.getvalue(), durable=False)


def thumbnail(image: Image.Image) -> bytes:
    """Encode an image as a WebP of at most 160 pixels a side."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Method 2: half the time of the default for a fiftieth more bytes.
    small.save(buffer, "WEBP", quality=85, method=2)
    return buffer.getvalue()


def write_index(folder: RunDirectory, saved: Iterable[SavedImage]) -> dict[str, str]:
    """Write ``thumbnails/index.json``; the sha256 of every kept file, by its path below the record's folder.

    Other images that lie there are removed: of files that turned out to be copies of others, say.
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
    """Write ``predictions.sha256``, a line a prediction as ``sha256sum`` reads it; the sha256 of that list."""
    lines, folders = [], set()
    for name in names:
        path = folder.predictions / name
        lines.append(f"{durable_sha256(path)}  predictions/{name}\n")
        folders.add(path.parent)
    for one in sorted(folders):
        sync_folder(one)
    listing = folder.path / "predictions.sha256"
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
