"""Calling of a model and checking of its predictions, for runs, ``predict`` and ``colorize``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from colorbench.data import Dataset, GrayPolicy, get_preprocessing, load_batches
from colorbench.data.batch_loader import decoding_threads
from colorbench.errors import RunError
from colorbench.evaluation.devices_and_memory import device_of, dtype_of, numerics, ran_out_of_memory
from colorbench.evaluation.truth_and_prediction import GroundTruth, Prediction
from colorbench.models import ColorizerInput, ColorPrediction, LoadedModel, precision
from colorbench.models.foreign_code import one_line
from colorbench.models.sampled_and_guided_predictions import Request, ask_further, in_place, seed_of, told_of
from colorbench.models.stored_prediction_checks import prepare

FARTHEST = 10_000.0
"""Largest absolute value of ab that is accepted, far beyond any color; larger values would overflow in the
conversion."""


@dataclass(frozen=True)
class Query:
    """Request for predictions of a batch of images."""

    truth: GroundTruth
    """The batch; colors are given only to models with the role ``reference``."""
    sizes: tuple[tuple[int, int], ...]
    """(H, W) of the original images."""
    seeds: tuple[int, ...]
    """Seed of each image."""
    preprocessing: str | None = None
    """Name of the preprocessing of the images."""
    dtype: torch.dtype = torch.float32
    """Precision of convolutions and matrix products; an image that it cannot hold is predicted in float32."""


def colorize(
    model: LoadedModel,
    truth: GroundTruth,
    sizes: tuple[tuple[int, int], ...],
    seed: int,
    preprocessing: str | None = None,
    dtype: torch.dtype = torch.float32,
    request: Request | None = None,
) -> Prediction:
    """Predict a batch and check the result, with seeds from the run's seed.

    Args:
        model: any model; it gets the true colors only with the role ``reference``.
        truth: the batch.
        sizes: (H, W) of the original images.
        seed: seed of the run.
        preprocessing: name of the preprocessing of the images.
        dtype: precision of convolutions and matrix products; an image that it cannot hold is predicted in float32.
        request: further predictions that a scorer needs beside the usual one.

    Raises:
        RunError: if the prediction is invalid, or the model fails.
    """
    query = query_of(truth, sizes, seed, preprocessing, dtype)
    usual = predict(model, query)
    if request is not None:
        predict_further(model, query, request, seed, usual)
    return usual


def query_of(
    truth: GroundTruth,
    sizes: tuple[tuple[int, int], ...],
    seed: int,
    preprocessing: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Query:
    """Return the query by which a model predicts a batch in a run with ``seed``; see ``colorize``."""
    seeds = tuple(seed_of(seed, content) for content in truth.contents)
    return Query(truth, sizes, seeds, preprocessing, dtype)


def predict(model: LoadedModel, query: Query) -> Prediction:
    """Predict a batch with given seeds per image, and check the result; see ``colorize``."""
    return predictions(model, query, lambda inputs: [model.colorizer.colorize_batch(inputs)])[0]


def predictions(
    model: LoadedModel, query: Query, ask: Callable[[ColorizerInput], Sequence[ColorPrediction]]
) -> list[Prediction]:
    """Return the checked predictions that ``ask`` gets from a model for a batch.

    Raises:
        RunError: if a prediction is invalid, or the model fails.
    """
    truth = query.truth
    inputs = ColorizerInput(
        # A copy, since a model may write into its input.
        lightness=truth.lightness.clone(),
        ids=truth.ids,
        seeds=query.seeds,
        truth=truth.rgb8 if model.card.role == "reference" else None,
        sizes=query.sizes,
        preprocessing=query.preprocessing,
    )
    hint = "--debug shows where; finished work is kept"
    with (
        one_line(f"{model.full_name} failed", where=_batch(truth.ids), hint=hint, run=True),
        precision(truth.rgb8.device, query.dtype),
    ):
        try:
            found = list(ask(inputs))
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            what, hint = f"{model.full_name} needs more memory than available", "use a smaller --batch-size"
            raise RunError(what, where=_batch(truth.ids), hint=f"{hint}; finished work is kept") from error
    overflowed = [None if query.dtype == torch.float32 else _overflowed(colors) for colors in found]
    if any(which is not None for which in overflowed):
        exact = predictions(model, replace(query, dtype=torch.float32), ask)
        for place, which in enumerate(overflowed):
            if which is not None:
                ab = found[place].ab
                assert ab is not None
                # Image by image, so that no prediction depends on the rest of its batch.
                joined = torch.where(which[:, None, None, None], exact[place].ab_float, ab.detach().float())
                found[place] = ColorPrediction(ab=joined)
    return [checked(model.full_name, colors, truth) for colors in found]


def predict_further(model: LoadedModel, query: Query, request: Request, seed: int, usual: Prediction) -> None:
    """Ask a model for a scorer's request, and put the predictions beside the usual one.

    Args:
        model: has the capability that the request needs.
        query: the batch.
        request: what a scorer asks for.
        seed: of the run.
        usual: the prediction for the batch.

    Raises:
        RunError: if a prediction is invalid, or the model fails.
    """
    told = told_of(request, query.truth.contents, query.truth.ab, seed)
    found = predictions(model, query, lambda inputs: ask_further(model.colorizer, inputs, told))
    # Rendered at once: 8 bits take a third of the memory of ab.
    kept = [Prediction(query.truth, rgb8=one.rgb8) for one in found]
    usual.further[request] = in_place(request, usual, kept)


def _overflowed(colors: ColorPrediction) -> Tensor | None:
    """Return (N,) bool: predictions that exceed the range of half precision; None if there are none.

    Activations may exceed the range of float16 (65504); such images are predicted in float32.
    """
    ab = getattr(colors, "ab", None)
    if not isinstance(ab, Tensor) or ab.dim() != 4 or not ab.is_floating_point() or ab.layout != torch.strided:
        return None
    if ab.is_meta or ab.dtype.itemsize < 2:
        return None  # refused by `checked`
    overflowed = ~ab.detach().isfinite().flatten(1).all(dim=1)
    return overflowed if bool(overflowed.any()) else None


def checked(name: str, colors: ColorPrediction, truth: GroundTruth) -> Prediction:
    """Check what a model predicted and return it as a ``Prediction`` on the device of the ground truth.

    Raises:
        RunError: naming the model, the image and the requirement.
    """
    first, size = truth.ids[0], tuple(truth.rgb8.shape[-2:])
    ab, rgb8 = getattr(colors, "ab", None), getattr(colors, "rgb8", None)
    if (ab is None) == (rgb8 is None):
        given = "both ab and rgb8" if ab is not None else "neither ab nor rgb8"
        raise _wrong(name, given, first, "return ColorPrediction(ab=...) or ColorPrediction(rgb8=...)")
    if rgb8 is not None:
        wanted = (len(truth.ids), 3, *size)
        if not isinstance(rgb8, Tensor) or tuple(rgb8.shape) != wanted or rgb8.dtype != torch.uint8:
            hint = f"return rgb8 as a tensor of {wanted} torch.uint8{_as_uint8(rgb8)}"
            raise _wrong(name, f"rgb8 of {described(rgb8)}", first, hint)
        _check_storage(name, "rgb8", rgb8, first)
        same = rgb8.device == truth.rgb8.device and torch.equal(rgb8, truth.rgb8)
        return Prediction(truth, rgb8=truth.rgb8 if same else rgb8.to(truth.rgb8.device, copy=True))
    wanted = (len(truth.ids), 2, *size)
    if not isinstance(ab, Tensor) or tuple(ab.shape) != wanted or not ab.is_floating_point():
        three = isinstance(ab, Tensor) and ab.dim() == 4 and ab.shape[1] == 3
        hint = "; for three channels of sRGB give ColorPrediction(rgb8=...) from colorize_batch" if three else ""
        raise _wrong(name, f"ab of {described(ab)}", first, f"return ab as a floating tensor of {wanted}, CIE ab{hint}")
    _check_storage(name, "ab", ab, first)
    # A copy, since a model may reuse the tensor for its next prediction while this one is scored.
    prediction = Prediction(truth, ab=ab.detach().to(truth.rgb8.device, copy=True))
    low, high = prediction.limits
    fine = (low >= -FARTHEST) & (high <= FARTHEST)  # (N,); comparisons with NaN are false
    if not bool(fine.all()):
        bad = int((~fine).nonzero()[0])
        finite = bool(ab[bad].isfinite().all())
        what = f"ab farther than {FARTHEST:g} from gray" if finite else "NaN or infinity in ab"
        raise _wrong(name, what, truth.ids[bad], "return finite ab, about -110 to 110")
    return prediction


def _check_storage(name: str, of: str, tensor: Tensor, first: str) -> None:
    """Raise for tensors without usable values: sparse, without data, or in 8-bit floats."""
    kind = None
    if tensor.layout != torch.strided:
        kind = f"a {tensor.layout} tensor"
    elif tensor.is_meta:
        kind = "a tensor on the device meta, which has no values"
    elif tensor.is_floating_point() and tensor.dtype.itemsize < 2:
        kind = f"a tensor of {tensor.dtype}"
    if kind is not None:
        raise _wrong(name, f"{of} in {kind}", first, f"return {of} as a dense tensor, for example float32")


def _wrong(name: str, given: str, id: str, wanted: str) -> RunError:
    hint = f"{wanted}; finished work is kept"
    return RunError(f"{name} returned {given}", where=f"image {id}", hint=hint)


def _as_uint8(rgb: object) -> str:
    """Return a hint how to convert floating-point RGB to 8 bits, by its range."""
    if not isinstance(rgb, Tensor) or not rgb.is_floating_point() or not rgb.numel():
        return ""
    low, high = (float(one) for one in rgb.detach().aminmax())
    if low < 0 and high <= 1.01:
        return ": of -1..1, give ((rgb + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)"
    scaled = "(rgb * 255)" if high <= 1.01 else "rgb"
    return f": of 0..{1 if high <= 1.01 else 255}, give {scaled}.round().clamp(0, 255).to(torch.uint8)"


def described(value: object) -> str:
    """Describe what a model returned: shape and type of a tensor, or the type of anything else."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _batch(ids: tuple[str, ...]) -> str:
    return f"image {ids[0]}" if len(ids) == 1 else f"images {ids[0]} ... {ids[-1]}"


def predict_images(
    model: LoadedModel,
    dataset: Dataset,
    *,
    preprocessing: str = "squash256",
    gray_policy: GrayPolicy = "keep",
    seed: int = 0,
    batch_size: int = 16,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    workers: int | None = None,
    message: Callable[[str], None] = lambda line: None,
) -> Iterator[Prediction]:
    """Predict the colors of a dataset's images, without any protocol.

    Images are decoded in advance by threads. The model stays on the device in evaluation mode until the iterator ends.

    Args:
        model: any model.
        dataset: images, colorized in this order.
        preprocessing: preprocessing of the images, such as ``squash256``, ``center256``, ``native``.
        gray_policy: ``drop`` leaves out images without color.
        seed: seed of the run; the seed of each image is derived from it and from the file.
        batch_size: largest number of images in a batch.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` uses a GPU if available.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        threads: CPU threads for the model; None for torch's default.
        workers: decoding threads; None for one per core, at most 8.
        message: called with a message for each unreadable image, which is left out.

    Yields:
        Batches of up to ``batch_size`` images of one size.

    Raises:
        UserError: for an unknown preprocessing, device or dtype, or stored predictions that do not fit the images.
        RunError: for a model that fails or returns invalid output.
    """
    chosen, torch_device, precise = get_preprocessing(preprocessing), device_of(device), dtype_of(dtype)
    prepare(model, dataset.samples, [chosen.name], message)
    batches = load_batches(
        dataset.samples,
        chosen,
        batch_size=batch_size,
        workers=decoding_threads(workers),
        gray_policy=gray_policy,
    )
    with model.at_work(torch_device):
        for batch in batches:
            for one in batch.skipped:
                message(f"left out: {one.id}: {one.reason}")
            if not batch.ids:
                continue
            truth = GroundTruth(batch.ids, batch.rgb8.to(torch_device), batch.gray, batch.labels, batch.sha256s)
            with numerics(threads):  # not around the loop, since the caller's code runs between batches
                prediction = colorize(model, truth, batch.sizes, seed, chosen.name, precise)
            yield prediction
