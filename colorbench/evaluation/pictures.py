"""Pictures that are kept beside a record: small ones for people, or every answer at the recipe's size.

The fixed part of a gallery is the photographs whose ids have the smallest hash: the same for every model on a set. They
are written in the pass. A metric's best and worst are known only at the end; those few are colorized once more then.
"""

from __future__ import annotations

import heapq
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict

from colorbench.color.lab import lab_to_rgb8
from colorbench.data.dataset import id_hash
from colorbench.errors import UserError
from colorbench.evaluation.files import durable_sha256, sync_folder
from colorbench.evaluation.protocol import Colorization, Truth
from colorbench.evaluation.store import RunFolder
from colorbench.evaluation.untrusted import MEGABYTE, inside, left_out, read_plain
from colorbench.models.weights import file_sha256

Save = Literal["none", "gallery", "predictions"]
LEVELS: tuple[Save, ...] = get_args(Save)
"""Each keeps what those before it keep, and more."""

FIXED = 24
EXTREMES = 4
"""How many of a metric's best, and of its worst, are kept."""
SIDE = 160
"""Longer side of a kept picture in pixels: a board of many models stays small."""
INDEX = "index.json"
LARGEST_PICTURE = 8 * MEGABYTE
"""A saved image or an index that is read back; thumbnails have some 10 KB."""
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, zlib.error)
"""What Pillow raises for a picture that is none."""


class KeptPicture(BaseModel):
    """One line of ``pictures/index.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    sha256: str
    """Of the photograph's file."""
    answer: str
    """File name of the model's answer, beside the index."""
    truth: str
    gray: str
    reasons: list[str]
    """``fixed``, ``<metric> best 1``, ``<metric> worst 2`` ..."""
    scores: dict[str, float | None]
    """Metric -> this photograph's score."""

    @classmethod
    def of(cls, id: str, sha256: str, reasons: list[str], scores: Mapping[str, float]) -> KeptPicture:
        """The line of a photograph whose pictures have the names of ``file_names``; NaN scores become None."""
        answer, truth, gray = file_names(id)
        known = {name: score if math.isfinite(score) else None for name, score in scores.items()}
        return cls(id=id, sha256=sha256, answer=answer, truth=truth, gray=gray, reasons=reasons, scores=known)


def file_names(id: str) -> tuple[str, str, str]:
    """Answer, truth and gray picture of a photograph."""
    stem = id_hash(id)[:16]
    return f"{stem}.webp", f"{stem}.truth.webp", f"{stem}.gray.webp"


def fixed_ids(ids: Iterable[str]) -> frozenset[str]:
    """The 24 ids of smallest hash."""
    return frozenset(heapq.nsmallest(FIXED, ids, key=id_hash))


def extreme_ids(ids: Sequence[str], scores: np.ndarray, higher_is_better: bool | None) -> dict[str, list[str]]:
    """``best`` and ``worst``: the ids at the ends of (n,) scores, the farthest first; NaN is at no end.

    Ties are in the order of the ids' hashes. At most half of the photographs stand at either end.
    """
    if higher_is_better is None:
        return {}
    sign = -1.0 if higher_is_better else 1.0
    known = [(sign * float(score), id_hash(id), id) for id, score in zip(ids, scores, strict=True) if score == score]
    count = min(EXTREMES, len(known) // 2)
    best = sorted(known)[:count]
    worst = sorted(known, key=lambda entry: (-entry[0], entry[1]))[:count]
    return {"best": [id for *_, id in best], "worst": [id for *_, id in worst]}


def keep_thumbnails(folder: RunFolder, colorization: Colorization, wanted: frozenset[str]) -> None:
    """Write answer, truth and gray of the wanted photographs of a batch."""
    for i, id in enumerate(colorization.truth.ids):
        if id in wanted:
            answer, truth, gray = file_names(id)
            folder.write(folder.pictures / answer, thumbnail(_image(colorization.rgb8, i)), durable=False)
            folder.write(folder.pictures / truth, _shared(colorization.truth, i, "truth"), durable=False)
            folder.write(folder.pictures / gray, _shared(colorization.truth, i, "gray"), durable=False)


def prediction_names(ids: Iterable[str]) -> dict[str, str]:
    """Id -> path below ``predictions/``: the id with the suffix .png, as ``images:DIR`` looks for it.

    Photographs whose ids differ in the suffix alone keep it.
    """
    known = list(ids)
    replaced = {id: str(PurePosixPath(id).with_suffix(".png")) for id in known}
    often = Counter(replaced.values())
    return {id: name if often[name] == 1 else f"{id}.png" for id, name in replaced.items()}


def keep_predictions(folder: RunFolder, colorization: Colorization, names: Mapping[str, str]) -> None:
    """Write the predictions of a batch that have a name (see ``prediction_names``) as PNGs at the recipe's size."""
    for i, id in enumerate(colorization.truth.ids):
        if id not in names:
            continue
        buffer = io.BytesIO()
        # Level 1: a third of the time of the default for a twentieth more bytes.
        _image(colorization.rgb8, i).save(buffer, "PNG", compress_level=1)
        folder.write(folder.predictions / names[id], buffer.getvalue(), durable=False)


def thumbnail(image: Image.Image) -> bytes:
    """A WebP of at most 160 pixels a side."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue()


def write_index(folder: RunFolder, kept: Iterable[KeptPicture]) -> dict[str, str]:
    """Write ``pictures/index.json``; the sha256 of every kept file, by its path below the record's folder.

    Other pictures that lie there are removed: of files that turned out to be copies of others, say.
    """
    lines = [picture.model_dump() for picture in sorted(kept, key=lambda picture: id_hash(picture.id))]
    folder.write(folder.pictures / INDEX, json.dumps(lines, indent=1).encode())
    names = {name for line in lines for name in (line["answer"], line["truth"], line["gray"])} | {INDEX}
    for path in folder.pictures.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)
    hashes = {f"pictures/{name}": durable_sha256(folder.pictures / name) for name in sorted(names)}
    sync_folder(folder.pictures)
    return hashes


def write_prediction_list(folder: RunFolder, names: Iterable[str]) -> dict[str, str]:
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


def whole(path: Path) -> bool:
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


def read_index(folder: Path, hashes: Mapping[str, str] = MappingProxyType({})) -> list[KeptPicture]:
    """The pictures kept beside a record; none for ``--save none``.

    Args:
        folder: of the record.
        hashes: ``files.pictures`` of the record, to check the index by.

    Raises:
        UserError: where the record names an index that is missing, is not the one that was written, or is none.
    """
    name = f"pictures/{INDEX}"
    if name not in hashes and left_out(folder, name):
        return []
    mend = "get the record's whole folder again, or measure again"
    data = saved_file(folder, name, hashes)
    if data is None:
        raise UserError("the index of saved images is missing or was changed", where=str(folder / name), mend=mend)
    try:
        return [KeptPicture(**line) for line in json.loads(data)]
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError("this is no index of saved images", where=str(folder / name), mend=mend) from error


def saved_file(folder: Path, name: str, hashes: Mapping[str, str]) -> bytes | None:
    """The bytes of a saved file of a record; None for one outside its folder, a missing, or a changed one.

    Args:
        folder: of the record.
        name: path below it, as an index of a stranger may give it.
        hashes: ``files.pictures`` of the record; a file that stands there must have its hash.
    """
    path = inside(folder, name)
    if path is None:
        return None
    try:
        data = read_plain(path, LARGEST_PICTURE, missing="no such file", mend="")
    except UserError:
        return None
    return data if hashes.get(name) in (None, sha256(data).hexdigest()) else None


def _shared(truth: Truth, i: int, kind: Literal["truth", "gray"]) -> bytes:
    """WebP of the truth or its gray version, made once for all models and protocols."""

    def make() -> torch.Tensor:
        if kind == "truth":
            image = _image(truth.rgb8, i)
        else:
            lab = truth.lab[i : i + 1] * truth.lab.new_tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
            image = _image(lab_to_rgb8(lab), 0)
        return torch.frombuffer(bytearray(thumbnail(image)), dtype=torch.uint8)

    return bytes(truth.shared(f"thumbnail/{kind}/{i}", make).numpy().tobytes())


def _image(rgb8: torch.Tensor, i: int) -> Image.Image:
    """Image i of (N, 3, H, W) uint8."""
    return Image.fromarray(rgb8[i].permute(1, 2, 0).contiguous().cpu().numpy())
