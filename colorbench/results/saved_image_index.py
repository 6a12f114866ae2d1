"""Saved images of a record: their selection, file names and index.

The fixed part of a gallery consists of the images whose ids have the smallest hashes; it is the same for every model on
a dataset.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from colorbench.data import id_hash
from colorbench.errors import UserError
from colorbench.results.metric_spec import MetricSpec
from colorbench.results.shard import Shard
from colorbench.storage import is_inside, parse_json, read_plain
from colorbench.storage.limits import LARGEST_IMAGE, MOST_REASONS
from colorbench.storage.safe_reading import left_out

INDEX_NAME = "index.json"
"""Name of the file that lists a record's saved images."""
FIXED = 24
EXTREMES = 4
"""Number of best and of worst images of a metric that are saved."""


class SavedImage(BaseModel):
    """One line of ``thumbnails/index.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    sha256: str
    """Hash of the image's file."""
    prediction: str
    """File name of the prediction, beside the index."""
    truth: str
    gray: str
    reasons: Annotated[list[str], Field(max_length=MOST_REASONS)]
    """``fixed``, ``<metric> best 1``, ``<metric> worst 2`` ..."""
    scores: Annotated[dict[str, float | None], Field(max_length=MOST_REASONS)]
    """Metric -> score of this image."""

    @classmethod
    def of(cls, id: str, sha256: str, reasons: list[str], scores: Mapping[str, float]) -> SavedImage:
        """Return the index line of an image, with the names of ``saved_names``; NaN scores become None."""
        prediction, truth, gray = saved_names(id)
        known = {name: score if math.isfinite(score) else None for name, score in scores.items()}
        return cls(id=id, sha256=sha256, prediction=prediction, truth=truth, gray=gray, reasons=reasons, scores=known)


def saved_names(id: str) -> tuple[str, str, str]:
    """Return the file names of the prediction, ground-truth and gray thumbnails of an image."""
    stem = id_hash(id)[:16]
    return f"{stem}.webp", f"{stem}.truth.webp", f"{stem}.gray.webp"


def fixed_ids(ids: Iterable[str]) -> frozenset[str]:
    """Return the ids of the fixed part of the saved images: the 24 with the smallest hashes."""
    return frozenset(heapq.nsmallest(FIXED, ids, key=id_hash))


def extreme_ids(ids: Sequence[str], scores: np.ndarray, higher_is_better: bool | None) -> dict[str, list[str]]:
    """Return the ids of the ``best`` and ``worst`` images to save by (n,) scores, the most extreme first, without NaN.

    Ties are in the order of the ids' hashes. Each list contains at most half of the images.
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
    """Return id -> reasons why its thumbnails are saved: fixed part, or best or worst by the headline metric."""
    fixed = fixed_ids(ids)
    reasons = {id: ["fixed"] for id in ids if id in fixed}
    if headline is not None and headline.name in columns:
        ends = extreme_ids(ids, columns[headline.name], headline.higher_is_better)
        for end, found in ends.items():
            for position, id in enumerate(found, start=1):
                reasons.setdefault(id, []).append(f"{headline.name} {end} {position}")
    return reasons


def saved_images(
    reasons: Mapping[str, list[str]], rows: Shard, columns: Mapping[str, np.ndarray], metrics: Iterable[MetricSpec]
) -> list[SavedImage]:
    """Return the entries of the index with the scores of the images."""
    location_of = {id: position for position, id in enumerate(rows.ids)}
    names = [metric.name for metric in metrics if metric.name in columns]
    return [
        SavedImage.of(id, rows.sha256s[i], why, {name: float(columns[name][i]) for name in names})
        for id, why in reasons.items()
        for i in [location_of[id]]
    ]


def read_index(folder: Path, hashes: Mapping[str, str] = MappingProxyType({})) -> list[SavedImage]:
    """Read the index of the images saved beside a record; none for ``--save none``.

    Args:
        folder: of the record.
        hashes: ``files.images`` of the record, to check the index by.

    Raises:
        UserError: if the index is missing, changed or invalid.
    """
    name = f"thumbnails/{INDEX_NAME}"
    if name not in hashes and left_out(folder, name):
        return []
    hint = "copy the whole folder of the record again, or evaluate again"
    data = saved_file(folder, name, hashes)
    if data is None:
        raise UserError("the index of saved images is missing or was changed", where=str(folder / name), hint=hint)
    try:
        return [SavedImage(**line) for line in parse_json(data)]
    except (ValueError, TypeError) as error:
        raise UserError("not an index of saved images", where=str(folder / name), hint=hint) from error


def saved_file(folder: Path, name: str, hashes: Mapping[str, str]) -> bytes | None:
    """Read the file of a saved image; None for one that is missing, changed, or outside the record's folder.

    Args:
        folder: of the record.
        name: path below it, possibly from an untrusted index.
        hashes: ``files.images`` of the record; a file listed there must have its hash.
    """
    path = is_inside(folder, name)
    if path is None:
        return None
    try:
        data = read_plain(path, LARGEST_IMAGE, missing="no such file", hint="")
    except UserError:
        return None
    return data if hashes.get(name) in (None, sha256(data).hexdigest()) else None
