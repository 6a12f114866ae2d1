"""The gallery: the same images across models, beside truth and gray, as small images inside the page.

Images are the WebPs that runs keep (24 images that are the same for every model, and each metric's best and
worst), or, for ``large``, the kept predictions. They come from strangers: each is opened as an image of a known
format and size, and left out if it is anything else or not the file that the record was made with.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from colorbench.data import id_hash
from colorbench.results import SavedImage
from leaderboards.entries import Entry
from leaderboards.formatting import clean
from leaderboards.saved_images import Kept, Size, agreed, embedded, kept_images, large_prediction
from leaderboards.schema import Board, Column

BUDGETS: Mapping[Size, int] = {"small": 3_200_000, "large": 16_000_000}
"""Bytes of all images of a page, before they are written as text (a third more)."""
IMAGES = 24
EACH_END = 4
"""Images taken for being best, worst, and most disputed; the rest is the fixed sample."""


@dataclass(frozen=True)
class Thumbnail:
    """One answer."""

    row: str
    """Of the board; ``truth`` and ``gray`` are not rows."""
    source: str | None
    """A data address; None where no image may be shown or was kept."""


@dataclass(frozen=True)
class Photo:
    """One image across models."""

    id: str
    sha256: str
    reasons: tuple[str, ...]
    """Why it was chosen: ``sample``, ``best``, ``worst``, ``most disputed``."""
    truth: str | None
    gray: str | None
    predictions: tuple[Thumbnail, ...]
    scores: Mapping[str, Mapping[str, float]]
    """Column -> row -> this image's own score."""


@dataclass(frozen=True)
class Gallery:
    """The images of one set."""

    dataset: str
    groups: tuple[int, ...]
    columns: tuple[Column, ...]
    """Metrics by which its images can be put in order."""
    photos: tuple[Photo, ...]
    embedded: bool
    """Whether images are shown."""
    note: str | None
    """Why there are no images, or fewer."""
    credit: str
    """Where the images come from, where images are shown."""


def galleries(
    board: Board, entries: Mapping[str, Mapping[int, Entry]], *, size: Size = "small", embed_all: bool = False
) -> list[Gallery]:
    """Build a gallery for every dataset on the board that its groups share.

    Args:
        board: see ``building.build``.
        entries: row -> group -> the record behind it.
        size: of the images.
        embed_all: also images of images that may not be passed on.
    """
    sets: dict[tuple[str, str, str], list[int]] = {}
    for group in board.groups:
        sets.setdefault((group.fingerprint, group.preprocessing, group.gray_policy), []).append(group.number)
    made = []
    budget = BUDGETS[size] // max(1, len(sets))
    for groups in sets.values():
        one = _Set(board, entries, groups, size)
        if one.metrics:
            made.append(one.gallery(embed_all, budget))
    return made


class _Set:
    """Scores and kept images of one set of images."""

    def __init__(
        self, board: Board, entries: Mapping[str, Mapping[int, Entry]], groups: Sequence[int], size: Size
    ) -> None:
        self.board, self.groups, self.size = board, groups, size
        self.group = board.groups[groups[0]]
        self.entries = {
            row.id: [entries[row.id][number] for number in groups if number in entries[row.id]] for row in board.rows
        }
        self.entries = {row: found for row, found in self.entries.items() if found}
        self.saved = {row: kept_images(found) for row, found in self.entries.items()}
        self.by_image: dict[str, list[Kept]] = defaultdict(list)
        """Content hash -> what each record saved of the image."""
        for entry in (entry for found in self.entries.values() for entry in found):
            for hash, saved in kept_images([entry]).items():
                self.by_image[hash].append(saved)
        self.ids: dict[str, str] = {}
        """Content hash -> what most records call the image."""
        self.metrics: dict[str, dict[str, dict[str, float]]] = {}
        """Column -> row -> content hash -> score."""
        self.disputed = 0
        """Images of which the records show different ground truths."""
        self._read_scores(entries)

    def _read_scores(self, entries: Mapping[str, Mapping[int, Entry]]) -> None:
        names: dict[str, Counter[str]] = defaultdict(Counter)
        for one in (one for found in self.entries.values() for one in found):
            called = dict(zip(reversed(one.run.sha256s), reversed(one.run.rows["id"].tolist()), strict=True))
            for hash, id in called.items():
                names[hash][str(id)] += 1
        self.ids = {hash: min(often, key=lambda id: (-often[id], id)) for hash, often in names.items()}
        for number in self.groups:
            for column in self.board.of_group(number):
                found: dict[str, dict[str, float]] = {}
                for row in self.entries:
                    entry = entries[row].get(number)
                    if entry is None or self.board.cells[row][column.id].value is None:
                        continue
                    if column.metric not in entry.run.columns:
                        continue
                    values, hashes = entry.run.columns[column.metric], entry.run.sha256s
                    finite = np.isfinite(values)
                    found[row] = {hash: float(values[i]) for i, hash in enumerate(hashes) if finite[i]}
                if found:
                    self.metrics[column.id] = found

    @property
    def headline(self) -> Column | None:
        """The first metric by which images are best and worst."""
        directed = [c for number in self.groups for c in self.board.of_group(number) if c.id in self.metrics]
        directed = [column for column in directed if column.higher_is_better is not None]
        return next((column for column in directed if column.headline), next(iter(directed), None))

    def gallery(self, embed_all: bool, budget: int) -> Gallery:
        """Return the chosen images with the predictions of all models."""
        allowed = embed_all or all(self.board.groups[number].redistributable for number in self.groups)
        pictured = {hash for saved in self.saved.values() for hash in saved}
        chosen = self._chosen(pictured if allowed and pictured else set(self.ids))
        if allowed:
            self._leave_out_the_outvoted([hash for hash, _ in chosen])
        note = None
        if not allowed:
            note = (
                "Thumbnails are off: redistribution rights of these images are unknown or not given. Ids and scores "
                "only. Add --embed-images if you hold the rights."
            )
        elif not pictured:
            note = "These records were made without images (--save none): ids and scores only."
        photos: list[Photo] = []
        spent = 0
        for hash, reasons in chosen:
            photo, size = self._photo(hash, reasons, thumbnails=allowed)
            if photos and spent + size > budget:
                note = f"{len(photos)} of {len(chosen)} images, so that the page stays small enough to be mailed."
                break
            photos.append(photo)
            spent += size
        if self.disputed:
            what = (
                f"The records disagree about what {self.disputed} of these images look like: of these no ground truth"
            )
            note = f"{note} {what} is shown." if note else f"{what} is shown."
        columns = [c for number in self.groups for c in self.board.of_group(number) if c.id in self.metrics]
        shown = any(thumbnail.source for photo in photos for thumbnail in photo.predictions)
        if allowed and pictured and not shown:
            note = "The images beside these records are not those that they were made with."
        sources = dict.fromkeys(self.board.groups[number].source for number in self.groups)
        credit = "; ".join(source for source in sources if source) if shown else ""
        return Gallery(self.group.dataset, tuple(self.groups), tuple(columns), tuple(photos), shown, note, credit)

    def _chosen(self, among: set[str]) -> list[tuple[str, tuple[str, ...]]]:
        """Return (content hash, reasons) of the images to show: the fixed sample first, then the ends."""
        often = {hash: sum(hash in saved for saved in self.saved.values()) for hash in among}
        ends = self._ends(among, often)
        # Part of the fixed sample is what most records say is: one record's index decides nothing.
        marked = {
            hash: [("fixed" in saved[hash].reasons) for saved in self.saved.values() if hash in saved] for hash in among
        }
        fixed = [hash for hash in among if marked[hash] and 2 * sum(marked[hash]) >= len(marked[hash])]
        if not fixed:
            fixed = list(among)
        fixed.sort(key=lambda hash: (-often[hash], id_hash(self.ids.get(hash) or hash), hash))
        extra = [
            hash for hash in dict.fromkeys(hash for hashes in ends.values() for hash in hashes) if hash not in fixed
        ]
        # The ends have their places, whether or not they are of the fixed sample, which fills what is left.
        room = IMAGES - len({hash for hashes in ends.values() for hash in hashes})
        plain = [hash for hash in fixed if not any(hash in hashes for hashes in ends.values())][:room]
        chosen = [hash for hash in fixed if hash in plain or any(hash in hashes for hashes in ends.values())] + extra
        reasons = {hash: [reason for reason, hashes in ends.items() if hash in hashes] for hash in chosen}
        return [(hash, tuple((["sample"] if hash in fixed else []) + reasons[hash])) for hash in chosen]

    def _ends(self, among: Iterable[str], often: Mapping[str, int]) -> dict[str, list[str]]:
        """Return best, worst and most disputed images by the headline, of the competitors.

        Those that most models show.
        """
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
        half = min(EACH_END, len(table) // 2)
        ends = {
            "best": _farthest({hash: sign * mean for hash, (mean, _) in table.items()}, half),
            "worst": _farthest({hash: -sign * mean for hash, (mean, _) in table.items()}, half),
        }
        if len(scores) > 1:
            ends["most disputed"] = _farthest(
                {hash: -spread for hash, (_, spread) in table.items() if spread > 0}, EACH_END
            )
        return ends

    def _leave_out_the_outvoted(self, hashes: Sequence[str]) -> None:
        """Ask no record about any ground truth that shows another one than the ground truth's own record somewhere."""
        outvoted = {
            sha256
            for hash in hashes
            for kind in ("truth", "gray")
            for sha256 in agreed(kind, self.by_image[hash], self.size).outvoted
        }
        for hash, saved in self.by_image.items():
            self.by_image[hash] = [one for one in saved if one.entry.sha256 not in outvoted]

    def _photo(self, hash: str, reasons: tuple[str, ...], *, thumbnails: bool) -> tuple[Photo, int]:
        predictions: list[Thumbnail] = []
        truth: str | None = None
        gray: str | None = None
        for row, found in self.entries.items():
            saved = self.saved[row].get(hash)
            source = None
            if thumbnails and saved is not None:
                entry, thumbnail = saved.entry, saved.thumbnail
                source = self._prediction(entry, thumbnail)
            if found:
                predictions.append(Thumbnail(row, source))
        if thumbnails:
            found_truth = agreed("truth", self.by_image[hash], self.size)
            truth, gray = found_truth.source, agreed("gray", self.by_image[hash], self.size).source
            self.disputed += found_truth.disputed
        scores = {
            column: {row: _rounded(of[hash]) for row, of in rows.items() if hash in of}
            for column, rows in self.metrics.items()
        }
        photo = Photo(clean(self.ids.get(hash, hash[:16]), 160), hash, reasons, truth, gray, tuple(predictions), scores)
        return photo, sum(len(one) * 3 // 4 for one in (truth, gray, *(a.source for a in predictions)) if one)

    def _prediction(self, entry: Entry, thumbnail: SavedImage) -> str | None:
        if self.size == "large":
            large = large_prediction(entry, thumbnail.id)
            if large is not None:
                return large
        return embedded(entry, thumbnail.prediction, self.size)


def _farthest(positions: Mapping[str, float], count: int) -> list[str]:
    """Return the ``count`` images of lowest place; none of those that tie with the first that is left out."""
    order = sorted(positions, key=lambda hash: (positions[hash], hash))
    chosen = order[:count]
    return [hash for hash in chosen if len(order) <= count or positions[hash] < positions[order[count]]]


def _rounded(value: float) -> float:
    """Round to four digits, which a caption shows."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    return float(f"{value:.5g}")
