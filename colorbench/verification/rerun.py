"""``verify --rerun K``: are the stored numbers those of the named model?

K images, drawn at random by the verifier, are colorized and scored once more, and every number of their rows is
compared. The model is asked in a process of its own that is given lightness alone: random ids, scaled sizes, no true
colors, and no way to the files of the dataset (``ask_apart``). It is asked twice, under other ids and in another order:
an honest model's prediction cannot change. ``model_check`` looks for the same at a run's first image; that check is
quick and within the process, where a model that is bent on it can still find what it should not.

On the machine that made a record the numbers come out equal. On another a network's last digits differ, and with them,
after rounding to 8 bits, some pixels: hence a tolerance. It is wide for a pixel and narrow for a lie, and follows from
what was measured again, never from what is stored.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from colorbench.data import Dataset, Sample, get_preprocessing, load_batches
from colorbench.data.loader import LoadedBatch
from colorbench.errors import OtherVersionError, PluginError, UnknownNameError, UserError
from colorbench.evaluation import GroundTruth, ImageProtocol, Prediction, Scorer, device, image_writer
from colorbench.evaluation.predict import checked, colorize, seed_of
from colorbench.models import ColorPrediction, LoadedModel, load_model
from colorbench.models.image_folder import ImageFolderModel
from colorbench.models.names import parse_name
from colorbench.results import LoadedRun, Record, image_index
from colorbench.storage import is_inside, read_plain
from colorbench.storage.safe_read import LARGEST_FILE
from colorbench.verification import recompute
from colorbench.verification.check_images import all_ids
from colorbench.verification.check_model import by_name, decoding_of
from colorbench.verification.check_numbers import load_arrays
from colorbench.verification.isolated_model import Apart
from colorbench.verification.schema import Findings, Rerun

TOLERANCE = 2e-3
"""Largest |stored - measured again| / max(1, |measured again|) of a row. An AuC of 90 may move by 0.18, a CIEDE2000 of
10 by 0.02; scores of two networks differ by more on most images."""
MEAN_TOLERANCE = 4e-4
"""The same for the mean over the images drawn: last digits fall to either side, a lie to one."""
PREDICTION = 0.05
"""Mean distance in ab, or of 255 in RGB, that a batch's order may make in a prediction."""
ARRAYS = 0.01
"""Share of an image's counts that rounding may move to another bin."""
SAVED = 3.0
"""Mean distance of 255 that another encoder may make in a saved image."""
LOADABLE = "only installed models are loaded by the name that a record gives"


@dataclass(frozen=True)
class Wanted:
    """What the caller says of a rerun."""

    count: int
    """Images to draw."""
    images: Dataset
    """The set that the record was measured on."""
    seed: int
    """Seed of the draw. It must be random: a forger could spare the images of a known draw."""
    model: str | None = None
    """A model to take in place of the one that the record names."""
    weights: Path | None = None
    device: str = "auto"
    batch_size: int = 16


class NotLoadable(UserError):
    """The record's model or protocol is not here: nothing can be measured again, and nothing is wrong."""


def rerunner(wanted: Wanted) -> Callable[[LoadedRun, Findings], Rerun | None]:
    """Return what ``verify`` calls to measure images again."""

    def again(stored: LoadedRun, findings: Findings) -> Rerun | None:
        try:
            return _rerun(stored, wanted, findings)
        except (NotLoadable, UnknownNameError, PluginError, OtherVersionError) as error:
            findings.say("rerun", "unchecked", str(error))
        except UserError as error:
            findings.say("rerun", "fails", str(error))
        return None

    return again


@dataclass
class _Again:
    """What came out of measuring images again."""

    ids: list[str] = field(default_factory=list)
    sha256s: dict[str, str] = field(default_factory=dict)
    facts: dict[str, tuple[bool, int | None, tuple[int, int]]] = field(default_factory=dict)
    """Id -> gray, label and own size."""
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    """Column -> id -> value."""
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    seen: dict[str, np.ndarray] = field(default_factory=dict)
    """Id -> (H, W, 3) uint8 that was scored."""
    wrong: list[str] = field(default_factory=list)


def _rerun(stored: LoadedRun, wanted: Wanted, findings: Findings) -> Rerun:
    record = stored.record
    protocol = recompute.protocol_of(record)
    if not isinstance(protocol, ImageProtocol):
        raise NotLoadable(f"protocol {record.protocol.name} does not go image by image: nothing can be measured again")
    model = load_named(record, wanted)
    drawn = np.random.default_rng(wanted.seed).permutation(len(stored.rows))[: wanted.count]
    positions = {str(stored.rows["id"].iloc[int(position)]): int(position) for position in sorted(drawn)}
    known = {sample.id: sample for sample in wanted.images.samples}
    absent = [id for id in positions if id not in known]
    if absent:
        raise UserError(f"{len(absent)} of {len(positions)} images are not among those given", where=absent[0])
    scorer = recompute.scorer_of(record, protocol, lambda: wanted.images, trusted=True)
    if scorer is None:
        raise NotLoadable("a parameter of the protocol names a file that is not here")
    again = _measured(record, model, scorer, [known[id] for id in sorted(positions)], wanted)
    largest = _compare(stored, scorer, again, positions, findings, model.full_name, wanted.seed)
    largest = min(largest, 1e9)  # NaN for a number counts as infinite, which no JSON holds
    return Rerun(images=len(positions), seed=wanted.seed, largest=largest, tolerance=TOLERANCE, ids=list(positions))


def load_named(record: Record, wanted: Wanted) -> LoadedModel:
    """Return the model of a record.

    Raises:
        NotLoadable: for a model that is not installed here (a file or folder that a record names is not opened unless
            the caller names it too).
        UserError: for one that is not the record's.
    """
    name = record.model.name
    if wanted.model is None and not by_name(name):
        raise NotLoadable(LOADABLE, where=name[:200], hint="name it with --model (and --weights)")
    decode, temperature = decoding_of(record.model.decoding)
    model = load_model(wanted.model or name, decode=decode, temperature=temperature, weights=wanted.weights)
    if isinstance(model.colorizer, ImageFolderModel):
        return model  # their hash is over the images of all images
    for what, recomputed, claimed in (
        ("name", model.full_name, name if wanted.model is None else model.full_name),
        ("weights", model.weights_sha256, record.model.weights_sha256),
        ("decoding", dict(model.decoding), record.model.decoding),
        ("role", model.card.role, record.model.card.role),
    ):
        if recomputed != claimed:
            raise UserError(f"the model is another here: {what} {recomputed}, the record says {claimed}")
    return model


def _measured(record: Record, model: LoadedModel, scorer: Scorer, samples: Sequence[Sample], wanted: Wanted) -> _Again:
    """Colorize and score images again."""
    again = _Again()
    preprocessing = get_preprocessing(scorer.preprocessing)
    with ExitStack() as stack:
        stack.enter_context(device.numerics(None))
        apart = None
        if isinstance(model.colorizer, ImageFolderModel):
            # Stored predictions are looked up by the image's name: there is nothing to be asked of lightness.
            model.prepare(tuple(sample.id for sample in samples))
        else:
            apart = stack.enter_context(Apart(_settings(record, wanted), wanted.images.samples))
        for batch in load_batches(samples, preprocessing, batch_size=wanted.batch_size, workers=0):
            again.wrong += [f"{one.id} could not be evaluated: {one.reason}" for one in batch.skipped]
            if not batch.ids:
                continue
            truth = GroundTruth(batch.ids, batch.rgb8, batch.gray, batch.labels)
            if apart is None:
                dtype = device.dtype_of(record.execution.dtype)
                colorization = colorize(model, truth, batch.sizes, record.execution.seed, preprocessing.name, dtype)
            else:
                colorization = _asked(apart, model, truth, batch, record, preprocessing.name, again)
            _score(scorer, colorization, batch, again)
    return again


def _settings(record: Record, wanted: Wanted) -> dict[str, Any]:
    decode, temperature = decoding_of(record.model.decoding)
    asked = parse_name(wanted.model or record.model.name).absolute()
    weights = asked.weights if wanted.weights is None else wanted.weights.resolve()
    return {
        "name": asked.name,
        "decode": decode if asked.decode is None else asked.decode,
        "temperature": temperature if asked.temperature is None else asked.temperature,
        "weights": None if weights is None else str(weights),
        "contract": asked.contract,
        "device": wanted.device,
        "dtype": record.execution.dtype,
    }


def _asked(
    apart: Apart,
    model: LoadedModel,
    truth: GroundTruth,
    batch: LoadedBatch,
    record: Record,
    preprocessing: str,
    again: _Again,
) -> Prediction:
    """Ask twice, under other ids, sizes and in another order; the first answer, checked."""
    # Records without a fingerprint are of the time when seeds followed the names of files.
    seeded_by = batch.ids if record.fingerprint is None else batch.sha256s
    own_seeds = [seed_of(record.execution.seed, one) for one in seeded_by]
    reference = model.card.role == "reference"  # the installed card's, which is the record's
    predictions = []
    for order in (np.arange(len(batch.ids)), np.arange(len(batch.ids))[::-1]):
        scale = 1 + secrets.randbelow(1000) / 500
        seeds = [own_seeds[position] if apart.stochastic else secrets.randbits(63) for position in order]
        arrays = {
            "lightness": truth.lightness.numpy()[order],
            # Of the same aspect, which a model may use, and of a size that tells no image from another.
            "sizes": np.array([[max(1, round(side * scale)) for side in batch.sizes[position]] for position in order]),
            "seeds": np.array(seeds, dtype=np.int64),
        }
        if reference:
            arrays["truth"] = batch.rgb8.numpy()[order]
        given, refused = apart.ask(
            arrays, {"ids": [secrets.token_hex(8) for _ in order], "preprocessing": preprocessing}
        )
        for what in refused:
            if (line := f"while it was asked, the model was refused: {what}") not in again.wrong:
                again.wrong.append(line)
        predictions.append(
            {name: values[np.argsort(order)] for name, values in given.items() if len(values) == len(order)}
        )
    colors = ColorPrediction(**{name: torch.from_numpy(values) for name, values in predictions[0].items()})
    for position, id in enumerate(batch.ids):
        if not same_prediction(predictions[0], predictions[1], position):
            again.wrong.append(f"the prediction of {id} changes with the image's name, size or place in the batch")
    return checked(model.full_name, colors, truth)


def same_prediction(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], position: int) -> bool:
    """Return whether two predictions of a model agree on one image."""
    if one.keys() != other.keys():
        return False
    with np.errstate(invalid="ignore"):
        return all(
            values.shape == other[name].shape
            and float(np.abs(values[position].astype(np.float64) - other[name][position]).mean()) <= PREDICTION
            for name, values in one.items()
        )


def _score(scorer: Scorer, colorization: Prediction, batch: LoadedBatch, again: _Again) -> None:
    scored = scorer.score(colorization)
    again.ids += batch.ids
    again.sha256s |= dict(zip(batch.ids, batch.sha256s, strict=True))
    for id, gray, label, size in zip(batch.ids, batch.gray, batch.labels, batch.sizes, strict=True):
        again.facts[id] = (gray, label, size)
    for name, values in scored.columns.items():
        again.columns.setdefault(name, {}).update(zip(batch.ids, map(float, values), strict=True))
    for name, values in scored.arrays.items():
        again.arrays.setdefault(name, {}).update(zip(batch.ids, values, strict=True))
    seen = colorization.rgb8.permute(0, 2, 3, 1).cpu().numpy()
    again.seen.update(zip(batch.ids, seen, strict=True))


def _compare(
    stored: LoadedRun,
    scorer: Scorer,
    again: _Again,
    positions: Mapping[str, int],
    findings: Findings,
    model: str,
    seed: int,
) -> float:
    """Hold the rows, arrays and saved images against what was measured; the largest departure."""
    largest = 0.0
    arrays = _arrays(stored)
    # Columns that follow from the whole set (``auc.prior=dataset``): another set gives other ones.
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
                yield f"the rows lack the column {name}"
                continue
            ids = list(values)
            now = np.array([values[id] for id in ids])
            apart = departure(stored.columns[name][[positions[id] for id in ids]], now)
            largest = max(largest, float(np.abs(apart).max(initial=0.0)))
            if (np.abs(apart) > TOLERANCE).any():
                first = ids[int(np.abs(apart).argmax())]
                count = int((np.abs(apart) > TOLERANCE).sum())
                yield f"{name} of {count} images came out otherwise, most of {first}"
            elif len(ids) > 4 and abs(float(apart.mean())) > MEAN_TOLERANCE:
                yield f"{name} came out otherwise on one side: by {float(apart.mean()):+.2g} in the mean"
        for name, of_ids in again.arrays.items():
            if name in arrays:
                yield from _array_departures(name, arrays[name], of_ids, positions)
        yield from _saved_departures(stored, again)

    holds = f"{len(positions)} images measured again with {model} (draw {seed})"
    findings.settle("rerun", departures(), holds)
    return largest


def departure(stored: np.ndarray, again: np.ndarray) -> np.ndarray:
    """Return how far stored numbers are from those measured again, in the unit of ``TOLERANCE``.

    Args:
        stored: (m,) as in the rows.
        again: (m,) what came out.

    Returns:
        (m,) signed; infinite where one is a number and the other is none.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(stored == again, 0.0, (stored - again) / np.maximum(1.0, np.abs(again)))
    apart = np.where(np.isnan(stored) & np.isnan(again), 0.0, apart)
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf, neginf=-np.inf)


def _fact_departures(stored: LoadedRun, again: _Again, position: int, id: str) -> Iterator[str]:
    if again.sha256s[id] != stored.sha256s[position]:
        yield f"{id} is another image here (other sha256)"
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
            yield f"the array {name} of {id} came out otherwise"
            return


def _saved_departures(stored: LoadedRun, again: _Again) -> Iterator[str]:
    """Yield saved images and predictions that differ from what the model gives."""
    names = image_writer.prediction_names(all_ids(stored))
    saved = stored.record.files.saved_images
    for id, seen in again.seen.items():
        thumbnail = f"thumbnails/{image_index.saved_names(id)[0]}"
        small = np.asarray(Image.open(io.BytesIO(image_writer.thumbnail(Image.fromarray(seen)))).convert("RGB"))
        wanted = [(thumbnail, small, SAVED)] if thumbnail in saved else []
        if "predictions.sha256" in saved:
            wanted.append((f"predictions/{names[id]}", seen, PREDICTION))
        for name, image, allowed in wanted:
            path = is_inside(stored.folder, name)
            if path is None:
                continue  # passed on without
            try:
                data = read_plain(path, LARGEST_FILE, missing="no image", hint="copy it")
                with Image.open(io.BytesIO(data), formats=["WEBP", "PNG"]) as opened:
                    recomputed = np.asarray(opened.convert("RGB")) if opened.size == image.shape[1::-1] else np.zeros(0)
            except (UserError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                recomputed = np.zeros(0)
            if recomputed.shape != image.shape or np.abs(recomputed.astype(int) - image.astype(int)).mean() > allowed:
                yield f"{name} is not the model's prediction of {id}"
