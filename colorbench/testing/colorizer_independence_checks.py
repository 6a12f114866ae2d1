"""Conformance checks that a prediction depends only on its own image and seed."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from colorbench.errors import UserError
from colorbench.evaluation import GroundTruth, Prediction, numerics
from colorbench.evaluation.first_image_checks import TOLERANCE, check_lightness_only, difference
from colorbench.evaluation.predict import Query, checked, predict
from colorbench.models import ColorizerInput, ColorPrediction, evaluation_mode
from colorbench.models.model_names import parse_name
from colorbench.models.networks import networks_of
from colorbench.models.prediction_units import unit_notes
from colorbench.testing.check_report import CheckFailed, CheckSkipped, ConformanceCheck
from colorbench.testing.colorizer_subject import PREPROCESSING, ModelSubject, resized, selected, sizes_of
from colorbench.testing.process_state import is_random
from colorbench.verification.isolated_model import Apart

HALF_TOLERANCE = 2.0
"""Largest mean absolute difference in ab between a prediction in bfloat16 and in float32. It is at most 0.4 for the
included models; a difference of 2.3 in Lab is just noticeable."""
DEVICE_TOLERANCE = 0.1
"""The same between two devices in float32, which sum in different orders."""
LEVELS = (0, 119, 255)
"""sRGB values of the constant images: black, gray with L = 50, white."""
THREAD_ROUNDS = 4
"""Batches that each of two threads predicts while the other one does."""
TINY = ((1, 1), (2, 3), (1, 64), (7, 5))


def _deterministic(subject: ModelSubject) -> str:
    apart = _largest(subject.usual(), subject.ask())
    if apart > TOLERANCE:
        drawn = is_random(subject.changed)
        hint = "use one generator per image, seeded with `inputs.seeds`"
        what = f"two predictions of the same images with the same seeds are {apart:.3g} apart in ab on average"
        raise CheckFailed(f"{what} (it uses {drawn[0]})" if drawn else what, hint)
    return "the same images with the same seeds get the same predictions"


def _seeds(subject: ModelSubject) -> str:
    apart = _largest(subject.usual(), subject.ask(seeds=tuple(seed ^ 1 for seed in subject.seeds)))
    stochastic = subject.model.card.stochastic
    if stochastic and apart <= TOLERANCE:
        hint = "seed all random numbers with `inputs.seeds`, or remove `stochastic`"
        raise CheckFailed("the card says stochastic, but other seeds give the same predictions", hint)
    if not stochastic and apart > TOLERANCE:
        raise CheckFailed(
            f"other seeds give other predictions, {apart:.3g} apart in ab on average, but the card does not say so",
            "set stochastic=True in the card",
        )
    return "other seeds give other predictions" if stochastic else "no influence"


def _batch(subject: ModelSubject) -> str:
    full = subject.usual()
    order = [3, 0, 5, 1]
    seeds = tuple(subject.seeds[i] for i in order)
    mixed = subject.ask(selected(subject.images, order), seeds)
    largest = max(_apart(full, i, mixed, position) for position, i in enumerate(order))
    for i in (0, 4):
        alone = subject.ask(selected(subject.images, [i]), (subject.seeds[i],))
        largest = max(largest, _apart(full, i, alone, 0))
    if largest > TOLERANCE:
        hint = "compute nothing across the batch (mean, normalization, noise drawn for the batch)"
        what = f"an image alone, in a batch and in another order got predictions {largest:.3g} apart in ab on average"
        raise CheckFailed(what, hint)
    return f"alone, in a batch and in another order: predictions differ by at most {largest:.1g} in ab"


def _history(subject: ModelSubject) -> str:
    first = subject.usual()
    subject.ask(resized(subject.images, 2, (48, 80)))
    negative = GroundTruth(subject.images.ids[:2], 255 - subject.images.rgb8[:2])
    subject.ask(negative)
    apart = _largest(first, subject.ask())
    if apart > TOLERANCE:
        hint = "keep no state between calls; a cache must check size and content"
        what = f"after other images, of another size too, the same images got predictions {apart:.3g} apart in ab"
        raise CheckFailed(what, hint)
    return "predictions do not depend on those before"


def _threads(subject: ModelSubject) -> str:
    """Check that batches predicted at once in two threads get the predictions that they get alone."""
    if not subject.model.thread_safe:
        raise CheckSkipped("the class does not say `thread_safe = True`: its batches are predicted one after another")
    parts = [list(range(start, len(subject.images.ids), 2)) for start in (0, 1)]

    def ask(part: list[int]) -> Prediction:
        images = selected(subject.images, part)
        seeds = tuple(subject.seeds[i] for i in part)
        with torch.no_grad():  # of this thread
            return predict(subject.model, Query(images, sizes_of(images), seeds, PREPROCESSING))

    with numerics(None), evaluation_mode(subject.model.colorizer):
        alone = [ask(part) for part in parts]
        with ThreadPoolExecutor(len(parts)) as pool:
            at_once = list(pool.map(ask, parts * THREAD_ROUNDS))
    apart = max(_largest(alone[number % len(parts)], one) for number, one in enumerate(at_once))
    if apart > TOLERANCE:
        hint = "write to no attribute or global during prediction, or remove `thread_safe`"
        what = f"in two threads at once, images got predictions {apart:.3g} apart in ab from those alone"
        raise CheckFailed(what, hint)
    return f"alone and in two threads at once: predictions differ by at most {apart:.1g} in ab"


def _units(subject: ModelSubject) -> str:
    prediction = subject.usual()
    notes = unit_notes([prediction.unit_statistics()])
    if notes:
        raise CheckFailed(notes[0], "return CIE ab, a before b; rgb8 is sRGB, red before green before blue")
    if prediction.given_rgb8 is not None:
        return "8-bit sRGB"
    low, high = prediction.ab_float.aminmax()
    return f"CIE ab, {float(low):.1f} to {float(high):.1f} here"


def _constant_images(subject: ModelSubject) -> str:
    for level in LEVELS:
        try:
            subject.ask(_constant(subject, level, (64, 64)))
        except UserError as error:
            raise CheckFailed(f"an image of sRGB {level} everywhere: {error.what}", _CONSTANT_HINT) from error
    return "black, gray and white give finite predictions"


_CONSTANT_HINT = "images of one color have zero variance: add a small constant to denominators"


def _tiny_images(subject: ModelSubject) -> str:
    for size in TINY:
        try:
            subject.ask(resized(subject.images, 2, size))
        except UserError as error:
            hint = "resize inside: colorbench.models.resize.at_working_size"
            raise CheckFailed(f"images of {size[0]} x {size[1]}: {error.what}", hint) from error
    return ", ".join(f"{h} x {w}" for h, w in TINY)


def _half_precision(subject: ModelSubject) -> str:
    hint = "call .float() on the output of the network, and do not cast weights"
    try:
        half = subject.ask(dtype=torch.bfloat16)
    except UserError as error:
        raise CheckFailed(f"under autocast to bfloat16: {error.what}", hint) from error
    apart = _largest(subject.usual(), half)
    if apart > HALF_TOLERANCE:
        raise CheckFailed(f"bfloat16 moves the predictions by {apart:.3g} in ab on average", hint)
    return f"under autocast to bfloat16 predictions move by {apart:.2g} in ab"


def _device(subject: ModelSubject) -> str:
    """Check on a GPU if there is one; otherwise on torch's device ``meta``, which has no values."""
    target = torch.device("cuda" if torch.cuda.is_available() else "meta")
    hint = "create tensors with lightness.new_tensor(...) or device=lightness.device, and move every tensor in `to`"
    try:
        moved = copy.deepcopy(subject.model)
    except Exception as error:  # some objects, such as locks or sessions, cannot be copied
        raise CheckSkipped(f"the model cannot be copied: {type(error).__name__}") from error
    moved.to(target)
    tensors = [one for net in networks_of(moved.colorizer) for one in (*net.parameters(), *net.buffers())]
    if behind := [one for one in tensors if one.device.type != target.type]:
        raise CheckFailed(f"after `to`, {len(behind)} of {len(tensors)} tensors of its networks are not moved", hint)
    truth = subject.images.rgb8 if subject.model.card.role == "reference" else None
    inputs = ColorizerInput(
        lightness=subject.images.lightness.to(target),
        ids=subject.images.ids,
        seeds=subject.seeds,
        truth=None if truth is None else truth.to(target),
        sizes=(tuple(subject.images.rgb8.shape[-2:]),) * len(subject.images.ids),  # type: ignore[arg-type]
        preprocessing=PREPROCESSING,
    )
    try:
        with numerics(None), evaluation_mode(moved.colorizer):
            colors = moved.colorizer.colorize_batch(inputs)
    except Exception as error:
        message = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and ("expected device" in message or "same device" in message):
            raise CheckFailed(f"on another device: {message}", hint) from error
        if target.type == "meta":
            raise CheckSkipped(f"there is no GPU, and the check without one failed: {message[:80]}") from error
        raise CheckFailed(f"on {target}: {type(error).__name__}: {message}", hint) from error
    if target.type == "meta":
        return "all tensors follow the model (checked without a GPU)"
    apart = _largest(subject.usual(), checked(subject.model.full_name, colors, subject.images))
    if apart > DEVICE_TOLERANCE:
        raise CheckFailed(f"on {target} predictions are {apart:.3g} apart in ab on average", hint)
    return f"on {target} predictions differ by at most {apart:.1g} in ab"


def _lightness_only(subject: ModelSubject) -> str:
    if subject.model.card.role == "reference":
        raise CheckSkipped("a reference is shown the true colors")
    images = subject.images
    # `check_lightness_only` overwrites the true colors.
    truth = GroundTruth(images.ids, images.rgb8.clone(), images.gray, images.labels, images.sha256s)
    query = Query(truth, sizes_of(images), subject.seeds, PREPROCESSING)
    with numerics(None), evaluation_mode(subject.model.colorizer):
        found = check_lightness_only(subject.model, query)
    if found is not None:
        hint = "use only `lightness`; ids and objects of the caller can reveal the true colors"
        raise CheckFailed(found.note.removeprefix("uses more than the lightness: "), hint)
    return "other names and true colors with the same lightness give the same predictions"


def _isolated(subject: ModelSubject) -> str:
    """Check that a process without the caller's environment, arguments and dataset gives equal predictions."""
    if not isinstance(subject.given, str):
        raise CheckSkipped("only a model given by name is checked in a separate process")
    # The process has its own working directory, so paths must be absolute.
    images, asked = subject.images, parse_name(subject.given).absolute()
    settings = {**vars(asked), "weights": None if asked.weights is None else str(asked.weights)}
    arrays = {
        "lightness": images.lightness.cpu().numpy(),
        "sizes": np.array([images.rgb8.shape[-2:]] * len(images.ids)),
        "seeds": np.array(subject.seeds, dtype=np.int64),
    }
    if subject.model.card.role == "reference":
        arrays["truth"] = images.rgb8.cpu().numpy()
    ids = [f"image{i}" for i in range(len(images.ids))]
    chosen = {**settings, "dtype": "float32", "device": str(subject.device)}
    with Apart(chosen, subject.data.samples) as apart:
        given, refused = apart.ask(arrays, {"ids": ids, "preprocessing": PREPROCESSING})
    hint = "read weights in the constructor, and no files during prediction"
    if refused:
        raise CheckFailed(f"refused during prediction: {refused[0]}", hint)
    colors = ColorPrediction(**{key: torch.from_numpy(values) for key, values in given.items()})
    difference_to_here = _largest(subject.usual(), checked(subject.model.full_name, colors, images))
    if difference_to_here > TOLERANCE:
        what = f"without access to the dataset, predictions are {difference_to_here:.3g} apart in ab on average"
        raise CheckFailed(what, hint)
    return "in a process without access to the dataset's files, predictions are the same"


def _constant(subject: ModelSubject, level: int, size: tuple[int, int]) -> GroundTruth:
    rgb8 = torch.full((2, 3, *size), level, dtype=torch.uint8, device=subject.device)
    return GroundTruth(subject.images.ids[:2], rgb8)


def _largest(one: Prediction, other: Prediction) -> float:
    """Return the largest mean absolute difference in ab of any image."""
    return max(_apart(one, i, other, i) for i in range(len(one.truth.ids)))


def _apart(one: Prediction, i: int, other: Prediction, j: int) -> float:
    return difference(_part(one, i), _part(other, j))


def _part(prediction: Prediction, i: int) -> Prediction:
    truth = selected(prediction.truth, [i])
    if prediction.given_rgb8 is not None:
        return Prediction(truth, rgb8=prediction.given_rgb8[[i]])
    return Prediction(truth, ab=prediction.ab_float[[i]])


_PURE = ("shape", "deterministic")
INDEPENDENCE_CHECKS = [
    ConformanceCheck("deterministic", _deterministic, ("shape",)),
    ConformanceCheck("seeds", _seeds, _PURE),
    ConformanceCheck("batch", _batch, _PURE),
    ConformanceCheck("history", _history, _PURE),
    ConformanceCheck("threads", _threads, (*_PURE, "history")),
    ConformanceCheck("units", _units, _PURE),
    ConformanceCheck("constant images", _constant_images, ("shape",)),
    ConformanceCheck("tiny images", _tiny_images, ("shape",)),
    ConformanceCheck("half precision", _half_precision, (*_PURE, "history")),
    ConformanceCheck("device", _device, (*_PURE, "history")),
    ConformanceCheck("lightness only", _lightness_only, (*_PURE, "history")),
    ConformanceCheck("isolated", _isolated, (*_PURE, "history", "batch")),
]
