"""The gallery: the same photographs across models, beside truth and gray, as small pictures inside the page.

Pictures are the WebPs that runs keep (24 photographs that are the same for every model, and each metric's best and
worst), or, for ``large``, the kept predictions. They come from strangers: each is opened as a picture of a known
format and size, and left out if it is anything else or not the file that the record was made with.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import ValidationError

from colorbench.data.dataset import id_hash
from colorbench.errors import UserError
from colorbench.evaluation.anchors import GRAY, TRUTH
from colorbench.evaluation.pictures import INDEX, KeptPicture, prediction_names
from colorbench.evaluation.untrusted import MEGABYTE, inside, read_plain
from leaderboards.board import Board, Column
from leaderboards.collecting import Entry
from leaderboards.text import clean

Size = Literal["small", "large"]
SIDES: Mapping[Size, int] = {"small": 160, "large": 320}
BUDGETS: Mapping[Size, int] = {"small": 3_200_000, "large": 16_000_000}
"""Bytes of all pictures of a page, before they are written as text (a third more)."""
PHOTOGRAPHS = 24
EACH_END = 4
"""Photographs taken for being best, worst, and most disputed; the rest is the fixed sample."""
QUALITY: Mapping[Size, int] = {"small": 85, "large": 88}
_LARGEST_FILE = 8 * MEGABYTE
_LARGEST_SIDE = 4096


@dataclass(frozen=True)
class Picture:
    """One answer."""

    row: str
    """Of the board; ``truth`` and ``gray`` are not rows."""
    source: str | None
    """A data address; None where no picture may be shown or was kept."""


@dataclass(frozen=True)
class Photo:
    """One photograph across models."""

    id: str
    sha256: str
    reasons: tuple[str, ...]
    """Why it was chosen: ``sample``, ``best``, ``worst``, ``most disputed``."""
    truth: str | None
    gray: str | None
    answers: tuple[Picture, ...]
    scores: Mapping[str, Mapping[str, float]]
    """Column -> row -> this photograph's own score."""


@dataclass(frozen=True)
class Gallery:
    """The photographs of one set."""

    dataset: str
    groups: tuple[int, ...]
    columns: tuple[Column, ...]
    """Metrics by which its photographs can be put in order."""
    photos: tuple[Photo, ...]
    embedded: bool
    """Whether pictures are shown."""
    note: str | None
    """Why there are no pictures, or fewer."""
    credit: str
    """Where the photographs come from, where pictures are shown."""


def galleries(
    board: Board, entries: Mapping[str, Mapping[int, Entry]], *, size: Size = "small", embed_all: bool = False
) -> list[Gallery]:
    """A gallery for every set of photographs on the board that its groups share.

    Args:
        board: see ``building.build``.
        entries: row -> group -> the record behind it.
        size: of the pictures.
        embed_all: also pictures of photographs that may not be passed on.
    """
    sets: dict[tuple[str, str, str], list[int]] = {}
    for group in board.groups:
        sets.setdefault((group.fingerprint, group.recipe, group.gray_policy), []).append(group.number)
    made = []
    budget = BUDGETS[size] // max(1, len(sets))
    for groups in sets.values():
        one = _Set(board, entries, groups, size)
        if one.metrics:
            made.append(one.gallery(embed_all, budget))
    return made


class _Set:
    """Scores and kept pictures of one set of photographs."""

    def __init__(
        self, board: Board, entries: Mapping[str, Mapping[int, Entry]], groups: Sequence[int], size: Size
    ) -> None:
        self.board, self.groups, self.size = board, groups, size
        self.group = board.groups[groups[0]]
        self.entries = {
            row.id: [entries[row.id][number] for number in groups if number in entries[row.id]] for row in board.rows
        }
        self.entries = {row: found for row, found in self.entries.items() if found}
        self.kept = {row: _kept(found) for row, found in self.entries.items()}
        self.ids: dict[str, str] = {}
        """Content hash -> what the first record calls the photograph."""
        self.metrics: dict[str, dict[str, dict[str, float]]] = {}
        """Column -> row -> content hash -> score."""
        self._read_scores(entries)

    def _read_scores(self, entries: Mapping[str, Mapping[int, Entry]]) -> None:
        for number in self.groups:
            for column in self.board.of_group(number):
                found: dict[str, dict[str, float]] = {}
                for row in self.entries:
                    entry = entries[row].get(number)
                    if entry is None or entry.run is None or column.metric not in entry.run.columns:
                        continue
                    values, hashes = entry.run.columns[column.metric], entry.run.sha256s
                    for hash, id in zip(hashes, entry.run.rows["id"], strict=True):
                        self.ids.setdefault(hash, str(id))
                    finite = np.isfinite(values)
                    found[row] = {hash: float(values[i]) for i, hash in enumerate(hashes) if finite[i]}
                if found:
                    self.metrics[column.id] = found

    @property
    def headline(self) -> Column | None:
        """The first metric by which photographs are best and worst."""
        directed = [c for number in self.groups for c in self.board.of_group(number) if c.id in self.metrics]
        directed = [column for column in directed if column.higher_is_better is not None]
        return next((column for column in directed if column.headline), next(iter(directed), None))

    def gallery(self, embed_all: bool, budget: int) -> Gallery:
        """The chosen photographs with their pictures."""
        allowed = embed_all or all(self.board.groups[number].redistributable for number in self.groups)
        pictured = {hash for kept in self.kept.values() for hash in kept}
        chosen = self._chosen(pictured if allowed and pictured else set(self.ids))
        note = None
        if not allowed:
            note = (
                "This set of photographs does not permit passing them on: ids and scores only. "
                "Whoever may embed them builds the board with --embed-photographs."
            )
        elif not pictured:
            note = "These records were made without pictures (--save none): ids and scores only."
        photos: list[Photo] = []
        spent = 0
        for hash, reasons in chosen:
            photo, size = self._photo(hash, reasons, pictures=allowed)
            if photos and spent + size > budget:
                note = f"{len(photos)} of {len(chosen)} photographs, so that the page stays small enough to be mailed."
                break
            photos.append(photo)
            spent += size
        columns = [c for number in self.groups for c in self.board.of_group(number) if c.id in self.metrics]
        shown = any(picture.source for photo in photos for picture in photo.answers)
        if allowed and pictured and not shown:
            note = "The pictures beside these records are not those that they were made with."
        sources = dict.fromkeys(self.board.groups[number].source for number in self.groups)
        credit = "; ".join(source for source in sources if source) if shown else ""
        return Gallery(self.group.dataset, tuple(self.groups), tuple(columns), tuple(photos), shown, note, credit)

    def _chosen(self, among: set[str]) -> list[tuple[str, tuple[str, ...]]]:
        """(content hash, why) of the photographs to show: the fixed sample first, then the ends."""
        often = {hash: sum(hash in kept for kept in self.kept.values()) for hash in among}
        ends = self._ends(among, often)
        fixed = [
            hash for hash in among if any("fixed" in kept[hash].reasons for kept in self.kept.values() if hash in kept)
        ]
        if not fixed:
            fixed = list(among)
        fixed.sort(key=lambda hash: (-often[hash], id_hash(self.ids.get(hash) or hash), hash))
        extra = [
            hash for hash in dict.fromkeys(hash for hashes in ends.values() for hash in hashes) if hash not in fixed
        ]
        # The ends have their places, whether or not they are of the fixed sample, which fills what is left.
        room = PHOTOGRAPHS - len({hash for hashes in ends.values() for hash in hashes})
        plain = [hash for hash in fixed if not any(hash in hashes for hashes in ends.values())][:room]
        chosen = [hash for hash in fixed if hash in plain or any(hash in hashes for hashes in ends.values())] + extra
        reasons = {hash: [reason for reason, hashes in ends.items() if hash in hashes] for hash in chosen}
        return [(hash, tuple((["sample"] if hash in fixed else []) + reasons[hash])) for hash in chosen]

    def _ends(self, among: Iterable[str], often: Mapping[str, int]) -> dict[str, list[str]]:
        """Best, worst and most disputed by the headline, of the competitors; those that most models show."""
        column = self.headline
        if column is None:
            return {}
        competitors = {row.id for row in self.board.competitors}
        scores = {row: of for row, of in self.metrics[column.id].items() if row in competitors} or self.metrics[
            column.id
        ]
        most = max(often.values(), default=0)
        table = {}
        for hash in among:
            values = [of[hash] for of in scores.values() if hash in of]
            if values and often[hash] * 2 >= most:
                table[hash] = (sum(values) / len(values), max(values) - min(values))
        sign = -1.0 if column.higher_is_better else 1.0
        best = sorted(table, key=lambda hash: (sign * table[hash][0], hash))[: min(EACH_END, len(table) // 2)]
        worst = sorted(table, key=lambda hash: (-sign * table[hash][0], hash))[: min(EACH_END, len(table) // 2)]
        ends = {"best": best, "worst": worst}
        if len(scores) > 1:
            ends["most disputed"] = sorted(table, key=lambda hash: (-table[hash][1], hash))[:EACH_END]
        return ends

    def _photo(self, hash: str, reasons: tuple[str, ...], *, pictures: bool) -> tuple[Photo, int]:
        answers, truth, gray = [], None, None
        for row, found in self.entries.items():
            kept = self.kept[row].get(hash)
            source = None
            if pictures and kept is not None:
                entry, picture = kept.entry, kept.picture
                source = self._answer(entry, picture)
                truth = truth or _embedded(entry, picture.truth, self.size)
                gray = gray or _embedded(entry, picture.gray, self.size)
            if found:
                answers.append(Picture(row, source))
        if pictures and self.size == "large":
            truth, gray = self._large(hash, TRUTH) or truth, self._large(hash, GRAY) or gray
        scores = {
            column: {row: _rounded(of[hash]) for row, of in rows.items() if hash in of}
            for column, rows in self.metrics.items()
        }
        photo = Photo(clean(self.ids.get(hash, hash[:16]), 160), hash, reasons, truth, gray, tuple(answers), scores)
        return photo, sum(len(one) * 3 // 4 for one in (truth, gray, *(a.source for a in answers)) if one)

    def _answer(self, entry: Entry, picture: KeptPicture) -> str | None:
        if self.size == "large":
            large = _prediction(entry, picture.id)
            if large is not None:
                return large
        return _embedded(entry, picture.answer, self.size)

    def _large(self, hash: str, model: str) -> str | None:
        """The kept prediction of truth or gray."""
        for found in self.entries.values():
            for entry in found:
                if entry.record.model.name == model and entry.record.model.card.role != "competitor":
                    return _prediction(entry, self.ids.get(hash, ""))
        return None


@dataclass(frozen=True)
class _Kept:
    """A picture, and the record that it lies beside."""

    entry: Entry
    picture: KeptPicture

    @property
    def reasons(self) -> list[str]:
        """Why the run kept it."""
        return self.picture.reasons


def _kept(entries: Sequence[Entry]) -> dict[str, _Kept]:
    """Content hash -> kept picture, of all records of a row on a set."""
    found: dict[str, _Kept] = {}
    for entry in entries:
        for picture in _index(entry):
            if picture.sha256 not in found or "fixed" in picture.reasons:
                found[picture.sha256] = _Kept(entry, picture)
    return found


def _index(entry: Entry) -> list[KeptPicture]:
    """The index of the pictures beside a record; empty where there is none, or it is not the record's."""
    data = _file(entry, f"pictures/{INDEX}")
    try:
        return [] if data is None else [KeptPicture.model_validate(line) for line in json.loads(data)]
    except (ValueError, TypeError, RecursionError, ValidationError):
        return []


def _file(entry: Entry, name: str) -> bytes | None:
    """A file that the record names by its checksum."""
    expected, path = entry.record.files.pictures.get(name), inside(entry.folder, name)
    if expected is None or path is None:
        return None
    try:
        data = read_plain(path, _LARGEST_FILE, missing="", mend="")
    except UserError:
        return None
    return data if sha256(data).hexdigest() == expected else None


def _embedded(entry: Entry, name: str, size: Size) -> str | None:
    """A kept picture as a data address."""
    data = _file(entry, f"pictures/{PurePosixPath(name).name}")
    return None if data is None else _checked(data, size)


def _prediction(entry: Entry, id: str) -> str | None:
    """A kept prediction of full size, where its checksum is in the list that the record vouches for."""
    listing = _file(entry, "predictions.sha256")
    if listing is None or not id or entry.run is None:
        return None
    ids = [*entry.run.rows["id"], *(copy.id for copy in entry.record.dataset.copies)]
    name = prediction_names(ids).get(id)
    path = inside(entry.folder, f"predictions/{name}") if name else None
    if path is None:
        return None
    try:
        data = read_plain(path, _LARGEST_FILE, missing="", mend="")
    except UserError:
        return None
    line = f"{sha256(data).hexdigest()}  predictions/{name}\n"
    return _checked(data, "large") if line.encode() in listing else None


def _checked(data: bytes, size: Size) -> str | None:
    """Bytes of a WebP or PNG as a WebP that is no larger than the page wants; None where they are no picture."""
    side = SIDES[size]
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
            if max(image.size) > _LARGEST_SIDE or getattr(image, "n_frames", 1) != 1:
                return None
            fits = image.format == "WEBP" and max(image.size) <= side and not image.info.get("exif")
            image.load()
            if not fits:
                small = image.convert("RGB")
                small.thumbnail((side, side), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                small.save(buffer, "WEBP", quality=QUALITY[size], method=4)
                data = buffer.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def _rounded(value: float) -> float:
    """Four digits: what a caption shows."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    return float(f"{value:.5g}")
