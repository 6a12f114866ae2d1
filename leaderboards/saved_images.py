"""Reading of saved images of records as untrusted files, and decision which of them is the ground truth.

Each file is opened as an image of a known format and size. It is ignored if it is anything else, or if it is not the
file that the record was made with.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from colorbench.data import prediction_names
from colorbench.errors import UserError
from colorbench.models import GRAY_MODEL, TRUTH_MODEL
from colorbench.results import INDEX_NAME, SavedImage
from colorbench.storage import LARGEST_IMAGE, InvalidImage, decode_saved_image, is_inside, parse_json, read_plain
from leaderboards.collected_records import Entry

Size = Literal["small", "large"]
Kind = Literal["truth", "gray"]
SIDES: Mapping[Size, int] = {"small": 160, "large": 320}
QUALITY: Mapping[Size, int] = {"small": 85, "large": 88}
LARGEST_THUMBNAIL: Mapping[Size, int] = {"small": 40_000, "large": 160_000}
"""Size in bytes above which a saved image is compressed again, so that no record can fill the page."""
BLOCK = 8
SAME_BLOCK = 8.0
"""Maximum difference, in levels of 255, between block means of two files of one image: encoder versions differ."""
_REFERENCE = {"truth": (TRUTH_MODEL, "reference"), "gray": (GRAY_MODEL, "baseline")}
"""First or last image of a gallery card -> name and role of the model that predicts it."""


@dataclass(frozen=True)
class SavedBy:
    """A saved image and its record."""

    entry: Entry
    thumbnail: SavedImage

    @property
    def reasons(self) -> list[str]:
        """Why the run saved it."""
        return self.thumbnail.reasons


def saved_images(entries: Sequence[Entry]) -> dict[str, SavedBy]:
    """Return content hash -> saved image, of all records of a row on a dataset."""
    found: dict[str, SavedBy] = {}
    for entry in entries:
        index = _index(entry)
        rows = entry.run.rows[["sha256", "id"]]
        rows = rows[rows["sha256"].isin([thumbnail.sha256 for thumbnail in index])]
        images = set(rows.itertuples(index=False, name=None))
        for thumbnail in index:
            if (thumbnail.sha256, thumbnail.id) not in images:
                continue
            if thumbnail.sha256 not in found or "fixed" in thumbnail.reasons:
                found[thumbnail.sha256] = SavedBy(entry, thumbnail)
    return found


def _index(entry: Entry) -> list[SavedImage]:
    """Read the index of a record's saved images; empty if it is missing or not that of the record."""
    data = _file(entry, f"thumbnails/{INDEX_NAME}")
    try:
        return [] if data is None else [SavedImage.model_validate(line) for line in parse_json(data)]
    except (ValueError, TypeError):
        return []


def _file(entry: Entry, name: str) -> bytes | None:
    """Read a file whose checksum is in the record; None if it does not match."""
    expected, path = entry.record.files.saved_images.get(name), is_inside(entry.folder, name)
    if expected is None or path is None:
        return None
    try:
        data = read_plain(path, LARGEST_IMAGE, missing="", hint="")
    except UserError:
        return None
    return data if sha256(data).hexdigest() == expected else None


def embedded(entry: Entry, name: str, size: Size) -> str | None:
    """Return a saved image as a data URI; None if it is not usable."""
    data = _file(entry, f"thumbnails/{PurePosixPath(name).name}")
    return None if data is None else _checked(data, size)


def large_prediction(entry: Entry, id: str) -> str | None:
    """Return a saved prediction of full size as a data URI, if the record's list contains its checksum."""
    listing = _file(entry, "predictions.sha256")
    if listing is None or not id:
        return None
    ids = [*entry.run.rows["id"], *(copy.id for copy in entry.record.dataset.copies)]
    try:
        name = prediction_names(ids).get(id)
    except ValueError:  # an id that is not a file name
        return None
    path = is_inside(entry.folder, f"predictions/{name}") if name else None
    if path is None:
        return None
    try:
        data = read_plain(path, LARGEST_IMAGE, missing="", hint="")
    except UserError:
        return None
    line = f"{sha256(data).hexdigest()}  predictions/{name}\n"
    return _checked(data, "large") if line.encode() in listing else None


@lru_cache(maxsize=1024)
def _checked(data: bytes, size: Size) -> str | None:
    """Return the bytes of a WebP or PNG as a WebP of at most the page's size; None if they are not an image."""
    side = SIDES[size]
    try:
        found = decode_saved_image(data)
    except InvalidImage:  # only this image is lost
        return None
    fits = found.format == "WEBP" and max(found.image.size) <= side and not found.carries_more
    if not fits or len(data) > LARGEST_THUMBNAIL[size]:
        small = found.image
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=QUALITY[size], method=4, icc_profile=b"", exif=b"", xmp=b"")
        data = buffer.getvalue()
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


class Agreement(NamedTuple):
    """The ground truth or grayscale version of an image, according to the records."""

    source: str | None
    """A data URI; None if none is shown."""
    disputed: bool = False
    outvoted: frozenset[str] = frozenset()
    """sha256 of the records that show a different image than the records of the ground truth (of gray)."""


def agreed(kind: Kind, saved: Iterable[SavedBy], size: Size) -> Agreement:
    """Return the ground truth or grayscale version of an image from the images that records saved.

    The order of the records has no effect. The image is taken from records of the ground truth (of gray) that were
    rerun for this board; otherwise from all records of the ground truth (of gray), if at least half of the other
    records show the same image; otherwise from all records. If these disagree, none is shown.
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
    trusted = again or own or shown
    if not trusted:
        return Agreement(None)
    first, data = trusted[0]
    if not all(_same_image(other, data) for _, other in trusted):
        return Agreement(None, disputed=True)
    names = {one.entry.sha256 for one, _ in own}
    others = {one.entry.sha256: _same_image(other, data) for one, other in shown if one.entry.sha256 not in names}
    if own and not again and 2 * sum(others.values()) < len(others):
        return Agreement(None, disputed=True)
    large = large_prediction(first.entry, first.thumbnail.id) if size == "large" and own else None
    outvoted = frozenset(sha256 for sha256, same in others.items() if not same)
    return Agreement(large or _checked(data, size), outvoted=outvoted)


def _saved(saved: SavedBy, kind: Kind) -> bytes | None:
    """Return the bytes of an image whose checksum is in the record, if they can be shown."""
    name = saved.thumbnail.truth if kind == "truth" else saved.thumbnail.gray
    data = _file(saved.entry, f"thumbnails/{PurePosixPath(name).name}")
    return data if data is not None and _checked(data, "small") is not None else None


def _same_image(data: bytes, other: bytes) -> bool:
    """Return whether two files show the same image up to the encoder: equal sizes and nearly equal block means."""
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
        return np.asarray(decode_saved_image(data).image, dtype=np.float64)
    except InvalidImage:
        return None
