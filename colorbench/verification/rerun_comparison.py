"""``verify --rerun K``: comparison of stored numbers with a new evaluation of K random images.

K random images are colorized and scored again, and every number of their rows is compared. The model runs in a separate
process that gets only lightness: random ids, scaled sizes, no true colors, and no access to the files of the dataset.
It predicts twice, with other ids and in another order; the predictions must agree. The check of a run's first image is
similar but runs in the same process, where a malicious model can still find the colors.

On the machine that wrote a record the numbers are equal. On other machines the last digits of a network differ, and
after rounding to 8 bits also some pixels, so there is a tolerance. It depends on the new values only, never on the
stored ones.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from PIL import Image

from colorbench.data import prediction_names
from colorbench.errors import OtherVersionError, PluginError, UnknownNameError, UserError
from colorbench.evaluation import ImageProtocol, Scorer, thumbnail
from colorbench.results import LoadedRun, saved_names
from colorbench.storage import InvalidImage, decode_saved_image, is_inside, read_plain
from colorbench.storage.limits import LARGEST_FILE
from colorbench.verification import recorded_protocol
from colorbench.verification.metric_checks import load_arrays
from colorbench.verification.rerun_measurement import PREDICTION, NotLoadable, Remeasured, Wanted, load_named, measure
from colorbench.verification.saved_image_checks import all_ids
from colorbench.verification.verification_schema import Findings, Rerun

TOLERANCE = 2e-3
"""Largest |stored - new| / max(1, |new|) of a row. An AuC of 90 may differ by 0.18, a CIEDE2000 of 10 by 0.02; the
scores of two different networks differ by more on most images."""
MEAN_TOLERANCE = 4e-4
"""The same for the mean over the drawn images: rounding differences have both signs, a forgery only one."""
ARRAYS = 0.01
"""Largest share of an image's counts that rounding may move to another bin."""
SAVED = 3.0
"""Largest mean difference (of 255) between encoders in a saved image."""


def rerunner(wanted: Wanted) -> Callable[[LoadedRun, Findings], Rerun | None]:
    """Return the function that ``verify`` calls to compare a record with a rerun."""

    def again(stored: LoadedRun, findings: Findings) -> Rerun | None:
        try:
            return _rerun(stored, wanted, findings)
        except (NotLoadable, UnknownNameError, PluginError, OtherVersionError) as error:
            findings.say("rerun", "unchecked", str(error))
        except UserError as error:
            findings.say("rerun", "fails", str(error))
        return None

    return again


def _rerun(stored: LoadedRun, wanted: Wanted, findings: Findings) -> Rerun:
    record = stored.record
    protocol = recorded_protocol.protocol_of(record)
    if not isinstance(protocol, ImageProtocol):
        raise NotLoadable(f"protocol {record.protocol.name} is not an image protocol: nothing can be rerun")
    model = load_named(record, wanted)
    drawn = np.random.default_rng(wanted.seed).permutation(len(stored.rows))[: wanted.count]
    positions = {str(stored.rows["id"].iloc[int(position)]): int(position) for position in sorted(drawn)}
    known = {sample.id: sample for sample in wanted.images.samples}
    absent = [id for id in positions if id not in known]
    if absent:
        raise UserError(f"{len(absent)} of {len(positions)} images are not in the given dataset", where=absent[0])
    scorer = recorded_protocol.scorer_of(record, protocol, lambda: wanted.images, trusted=True)
    if scorer is None:
        raise NotLoadable("a parameter of the protocol names a file that does not exist")
    again = measure(record, model, scorer, [known[id] for id in sorted(positions)], wanted)
    largest = _compare(stored, scorer, again, positions, findings, model.full_name, wanted.seed)
    largest = min(largest, 1e9)  # NaN in place of a number counts as infinite, which JSON cannot hold
    return Rerun(images=len(positions), seed=wanted.seed, largest=largest, tolerance=TOLERANCE, ids=list(positions))


def _compare(
    stored: LoadedRun,
    scorer: Scorer,
    again: Remeasured,
    positions: Mapping[str, int],
    findings: Findings,
    model: str,
    seed: int,
) -> float:
    """Compare rows, arrays and saved images with the new values; return the largest deviation."""
    largest = 0.0
    arrays = _arrays(stored)
    # Columns that depend on the whole dataset (``auc.prior=dataset``) differ for a subset.
    of_the_set: set[str] = set()
    if arrays or not stored.record.files.arrays:
        of_the_set = set(scorer.summarize(stored.columns, arrays).statistics or {})

    def departures() -> Iterator[str]:
        nonlocal largest
        yield from again.wrong
        for id in again.ids:
            yield from _fact_departures(stored, again, positions[id], id)
        for name, values in again.columns.items():
            if name in of_the_set:
                continue
            if name not in stored.columns:
                yield f"the rows do not contain the column {name}"
                continue
            ids = list(values)
            now = np.array([values[id] for id in ids])
            apart = departure(stored.columns[name][[positions[id] for id in ids]], now)
            largest = max(largest, float(np.abs(apart).max(initial=0.0)))
            if (np.abs(apart) > TOLERANCE).any():
                first = ids[int(np.abs(apart).argmax())]
                count = int((np.abs(apart) > TOLERANCE).sum())
                yield f"{name} of {count} images came out different, most for {first}"
            elif len(ids) > 4 and abs(float(apart.mean())) > MEAN_TOLERANCE:
                yield f"{name} came out shifted: by {float(apart.mean()):+.2g} on average"
        for name, of_ids in again.arrays.items():
            if name in arrays:
                yield from _array_departures(name, arrays[name], of_ids, positions)
        yield from _saved_departures(stored, again)

    holds = f"{len(positions)} images rerun with {model} (chosen with seed {seed})"
    findings.settle("rerun", departures(), holds)
    return largest


def departure(stored: np.ndarray, again: np.ndarray) -> np.ndarray:
    """Compute the deviation of stored numbers from those of a rerun, in the unit of ``TOLERANCE``.

    Args:
        stored: (m,) values of the rows.
        again: (m,) new values.

    Returns:
        (m,) signed; infinite if only one of both is NaN.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(stored == again, 0.0, (stored - again) / np.maximum(1.0, np.abs(again)))
    apart = np.where(np.isnan(stored) & np.isnan(again), 0.0, apart)
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf, neginf=-np.inf)


def _fact_departures(stored: LoadedRun, again: Remeasured, position: int, id: str) -> Iterator[str]:
    if again.sha256s[id] != stored.sha256s[position]:
        yield f"{id} is a different image here (other sha256)"
        return
    gray, label, size = again.facts[id]
    row = stored.rows.iloc[position]
    if bool(row["gray"]) != gray:
        yield f"{id} is {'gray' if gray else 'not gray'}, the row says otherwise"
    if (int(row["height"]), int(row["width"])) != tuple(size):
        yield f"{id} is {size[0]} x {size[1]}, the row says {row['height']} x {row['width']}"
    if label is not None and label != row["label"]:
        yield f"{id} has the label {label}, the row says {row['label']}"


def _arrays(stored: LoadedRun) -> dict[str, np.ndarray]:
    try:
        return load_arrays(stored)
    except UserError:
        return {}  # a finding of its own


def _array_departures(
    name: str, stored: np.ndarray, again: Mapping[str, np.ndarray], positions: Mapping[str, int]
) -> Iterator[str]:
    for id, values in again.items():
        recomputed, claimed = np.asarray(stored[positions[id]], np.float64), np.asarray(values, np.float64)
        if recomputed.shape != claimed.shape or not np.abs(recomputed - claimed).sum() <= ARRAYS * max(
            1.0, np.abs(claimed).sum()
        ):
            yield f"the array {name} of {id} came out different"
            return


def _saved_departures(stored: LoadedRun, again: Remeasured) -> Iterator[str]:
    """Yield saved images and predictions that differ from the new predictions."""
    names = prediction_names(all_ids(stored))
    saved = stored.record.files.saved_images
    for id, seen in again.seen.items():
        saved_name = f"thumbnails/{saved_names(id)[0]}"
        small = np.asarray(Image.open(io.BytesIO(thumbnail(Image.fromarray(seen)))).convert("RGB"))
        wanted = [(saved_name, small, SAVED)] if saved_name in saved else []
        if "predictions.sha256" in saved:
            wanted.append((f"predictions/{names[id]}", seen, PREDICTION))
        for name, image, allowed in wanted:
            path = is_inside(stored.folder, name)
            if path is None:
                continue  # passed on without it
            try:
                data = read_plain(path, LARGEST_FILE, missing="no image", hint="copy it")
                recomputed = np.asarray(decode_saved_image(data, largest_side=max(image.shape)).image)
            except (UserError, InvalidImage):
                recomputed = np.zeros(0)
            if recomputed.shape != image.shape or np.abs(recomputed.astype(int) - image.astype(int)).mean() > allowed:
                yield f"{name} is not the prediction of the model for {id}"
