"""Checks of the saved images of a record against its rows.

The index is recomputed. Of each thumbnail is checked that the gray one has the lightness of the ground truth, the
prediction has that lightness, too, and its distance from the ground truth is about the one in the rows. Thumbnails are
small and lossy, so tolerances are wide; ``--data`` and ``--rerun`` compare the images themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from colorbench.color import rgb_to_lab
from colorbench.errors import UserError
from colorbench.evaluation import ImageProtocol, get_protocol, numerics
from colorbench.evaluation.saved_image_writer import SIDE
from colorbench.metrics import mean_ciede2000
from colorbench.results import INDEX_NAME, LoadedRun, SavedImage, extreme_ids, fixed_ids, saved_names
from colorbench.storage import MEGABYTE, InvalidImage, decode_saved_image, is_inside, parse_json, read_plain
from colorbench.storage.limits import LARGEST_IMAGE
from colorbench.storage.safe_reading import left_out
from colorbench.verification.verification_schema import MOST_FINDINGS, Findings

LARGEST_THUMBNAIL = MEGABYTE
MOST_DECODED = 200
"""Largest number of images of a record that are decoded; usual are 32 (24 fixed, 8 best or worst)."""
GRAY = 3.0
"""Largest mean chroma of a gray thumbnail, due to compression."""
LIGHTNESS = 8.0
"""Largest mean distance in L of two thumbnails of one image."""
SAME = 0.75
"""CIEDE2000 below which two thumbnails show the same; compression of equal images gives 0."""
DISTANCE = 4.0
"""Tolerance of the distance between thumbnails, in addition to a third of the stored distance."""
LIGHTNESS_KEPT = "lightness_drift"
"""Column that shows whether a prediction's lightness differs from the input (stored predictions)."""

Thumbnails = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Id -> prediction, ground truth and gray, (h, w, 3) uint8 each."""


def check_saved_images(run: LoadedRun, findings: Findings) -> None:
    """Check the saved images, as far as thumbnails allow it."""
    if not any(name.startswith("thumbnails/") for name in run.record.files.saved_images):
        return
    headline = None
    try:
        protocol = get_protocol(run.record.protocol.name)
        if isinstance(protocol, ImageProtocol):
            direction = {spec.name: spec.higher_is_better for spec in protocol.spec.metrics}
            headline = (protocol.spec.headline, direction.get(protocol.spec.headline))
    except UserError:
        pass
    found: list[str] = []
    try:
        found += _image_findings(run, headline)
    except UserError as error:
        found.append(str(error))
    for one in found[:MOST_FINDINGS]:
        findings.say("saved images", "fails", one)
    findings.claim("saved images beyond the precision of thumbnails")


def _image_findings(run: LoadedRun, headline: tuple[str, bool | None] | None) -> Iterator[str]:
    """Yield the faults of the index and the thumbnails.

    Args:
        run: the record and its rows.
        headline: name and direction of the metric whose best and worst are saved; None if unknown.
    """
    names = {name for name in run.record.files.saved_images if name.startswith("thumbnails/")}
    if not names or all(left_out(run.folder, name) for name in names):
        return
    index = _read_index(run.folder)
    yield from _index_findings(run, index, names, headline)
    found: Thumbnails = {}
    evaluated = set(run.rows["id"])
    for one in [one for one in index if one.id in evaluated][:MOST_DECODED]:
        try:
            prediction, truth, gray = (_thumbnail(run.folder, name) for name in (one.prediction, one.truth, one.gray))
        except UserError as error:
            yield str(error)
            continue
        if not prediction.shape == truth.shape == gray.shape:
            yield f"the saved images of {one.id} differ in size"
            continue
        found[one.id] = (prediction, truth, gray)
    with numerics(1):  # images are too small for several threads
        yield from _thumbnail_findings(run, found)


def _read_index(folder: Path) -> list[SavedImage]:
    """Return the index of the saved images of an untrusted record.

    Raises:
        UserError: for an index that is missing, too large or invalid.
    """
    path = is_inside(folder, f"thumbnails/{INDEX_NAME}")
    hint = "copy the record's whole folder"
    if path is None:
        raise UserError("the saved images have no index", where=f"thumbnails/{INDEX_NAME}", hint=hint)
    data = read_plain(path, LARGEST_IMAGE, missing="the saved images have no index", hint=hint)
    try:
        return TypeAdapter(list[SavedImage]).validate_python(parse_json(data))
    except ValueError as error:
        raise UserError("not an index of saved images", where=f"thumbnails/{INDEX_NAME}", hint=hint) from error


def _index_findings(
    run: LoadedRun, index: list[SavedImage], names: set[str], headline: tuple[str, bool | None] | None
) -> Iterator[str]:
    location_of = {id: position for position, id in enumerate(run.rows["id"])}
    ids = [one.id for one in index]
    if len(set(ids)) != len(ids):
        yield "an image occurs twice in the index"
    for one in index:
        if one.id not in location_of:
            yield f"the index names an image that was not evaluated: {one.id[:200]}"
            continue
        position = location_of[one.id]
        if one.sha256 != run.sha256s[position]:
            yield f"the index and the rows have different sha256 of {one.id}"
        if (one.prediction, one.truth, one.gray) != saved_names(one.id):
            yield f"the index gives {one.id} the files of another image"
        for metric, score in one.scores.items():
            stored = run.columns.get(metric)
            row = None if stored is None or not np.isfinite(stored[position]) else float(stored[position])
            if (score is None) != (row is None) or (score is not None and row is not None and abs(score - row) > 1e-6):
                yield f"the index gives {one.id} another {metric} than the rows"
    listed = {f"thumbnails/{name}" for one in index for name in (one.prediction, one.truth, one.gray)} | {
        f"thumbnails/{INDEX_NAME}"
    }
    if listed != names:
        first = min(listed ^ names)[:200]
        yield f"{len(listed ^ names)} files are only in the index or only in the record, first {first}"
    if headline is not None and headline[0] in run.columns:
        yield from _reason_findings(run, index, headline[0], higher_is_better=headline[1])


def _reason_findings(
    run: LoadedRun, index: list[SavedImage], metric: str, *, higher_is_better: bool | None
) -> Iterator[str]:
    """Yield the images whose stated reason for being saved contradicts the rows."""
    evaluated = [str(id) for id in run.rows["id"]]
    fixed = fixed_ids(all_ids(run))
    wanted: dict[str, list[str]] = {id: ["fixed"] for id in evaluated if id in fixed}
    for end, ids in extreme_ids(evaluated, run.columns[metric], higher_is_better).items():
        for position, id in enumerate(ids, start=1):
            wanted.setdefault(id, []).append(f"{metric} {end} {position}")
    stored = {one.id: one.reasons for one in index}
    differ = [id for id in {**wanted, **stored} if wanted.get(id) != stored.get(id)]
    if differ:
        yield f"{len(differ)} images are saved for reasons that do not follow from the rows, first {differ[0][:200]}"


def all_ids(run: LoadedRun) -> list[str]:
    """Return the ids of all files that a saved image can belong to: evaluated, skipped, and copies of others."""
    data = run.record.dataset
    return [*map(str, run.rows["id"]), *(one.id for one in data.skipped), *(one.id for one in data.copies)]


def _thumbnail(folder: Path, name: str) -> np.ndarray:
    """Read a thumbnail, (h, w, 3) uint8; raise for a file that a run would not write."""
    path = is_inside(folder, f"thumbnails/{name}")
    if path is None:
        raise UserError("a saved image is missing", where=f"thumbnails/{name}"[:200])
    data = read_plain(path, LARGEST_THUMBNAIL, missing="a saved image is missing", hint="copy the whole folder")
    try:
        return np.asarray(decode_saved_image(data, formats=("WEBP",), largest_side=SIDE).image)
    except InvalidImage as error:
        raise UserError(f"a saved image is invalid: {error}", where=f"thumbnails/{name}"[:200]) from error


def _thumbnail_findings(run: LoadedRun, found: Thumbnails) -> Iterator[str]:
    """Yield contradictions between the thumbnails and the rows."""
    rows = run.rows.set_index("id")
    distances, measure = _distances_of(run)
    drift = run.columns.get(LIGHTNESS_KEPT)
    drifts = {} if drift is None else dict(zip(run.rows["id"], drift, strict=True))
    stored_images = run.record.model.name.startswith("images:") or run.record.model.package is None
    equal, colored = [], 0
    for id, images in found.items():
        prediction, truth, gray = (_lab(image) for image in images)
        if _chroma(gray) > GRAY:
            yield f"the gray image of {id} is not gray"
        if _apart(gray, truth) > LIGHTNESS:
            yield f"the grayscale image of {id} does not match its ground truth"
        # For predictions with another lightness (stored predictions), the rows show it in a column.
        allowed = LIGHTNESS + float(drifts.get(id, 50.0 if stored_images else 0.0))
        if _apart(prediction, truth) > allowed:
            yield f"the prediction of {id} differs in lightness from its ground truth"
        if bool(rows["gray"].loc[id]):
            if _chroma(truth) > GRAY:
                yield f"{id} is stated to be gray, but its saved ground truth is not"
            continue
        colored += 1
        if _ciede2000(prediction, truth) < SAME:
            equal.append(id)
        if id in distances and abs(measure(prediction, truth) - distances[id]) > DISTANCE + distances[id] / 3:
            what = f"{measure(prediction, truth):.1f} from its saved ground truth, the rows say {distances[id]:.1f}"
            yield f"the saved prediction of {id} is {what}"
    if run.record.model.card.role == "competitor" and colored and 2 * len(equal) > colored:
        yield f"{len(equal)} of {colored} saved predictions equal the ground truth, first {equal[0]}"


def _distances_of(run: LoadedRun) -> tuple[Mapping[str, float], Callable[[torch.Tensor, torch.Tensor], float]]:
    """Return id -> distance of the prediction from its ground truth, from the rows.

    The second value is a function that computes the same distance for thumbnails.

    None if the rows do not determine it, as for classifiers and participants.
    """
    column, measure = run.columns.get("ciede2000"), _ciede2000
    if column is None and "auc_raw" in run.columns and run.record.protocol.parameters.get("ab") == "rgb8":
        # The area is 100 - mean(d) / 1.5; with integer thresholds it is half a unit less.
        column, measure = 1.5 * (100 - run.columns["auc_raw"]), _ab_distance
    if column is None:
        return {}, measure
    known = zip(run.rows["id"], column, strict=True)
    return {str(id): float(value) for id, value in known if np.isfinite(value)}, measure


def _ciede2000(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(mean_ciede2000(one, other)[0])


def _ab_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one[:, 1:] - other[:, 1:]).norm(dim=1).mean())


def _lab(image: np.ndarray) -> torch.Tensor:
    return rgb_to_lab(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])


def _chroma(lab: torch.Tensor) -> float:
    return float(lab[:, 1:].norm(dim=1).mean())


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one[:, :1] - other[:, :1]).abs().mean())
