"""The gallery: the same images across models, with ground truth and gray, embedded in the page.

The images are the WebP thumbnails that runs save (24 images that are the same for every model, and the best and worst
of each metric) or, for ``large``, the saved predictions. See ``saved_images`` for how files are checked.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from colorbench.data import id_hash
from colorbench.results import SavedImage
from leaderboards.board_schema import Board, Column
from leaderboards.collected_records import Entry
from leaderboards.saved_images import SavedBy, Size, agreed, embedded, large_prediction, saved_images
from leaderboards.untrusted_text import clean, counted

BUDGETS: Mapping[Size, int] = {"small": 3_200_000, "large": 16_000_000}
"""Maximum size in bytes of all images of a page, before base64 encoding (a third more)."""
IMAGES = 24
"""Images of a dataset, unless a number is given."""
EACH_END = 4
"""Number of images with the best scores, the worst scores and the largest disagreement, each."""


@dataclass(frozen=True)
class Thumbnail:
    """One prediction."""

    row: str
    """Row of the board; ``truth`` and ``gray`` are not rows."""
    source: str | None
    """A data URI; None if no image was saved or may be shown."""


@dataclass(frozen=True)
class GalleryImage:
    """One image across models."""

    id: str
    sha256: str
    reasons: tuple[str, ...]
    """Why it was chosen: ``fixed sample``, ``best``, ``worst``, ``largest disagreement``."""
    truth: str | None
    gray: str | None
    predictions: tuple[Thumbnail, ...]
    scores: Mapping[str, Mapping[str, float]]
    """Column -> row -> score of this image."""


@dataclass(frozen=True)
class Gallery:
    """The images of one dataset."""

    dataset: str
    evaluation: str
    """Number of evaluated images, protocols and preprocessing, which tell galleries of one dataset apart."""
    groups: tuple[int, ...]
    columns: tuple[Column, ...]
    """Metrics by which its images can be sorted."""
    images: tuple[GalleryImage, ...]
    embedded: bool
    """Whether images are shown."""
    extent: str
    """How many of how many images there are, how they were selected, and how to get more."""
    note: str | None
    """Why there are no or fewer images than selected."""
    credit: str
    """Origin of the images, if they are shown."""


def galleries(
    board: Board,
    entries: Mapping[str, Mapping[int, Entry]],
    *,
    size: Size = "small",
    embed_all: bool = False,
    most: int | None = None,
) -> list[Gallery]:
    """Build one gallery per dataset, shared by all groups that use it.

    Args:
        board: see ``board_building.build``.
        entries: row -> group -> its record.
        size: size of the images.
        embed_all: also embed images whose redistribution rights are unknown or not given.
        most: maximum number of images of a dataset, whatever their size; None: ``IMAGES``, within ``BUDGETS``.
    """
    sets: dict[tuple[str, str, str], list[int]] = {}
    for group in board.groups:
        sets.setdefault((group.fingerprint, group.preprocessing, group.gray_policy), []).append(group.number)
    made = []
    budget = math.inf if most is not None else BUDGETS[size] // max(1, len(sets))
    for groups in sets.values():
        one = _Set(board, entries, groups, size, IMAGES if most is None else most)
        if one.metrics:
            made.append(one.gallery(embed_all, budget))
    return made


class _Set:
    """Scores and saved images of one dataset."""

    def __init__(
        self, board: Board, entries: Mapping[str, Mapping[int, Entry]], groups: Sequence[int], size: Size, most: int
    ) -> None:
        self.board, self.groups, self.size, self.most = board, groups, size, most
        self.group = board.groups[groups[0]]
        self.entries = {
            row.id: [entries[row.id][number] for number in groups if number in entries[row.id]] for row in board.rows
        }
        self.entries = {row: found for row, found in self.entries.items() if found}
        self.saved = {row: saved_images(found) for row, found in self.entries.items()}
        self.by_image: dict[str, list[SavedBy]] = defaultdict(list)
        """Content hash -> saved images of all records."""
        for entry in (entry for found in self.entries.values() for entry in found):
            for hash, saved in saved_images([entry]).items():
                self.by_image[hash].append(saved)
        self.ids: dict[str, str] = {}
        """Content hash -> the most common id of the image."""
        self.metrics: dict[str, dict[str, _Scores]] = {}
        """Column -> row -> content hash -> score."""
        self.disputed = 0
        """Number of images for which the records show different ground truths."""
        self._places: list[tuple[pd.Series[str], dict[str, int]]] = []
        """Content hashes in the order of a record's rows, and the row of each; one entry for records of equal rows."""
        self._read_scores(entries)

    def _read_scores(self, entries: Mapping[str, Mapping[int, Entry]]) -> None:
        names: dict[str, Counter[str]] = defaultdict(Counter)
        for rows, count in _counted(one.run.rows for found in self.entries.values() for one in found):
            for hash, id in zip(rows["sha256"].tolist(), rows["id"].tolist(), strict=True):
                names[hash][str(id)] += count
        self.ids = {hash: min(often, key=lambda id: (-often[id], id)) for hash, often in names.items()}
        for number in self.groups:
            for column in self.board.of_group(number):
                found: dict[str, _Scores] = {}
                for row in self.entries:
                    entry = entries[row].get(number)
                    if entry is None or self.board.cells[row][column.id].value is None:
                        continue
                    if column.metric not in entry.run.columns:
                        continue
                    found[row] = _Scores(self._rows_of(entry), entry.run.columns[column.metric])
                if found:
                    self.metrics[column.id] = found

    def _rows_of(self, entry: Entry) -> Mapping[str, int]:
        hashes = entry.run.rows["sha256"]
        for known, rows in self._places:
            if known.equals(hashes):
                return rows
        self._places.append((hashes, {hash: row for row, hash in enumerate(hashes.tolist())}))
        return self._places[-1][1]

    @property
    def headline(self) -> Column | None:
        """The metric that decides which images are best and worst."""
        directed = [c for number in self.groups for c in self.board.of_group(number) if c.id in self.metrics]
        directed = [column for column in directed if column.higher_is_better is not None]
        return next((column for column in directed if column.headline), next(iter(directed), None))

    def gallery(self, embed_all: bool, budget: float) -> Gallery:
        """Return the chosen images with the predictions of all models."""
        allowed = embed_all or all(self.board.groups[number].redistributable for number in self.groups)
        pictured = {hash for saved in self.saved.values() for hash in saved}
        chosen = self._chosen(pictured if allowed and pictured else set(self.ids))
        if allowed:
            self._remove_outvoted([hash for hash, _ in chosen])
        note = None
        if not allowed:
            note = (
                "No thumbnails, only ids and scores: redistribution rights of these images are unknown or not given. "
                "Without --public they are shown."
            )
        elif not pictured:
            note = (
                "No thumbnails, only ids and scores: none are saved with these records. A run saves some, unless it "
                "has --save none."
            )
        images: list[GalleryImage] = []
        spent = 0
        for hash, reasons in chosen:
            image, size = self._image(hash, reasons, thumbnails=allowed)
            if images and spent + size > budget:
                note = (
                    f"Thumbnails of {len(images)} images fill the {budget / 1e6:.1f} MB that they may have here; "
                    f"--gallery-images {len(chosen)} sets no limit."
                )
                break
            images.append(image)
            spent += size
        if self.disputed:
            many = "1 image" if self.disputed == 1 else f"{self.disputed} images"
            what = f"The records show different ground truths for {many}; none is shown there."
            note = f"{note} {what}" if note else what
        columns = [c for number in self.groups for c in self.board.of_group(number) if c.id in self.metrics]
        shown = any(thumbnail.source for image in images for thumbnail in image.predictions)
        if allowed and pictured and not shown:
            note = "The image files beside these records are not those that the records were made with."
        sources = dict.fromkeys(self.board.groups[number].source for number in self.groups)
        credit = "; ".join(source for source in sources if source) if shown else ""
        return Gallery(
            self.group.dataset,
            self._evaluation(),
            tuple(self.groups),
            tuple(columns),
            tuple(images),
            shown,
            self._extent(len(images), len(pictured) if shown else 0),
            note,
            credit,
        )

    def _extent(self, count: int, pictured: int) -> str:
        """Return how many of the images are in the gallery, how they were selected, and how to get more.

        Args:
            count: images in the gallery.
            pictured: images of which a thumbnail is saved; 0 if none is shown.
        """
        n = self.group.n
        if count >= n:
            return f"All {counted(n, 'image')}."
        by = f" by {self.headline.title}" if self.headline else ""
        among = f" among the {pictured} with saved thumbnails" if count < pictured < n else ""
        text = f"{count} of {counted(n, 'image')}: a fixed random sample, and the best, the worst and those with the "
        text += f"largest disagreement{by}{among}."
        if count < (pictured or n):
            text += f" More: colorbench leaderboard build (or view) with --gallery-images {pictured or n}."
        if 0 < pictured < n:
            text += (
                " A run saves thumbnails of the fixed sample and of each model's best and worst images; with "
                "--save predictions it also writes every prediction to a file."
            )
        return text

    def _evaluation(self) -> str:
        protocols = dict.fromkeys(self.board.groups[number].protocol for number in self.groups)
        return f"{counted(self.group.n, 'image')} · {', '.join(protocols)} · {self.group.preprocessing}"

    def _chosen(self, among: set[str]) -> list[tuple[str, tuple[str, ...]]]:
        """Return (content hash, reasons) of the images to show: the fixed sample first, then the extremes."""
        often = Counter(hash for saved in self.saved.values() for hash in saved)
        ends = self._ends(sorted(among), often)
        # The fixed sample is decided by a majority of the records, not by the index of a single one.
        marked = Counter(hash for saved in self.saved.values() for hash, one in saved.items() if "fixed" in one.reasons)
        fixed = [hash for hash in among if marked[hash] and 2 * marked[hash] >= often[hash]]
        if not fixed:
            fixed = list(among)
        fixed.sort(key=lambda hash: (-often[hash], id_hash(self.ids.get(hash) or hash), hash))
        extra = [
            hash for hash in dict.fromkeys(hash for hashes in ends.values() for hash in hashes) if hash not in fixed
        ]
        # The extremes are always shown; the fixed sample fills the remaining places.
        extremes = {hash for hashes in ends.values() for hash in hashes}
        plain = [hash for hash in fixed if hash not in extremes][: max(0, self.most - len(extremes))]
        chosen = [hash for hash in fixed if hash in plain or hash in extremes] + extra
        # Then what runs saved as the best and worst by other metrics.
        others = sorted(among - set(fixed) - extremes, key=lambda hash: (-often[hash], hash))
        chosen += others[: max(0, self.most - len(chosen))]
        reasons = {hash: [reason for reason, hashes in ends.items() if hash in hashes] for hash in chosen}
        return [(hash, tuple((["fixed sample"] if hash in fixed else []) + reasons[hash])) for hash in chosen]

    def _ends(self, among: Sequence[str], often: Counter[str]) -> dict[str, list[str]]:
        """Return the images with the best and worst scores and the largest disagreement of the models by the headline.

        Only images that most models show are considered.
        """
        column = self.headline
        if column is None:
            return {}
        competitors = {row.id for row in self.board.competitors}
        scores = {row: of for row, of in self.metrics[column.id].items() if row in competitors} or self.metrics[
            column.id
        ]
        most = max(often.values(), default=0)
        rows: dict[int, np.ndarray] = {}  # of the images, once for all records of equal rows
        values = np.stack([of.of(among, rows) for of in scores.values()])  # (models, images)
        known = np.isfinite(values)
        shown = known.any(axis=0) & np.array([often[hash] * 2 >= most for hash in among], dtype=bool)
        means = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        spreads = np.where(known, values, -np.inf).max(axis=0) - np.where(known, values, np.inf).min(axis=0)
        table = {among[i]: (float(means[i]), float(spreads[i])) for i in np.flatnonzero(shown).tolist()}
        sign = -1.0 if column.higher_is_better else 1.0
        half = min(EACH_END, len(table) // 2)
        ends = {
            "best": _farthest({hash: sign * mean for hash, (mean, _) in table.items()}, half),
            "worst": _farthest({hash: -sign * mean for hash, (mean, _) in table.items()}, half),
        }
        if len(scores) > 1:
            ends["largest disagreement"] = _farthest(
                {hash: -spread for hash, (_, spread) in table.items() if spread > 0}, EACH_END
            )
        return ends

    def _remove_outvoted(self, hashes: Sequence[str]) -> None:
        """Ignore all images of a record that anywhere contradicts the record of the ground truth."""
        outvoted = {
            sha256
            for hash in hashes
            for kind in ("truth", "gray")
            for sha256 in agreed(kind, self.by_image[hash], self.size).outvoted
        }
        for hash, saved in self.by_image.items():
            self.by_image[hash] = [one for one in saved if one.entry.sha256 not in outvoted]

    def _image(self, hash: str, reasons: tuple[str, ...], *, thumbnails: bool) -> tuple[GalleryImage, int]:
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
        id = clean(self.ids.get(hash, hash[:16]), 160)
        image = GalleryImage(id, hash, reasons, truth, gray, tuple(predictions), scores)
        return image, sum(len(one) * 3 // 4 for one in (truth, gray, *(a.source for a in predictions)) if one)

    def _prediction(self, entry: Entry, thumbnail: SavedImage) -> str | None:
        if self.size == "large":
            large = large_prediction(entry, thumbnail.id)
            if large is not None:
                return large
        return embedded(entry, thumbnail.prediction, self.size)


class _Scores:
    """Finite scores of a record by content hash, without a dictionary of 50,000 entries for each model and metric."""

    def __init__(self, rows: Mapping[str, int], values: np.ndarray) -> None:
        self._rows, self._values = rows, values

    def __contains__(self, hash: str) -> bool:
        row = self._rows.get(hash)
        return row is not None and math.isfinite(self._values[row])

    def __getitem__(self, hash: str) -> float:
        return float(self._values[self._rows[hash]])

    def of(self, hashes: Sequence[str], known: dict[int, np.ndarray]) -> np.ndarray:
        """Return the score of each image; NaN where there is none.

        Args:
            hashes: of the images.
            known: their rows in records that were looked up before; added to.
        """
        if id(self._rows) not in known:
            known[id(self._rows)] = np.array([self._rows.get(hash, -1) for hash in hashes], dtype=np.int64)
        rows = known[id(self._rows)]
        return np.where(rows >= 0, self._values[rows], np.nan)


def _counted(tables: Iterable[pd.DataFrame]) -> list[tuple[pd.DataFrame, int]]:
    """Return tables with different ids or hashes of images, and how often each occurs."""
    found: list[tuple[pd.DataFrame, int]] = []
    for table in tables:
        names = table[["sha256", "id"]]
        for position, (known, count) in enumerate(found):
            if known.equals(names):
                found[position] = (known, count + 1)
                break
        else:
            found.append((names, 1))
    return found


def _farthest(positions: Mapping[str, float], count: int) -> list[str]:
    """Return the ``count`` lowest images, without those that tie with the first one not chosen."""
    order = sorted(positions, key=lambda hash: (positions[hash], hash))
    chosen = order[:count]
    return [hash for hash in chosen if len(order) <= count or positions[hash] < positions[order[count]]]


def _rounded(value: float) -> float:
    """Round to five significant digits, enough for a caption."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    return float(f"{value:.5g}")
