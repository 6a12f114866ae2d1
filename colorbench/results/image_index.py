"""The index of the saved images of a record."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from PIL import Image
from pydantic import BaseModel, ConfigDict

from colorbench.data.dataset import id_hash
from colorbench.errors import UserError
from colorbench.storage.safe_read import MEGABYTE, is_inside, left_out, read_plain

INDEX_NAME = "index.json"
"""Name of the file that lists a record's saved images."""
LARGEST_IMAGE = 8 * MEGABYTE
"""A saved image or an index that is read back; thumbnails have some 10 KB."""
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, zlib.error)
"""What Pillow raises for an image that is none."""


class SavedImage(BaseModel):
    """One line of ``thumbnails/index.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    sha256: str
    """Of the image's file."""
    prediction: str
    """File name of the model's answer, beside the index."""
    truth: str
    gray: str
    reasons: list[str]
    """``fixed``, ``<metric> best 1``, ``<metric> worst 2`` ..."""
    scores: dict[str, float | None]
    """Metric -> this image's score."""

    @classmethod
    def of(cls, id: str, sha256: str, reasons: list[str], scores: Mapping[str, float]) -> SavedImage:
        """Return the line of an image that is saved under the names of ``saved_names``; NaN scores become None."""
        prediction, truth, gray = saved_names(id)
        known = {name: score if math.isfinite(score) else None for name, score in scores.items()}
        return cls(id=id, sha256=sha256, prediction=prediction, truth=truth, gray=gray, reasons=reasons, scores=known)


def saved_names(id: str) -> tuple[str, str, str]:
    """Return the file names of the prediction, ground-truth and gray thumbnails of an image."""
    stem = id_hash(id)[:16]
    return f"{stem}.webp", f"{stem}.truth.webp", f"{stem}.gray.webp"


def is_complete(path: Path) -> bool:
    """Return whether a saved image is there and complete."""
    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()  # checksums; decoding takes ten times as long, and there may be many
            else:
                image.load()
    except _DAMAGED:
        return False
    return True


def read_index(folder: Path, hashes: Mapping[str, str] = MappingProxyType({})) -> list[SavedImage]:
    """Read the index of the images saved beside a record; none for ``--save none``.

    Args:
        folder: of the record.
        hashes: ``files.images`` of the record, to check the index by.

    Raises:
        UserError: where the record names an index that is missing, is not the one that was written, or is none.
    """
    name = f"thumbnails/{INDEX_NAME}"
    if name not in hashes and left_out(folder, name):
        return []
    hint = "get the record's whole folder again, or measure again"
    data = saved_file(folder, name, hashes)
    if data is None:
        raise UserError("the index of saved images is missing or was changed", where=str(folder / name), hint=hint)
    try:
        return [SavedImage(**line) for line in json.loads(data)]
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError("this is no index of saved images", where=str(folder / name), hint=hint) from error


def saved_file(folder: Path, name: str, hashes: Mapping[str, str]) -> bytes | None:
    """Read a saved file of a record; None for one that is missing, changed, or outside the record's folder.

    Args:
        folder: of the record.
        name: path below it, as an index of a stranger may give it.
        hashes: ``files.images`` of the record; a file that stands there must have its hash.
    """
    path = is_inside(folder, name)
    if path is None:
        return None
    try:
        data = read_plain(path, LARGEST_IMAGE, missing="no such file", hint="")
    except UserError:
        return None
    return data if hashes.get(name) in (None, sha256(data).hexdigest()) else None
