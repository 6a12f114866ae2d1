"""Repeated prediction and scoring of some images of a record by the named model, for ``verify --rerun``.

The model runs in a separate process that gets only lightness: random ids, scaled sizes, no true colors, and no access
to the files of the dataset (see ``isolated_model``). It predicts twice, with other ids and in another order; the
predictions must agree.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from colorbench.data import Dataset, LoadedBatch, Sample, get_preprocessing, load_batches
from colorbench.errors import UserError
from colorbench.evaluation import GroundTruth, Prediction, Scorer, further_of, numerics
from colorbench.evaluation.devices_and_memory import dtype_of
from colorbench.evaluation.predict import checked, colorize
from colorbench.models import LoadedModel, load_model
from colorbench.models.model_names import parse_name
from colorbench.models.sampled_and_guided_predictions import in_place, seed_of, told_of
from colorbench.results import Record
from colorbench.verification.isolated_model import Apart, given_colors
from colorbench.verification.model_checks import LOADABLE, by_name, decoding_of, needed_option

PREDICTION = 0.05
"""Largest mean difference of a prediction, in ab or in RGB levels of 255, between orders of a batch."""


@dataclass(frozen=True)
class Wanted:
    """Request for a rerun."""

    count: int
    """Number of images to draw."""
    images: Dataset
    """The dataset of the record."""
    seed: int
    """Seed of the draw. It must be random, since a forger could avoid the images of a known draw."""
    model: str | None = None
    """A model that replaces the one named in the record."""
    weights: Path | None = None
    device: str = "auto"
    batch_size: int = 16


class NotLoadable(UserError):
    """Error: the record's model or protocol is not available, so that a rerun is not possible."""


@dataclass
class Remeasured:
    """Results of a rerun."""

    ids: list[str] = field(default_factory=list)
    sha256s: dict[str, str] = field(default_factory=dict)
    facts: dict[str, tuple[bool, int | None, tuple[int, int]]] = field(default_factory=dict)
    """Id -> gray flag, label and original size."""
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    """Column -> id -> value."""
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    seen: dict[str, np.ndarray] = field(default_factory=dict)
    """Id -> rendered prediction, (H, W, 3) uint8."""
    wrong: list[str] = field(default_factory=list)


def load_named(record: Record, wanted: Wanted) -> LoadedModel:
    """Load the model of a record for a rerun.

    Raises:
        NotLoadable: for a model that is not installed (files and folders named in a record are opened only if the
            caller names them, too).
        UserError: for a model that differs from the record's.
    """
    name = record.model.name
    if wanted.model is None and not by_name(name):
        raise NotLoadable(LOADABLE, where=name[:200], hint=needed_option(name))
    decode, temperature = decoding_of(record.model.decoding)
    model = load_model(wanted.model or name, decode=decode, temperature=temperature, weights=wanted.weights)
    if model.stored is not None:
        return model  # their hash is over the predictions for all images
    for what, recomputed, claimed in (
        ("name", model.full_name, name if wanted.model is None else model.full_name),
        ("weights", model.weights_sha256, record.model.weights_sha256),
        ("decoding", dict(model.decoding), record.model.decoding),
        ("role", model.card.role, record.model.card.role),
    ):
        if recomputed != claimed:
            raise UserError(f"the model is different here: {what} {recomputed}, the record says {claimed}")
    return model


def measure(
    record: Record, model: LoadedModel, scorer: Scorer, samples: Sequence[Sample], wanted: Wanted
) -> Remeasured:
    """Measure images again in a rerun: colorize and score them."""
    again = Remeasured()
    preprocessing = get_preprocessing(scorer.preprocessing)
    with ExitStack() as stack:
        stack.enter_context(numerics(None))
        apart = None
        if model.stored is not None:
            # Stored predictions are looked up by the image's name, so there is nothing to isolate.
            model.prepare(tuple(sample.id for sample in samples))
        else:
            apart = stack.enter_context(Apart(_settings(record, wanted), wanted.images.samples))
        for batch in load_batches(samples, preprocessing, batch_size=wanted.batch_size, workers=0):
            again.wrong += [f"{one.id} could not be evaluated: {one.reason}" for one in batch.skipped]
            if not batch.ids:
                continue
            truth = GroundTruth(batch.ids, batch.rgb8, batch.gray, batch.labels, batch.sha256s)
            if apart is None:
                dtype = dtype_of(record.execution.dtype)
                seed, request = record.execution.seed, further_of(scorer)
                colorization = colorize(model, truth, batch.sizes, seed, preprocessing.name, dtype, request)
            else:
                colorization = _asked(apart, model, scorer, truth, batch, record, again)
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
    scorer: Scorer,
    truth: GroundTruth,
    batch: LoadedBatch,
    record: Record,
    again: Remeasured,
) -> Prediction:
    """Predict twice, with different ids, sizes and order; return the first prediction after comparing both.

    What the scorer needs in addition to the usual prediction is requested both times, too.
    """
    # In records without a fingerprint, seeds depended on file names.
    seeded_by = batch.ids if record.fingerprint is None else batch.sha256s
    own_seeds = [seed_of(record.execution.seed, one) for one in seeded_by]
    reference = model.card.role == "reference"  # of the installed card, which equals the record's
    request = further_of(scorer)
    told = None if request is None else told_of(request, truth.contents, truth.ab, record.execution.seed)
    predictions = []
    for order in (np.arange(len(batch.ids)), np.arange(len(batch.ids))[::-1]):
        scale = 1 + secrets.randbelow(1000) / 500
        seeds = [own_seeds[position] if apart.stochastic else secrets.randbits(63) for position in order]
        arrays = {
            "lightness": truth.lightness.numpy()[order],
            # With the same aspect ratio, which a model may use, and a size that does not identify the image.
            "sizes": np.array([[max(1, round(side * scale)) for side in batch.sizes[position]] for position in order]),
            "seeds": np.array(seeds, dtype=np.int64),
        }
        if reference:
            arrays["truth"] = batch.rgb8.numpy()[order]
        if told is not None:
            arrays |= told.selected(order.tolist()).arrays()
        given, refused = apart.ask(
            arrays, {"ids": [secrets.token_hex(8) for _ in order], "preprocessing": scorer.preprocessing}
        )
        for what in refused:
            if (line := f"the model tried something that is not permitted: {what}") not in again.wrong:
                again.wrong.append(line)
        predictions.append(
            {name: values[np.argsort(order)] for name, values in given.items() if len(values) == len(order)}
        )
    usual, *further = (checked(model.full_name, colors, truth) for colors in given_colors(predictions[0]))
    if request is not None:
        usual.further[request] = in_place(request, usual, further)
    for position, id in enumerate(batch.ids):
        if not same_prediction(predictions[0], predictions[1], position):
            again.wrong.append(f"the prediction of {id} changes with the image's name, size or place in the batch")
    return usual


def same_prediction(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], position: int) -> bool:
    """Return whether two predictions that a rerun measured agree on one image."""
    if one.keys() != other.keys():
        return False
    with np.errstate(invalid="ignore"):
        return all(
            values.shape == other[name].shape
            and float(np.abs(values[position].astype(np.float64) - other[name][position]).mean()) <= PREDICTION
            for name, values in one.items()
        )


def _score(scorer: Scorer, colorization: Prediction, batch: LoadedBatch, again: Remeasured) -> None:
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
