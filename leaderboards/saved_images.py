"""Saved images beside records: read as files of a stranger, and which of them is the ground truth.

Images come from strangers: each is opened as an image of a known format and size, and left out if it is anything else
or not the file that the record was made with.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import ValidationError

from colorbench.errors import UserError
from colorbench.evaluation import prediction_names
from colorbench.models import GRAY_MODEL, TRUTH_MODEL
from colorbench.results import INDEX_NAME, SavedImage
from colorbench.storage import MEGABYTE, is_inside, read_plain
from leaderboards.entries import Entry

Size = Literal["small", "large"]
Kind = Literal["truth", "gray"]
SIDES: Mapping[Size, int] = {"small": 160, "large": 320}
QUALITY: Mapping[Size, int] = {"small": 85, "large": 88}
LARGEST_THUMBNAIL: Mapping[Size, int] = {"small": 40_000, "large": 160_000}
"""Bytes above which a saved image is compressed again, so that one record cannot fill the page."""
_LARGEST_FILE = 8 * MEGABYTE
_LARGEST_SIDE = 4096
BLOCK = 8
SAME_BLOCK = 8.0
"""Levels of 255 by which the mean of any block of two files of one image may differ, as other versions of the encoder
make it differ."""
_REFERENCE = {"truth": (TRUTH_MODEL, "reference"), "gray": (GRAY_MODEL, "baseline")}
"""What stands at an end of the gallery -> name and role of the model whose prediction it is."""


@dataclass(frozen=True)
class Kept:
    """An image, and the record that it lies beside."""

    entry: Entry
    thumbnail: SavedImage

    @property
    def reasons(self) -> list[str]:
        """Why the run kept it."""
        return self.thumbnail.reasons


def kept_images(entries: Sequence[Entry]) -> dict[str, Kept]:
    """Return the saved image of each content hash, of all records of a row on a dataset."""
    found: dict[str, Kept] = {}
    for entry in entries:
        images = set(zip(entry.run.sha256s, entry.run.rows["id"], strict=True))
        for thumbnail in _index(entry):
            if (thumbnail.sha256, thumbnail.id) not in images:
                continue
            if thumbnail.sha256 not in found or "fixed" in thumbnail.reasons:
                found[thumbnail.sha256] = Kept(entry, thumbnail)
    return found


def _index(entry: Entry) -> list[SavedImage]:
    """Read the index of the images beside a record; empty where there is none, or it is not the record's."""
    data = _file(entry, f"thumbnails/{INDEX_NAME}")
    try:
        return [] if data is None else [SavedImage.model_validate(line) for line in json.loads(data)]
    except (ValueError, TypeError, RecursionError, ValidationError):
        return []


def _file(entry: Entry, name: str) -> bytes | None:
    """Read a file that the record names by its checksum."""
    expected, path = entry.record.files.saved_images.get(name), is_inside(entry.folder, name)
    if expected is None or path is None:
        return None
    try:
        data = read_plain(path, _LARGEST_FILE, missing="", hint="")
    except UserError:
        return None
    return data if sha256(data).hexdigest() == expected else None


def embedded(entry: Entry, name: str, size: Size) -> str | None:
    """Return a saved image as a data address."""
    data = _file(entry, f"thumbnails/{PurePosixPath(name).name}")
    return None if data is None else _checked(data, size)


def large_prediction(entry: Entry, id: str) -> str | None:
    """Return a saved prediction of full size, where the record's list holds its checksum."""
    listing = _file(entry, "predictions.sha256")
    if listing is None or not id:
        return None
    ids = [*entry.run.rows["id"], *(copy.id for copy in entry.record.dataset.copies)]
    try:
        name = prediction_names(ids).get(id)
    except ValueError:  # an id that is no file's name
        return None
    path = is_inside(entry.folder, f"predictions/{name}") if name else None
    if path is None:
        return None
    try:
        data = read_plain(path, _LARGEST_FILE, missing="", hint="")
    except UserError:
        return None
    line = f"{sha256(data).hexdigest()}  predictions/{name}\n"
    return _checked(data, "large") if line.encode() in listing else None


@lru_cache(maxsize=1024)
def _checked(data: bytes, size: Size) -> str | None:
    """Return bytes of a WebP or PNG as a WebP of at most the page's size; None where they are no image."""
    side = SIDES[size]
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
            if max(image.size) > _LARGEST_SIDE or getattr(image, "n_frames", 1) != 1:
                return None
            fits = image.format == "WEBP" and max(image.size) <= side and not image.info.get("exif")
            fits = fits and len(data) <= LARGEST_THUMBNAIL[size]
            image.load()
            if not fits:
                small = image.convert("RGB")
                small.thumbnail((side, side), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                small.save(buffer, "WEBP", quality=QUALITY[size], method=4)
                data = buffer.getvalue()
    except Exception:  # decoders meet a stranger's bytes in ways of their own: a damaged chunk costs this image only
        return None
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


class Agreement(NamedTuple):
    """What records show as the ground truth, or the grayscale version, of an image."""

    source: str | None
    """A data address; None where none is shown."""
    disputed: bool = False
    outvoted: frozenset[str] = frozenset()
    """sha256 of the records that show something else than the record of the ground truth (of gray)."""


def agreed(kind: Kind, saved: Iterable[Kept], size: Size) -> Agreement:
    """Return the ground truth or grayscale version of an image.

    Neither the order of records nor their number decides. It is the image of a record of the ground truth (of gray)
    that was measured again for this board; else that of all records of the ground truth (of gray), if at least half of
    the other records show the same; else that of all records. Where those disagree, none is shown.
    """
    name, role = _REFERENCE[kind]
    shown = [
        (one, data)
        for one in sorted(saved, key=lambda one: one.entry.sha256)
        if (data := _saved(one, kind)) is not None
    ]
    own = [
        (one, data)
        for one, data in shown
        if (one.entry.record.model.name, one.entry.record.model.card.role) == (name, role)
    ]
    again = [pair for pair in own if (found := pair[0].entry.verification) is not None and found.rerun is not None]
    asked = again or own or shown
    if not asked:
        return Agreement(None)
    first, data = asked[0]
    if not all(_same_image(other, data) for _, other in asked):
        return Agreement(None, disputed=True)
    names = {one.entry.sha256 for one, _ in own}
    others = {one.entry.sha256: _same_image(other, data) for one, other in shown if one.entry.sha256 not in names}
    if own and not again and 2 * sum(others.values()) < len(others):
        return Agreement(None, disputed=True)
    large = large_prediction(first.entry, first.thumbnail.id) if size == "large" and own else None
    outvoted = frozenset(sha256 for sha256, same in others.items() if not same)
    return Agreement(large or _checked(data, size), outvoted=outvoted)


def _saved(saved: Kept, kind: Kind) -> bytes | None:
    """Return the bytes of an image that the record names by its checksum, where they can be shown."""
    name = saved.thumbnail.truth if kind == "truth" else saved.thumbnail.gray
    data = _file(saved.entry, f"thumbnails/{PurePosixPath(name).name}")
    return data if data is not None and _checked(data, "small") is not None else None


def _same_image(data: bytes, other: bytes) -> bool:
    """Return whether two files show one image but for the encoder: sizes are equal, and the mean of every block is."""
    if data == other:
        return True
    one, two = (_pixels(each) for each in (data, other))
    if one is None or two is None or one.shape != two.shape:
        return False
    apart = np.abs(_blocks(one) - _blocks(two))
    return bool(apart.max() <= SAME_BLOCK)


def _blocks(pixels: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(0, side, BLOCK) for side in pixels.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(pixels, rows, axis=0), columns, axis=1)
    ones = np.ones(pixels.shape[:2])
    return sums / np.add.reduceat(np.add.reduceat(ones, rows, axis=0), columns, axis=1)[..., None]


def _pixels(data: bytes) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
            return np.asarray(image.convert("RGB"), dtype=np.float64)
    except Exception:  # as in _checked
        return None
