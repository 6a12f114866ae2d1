"""Checks on the first image before a pass: every protocol can score, and predictions depend on lightness alone.

A model predicts the first image alone, within a batch of two, and alone again with another id and other true colors of
the same lightness. The predictions must be equal. A model that fails is still evaluated, with a note in its record;
verification may refuse it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from colorbench.data import LoadedBatch, get_preprocessing, images_refused, load_batches
from colorbench.data.batch_loader import LARGEST_BATCH
from colorbench.errors import ModelFailed, RunError, UserError, describe
from colorbench.evaluation.devices_and_memory import MemoryMeter, largest_batch
from colorbench.evaluation.evaluation_tasks import EvaluationTask, Run
from colorbench.evaluation.predict import Query, predict, predict_further
from colorbench.evaluation.protocol_interfaces import further_of
from colorbench.evaluation.truth_and_prediction import GroundTruth, Prediction, disguised
from colorbench.models import LoadedModel
from colorbench.models.networks import networks_of, set_evaluation_mode
from colorbench.models.sampled_and_guided_predictions import seed_of
from colorbench.results.shard import SHARD

Kind = Literal["not deterministic", "depends on the batch", "uses more than the lightness"]
TOLERANCE = 1e-3
"""Largest mean absolute difference in ab between predictions that count as equal: 1e-5 of the scale of ab. Torch's
routines for different batch sizes differ by less than a tenth of it in float32."""
MOST_TRIED = 64
"""Number of images that are tried until one can be read."""
HALF_TOLERANCE = 0.1
"""Tolerance in half precision, whose last digit is 0.4 % of a value."""


@dataclass(frozen=True)
class ModelFinding:
    """Finding of a check about a model."""

    kind: Kind
    difference: float | None
    """Mean absolute difference of the two predictions in ab (for rgb8 in levels 0..255); None if one failed."""
    note: str
    """One sentence for the record."""

    @property
    def deterministic(self) -> bool:
        """Whether equal inputs give equal predictions, in any batch."""
        return self.kind == "uses more than the lightness"


def check_models(
    tasks: Sequence[EvaluationTask], run: Run, failed: Callable[[ModelFailed], object]
) -> dict[int, list[ModelFinding]]:
    """Check every model of unfinished tasks on the first readable image; return id of the model -> findings.

    Args:
        tasks: finished or not.
        run: what they share.
        failed: called with the error of a model that fails.
    """
    found: dict[int, list[ModelFinding]] = {}
    settings = run.settings
    for task in tasks:
        model, preprocessing = task.model, task.scorer.preprocessing
        if id(model) in found or task.folder.finished():
            continue
        # Read again for each model, since the true colors are overwritten and no other copy may be in memory.
        if (batch := _first_readable(run, preprocessing)) is None:
            continue  # the pass reports that no image is readable
        truth = GroundTruth(batch.ids, batch.rgb8.to(settings.device), batch.gray, batch.labels)
        seeds = tuple(seed_of(settings.seed, content) for content in batch.sha256s)
        query = Query(truth, batch.sizes, seeds, preprocessing, settings.dtype)
        del batch
        refusing = partial(images_refused, run.dataset.samples)
        try:
            found[id(model)] = run.residents.work(model, partial(check_first_batch, model, query, refusing))
        except ModelFailed as error:
            found[id(model)] = []
            failed(error)
    return found


def find_batch_size(tasks: Sequence[EvaluationTask], run: Run) -> int:
    """Return the largest batch, up to a shard, that every model of unfinished tasks predicts in the memory limit."""
    found = dict[tuple[int, str], int]()
    for task in tasks:
        key = (id(task.model), task.scorer.preprocessing)
        if task.folder.finished() or task.model.stored is not None or key in found:
            continue
        if (batch := _first_readable(run, task.scorer.preprocessing)) is not None:  # otherwise the pass reports it
            with random_state_kept():
                found[key] = run.residents.work(task.model, partial(_largest_batch, task, batch, run))
    return min(found.values(), default=run.settings.batch_size)


def _largest_batch(task: EvaluationTask, batch: LoadedBatch, run: Run) -> int:
    """Return the largest batch of noise, of the size of an image, that a task's model predicts."""
    settings, generator = run.settings, torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, batch.rgb8.shape, dtype=torch.uint8, generator=generator)

    def attempt(n: int) -> None:
        images = GroundTruth(batch.ids * n, noise.repeat(n, 1, 1, 1).to(settings.device), batch.gray * n)
        query = Query(images, batch.sizes * n, tuple(range(n)), task.scorer.preprocessing, settings.dtype)
        usual = predict(task.model, query)
        if (request := further_of(task.scorer)) is not None:
            predict_further(task.model, query, request, settings.seed, usual)

    memory = MemoryMeter(settings.device, settings.local_processes * settings.predictors([task.model]))
    return largest_batch(attempt, memory, min(SHARD, max(1, LARGEST_BATCH // noise[0, 0].numel())))


def check_scorers(tasks: Sequence[EvaluationTask], run: Run) -> None:
    """Score a gray prediction of the first readable image by every protocol of the unfinished tasks.

    This finds invalid column names before hours of work, and loads compiled routines and classifiers, so that their
    time is not charged to the first model.

    Raises:
        RunError: naming the protocol.
    """
    done: set[int] = set()
    images: dict[str, LoadedBatch | None] = {}
    for task in tasks:
        if id(task.scorer) in done or task.folder.finished():
            continue
        done.add(id(task.scorer))
        preprocessing = task.scorer.preprocessing
        if preprocessing not in images:
            images[preprocessing] = _first_readable(run, preprocessing)
        if (batch := images[preprocessing]) is None:
            continue  # the pass reports that no image is readable
        truth = GroundTruth(batch.ids, batch.rgb8.to(run.settings.device), batch.gray, batch.labels)
        try:
            scored = task.scorer.score(Prediction(truth, ab=torch.zeros_like(truth.ab)))
            scored.check(task.spec.name, 1)
        except UserError:
            raise
        except Exception as error:
            what = f"protocol {task.spec.name} failed: {describe(error)}"
            raise RunError(what, where=f"image {truth.ids[0]}", hint="--debug shows where") from error


def _first_readable(run: Run, preprocessing: str) -> LoadedBatch | None:
    chosen, policy = get_preprocessing(preprocessing), run.settings.gray_policy
    for sample in run.dataset.samples[:MOST_TRIED]:
        for batch in load_batches([sample], chosen, batch_size=1, workers=0, gray_policy=policy):
            if batch.ids:
                return batch
    return None


def check_first_batch(
    model: LoadedModel,
    query: Query,
    refusing: Callable[[], AbstractContextManager[list[str]]] = lambda: contextlib.nullcontext([]),
) -> list[ModelFinding]:
    """Predict the first image of a batch in several ways and check that the results agree.

    Args:
        model: on the device of the images.
        query: images, of which only the first is used. Its tensors are overwritten, so pass a copy.
        refusing: blocks access to the dataset's files, and yields those that were requested; see ``images_refused``.

    Raises:
        RunError: for a model that fails both with the image alone and within a batch.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(random_state_kept())
        one = replace(query, truth=_first(query.truth), sizes=query.sizes[:1], seeds=query.seeds[:1])
        first = _tried(model, one)
        if any(module.training for network in networks_of(model.colorizer) for module in network.modules()):
            # For a network that was created, or put into training mode, by the first call.
            set_evaluation_mode(model.colorizer, stack)
            first = _tried(model, one)
        # A large image is predicted alone, as in the pass, since two might not fit into memory.
        fits = 2 * one.truth.rgb8[0, 0].numel() <= LARGEST_BATCH
        pair = _tried(model, one, _beside_another) if fits else None
        if isinstance(first, RunError) and not isinstance(pair, Prediction):
            raise first
        if isinstance(first, RunError):
            return [ModelFinding("depends on the batch", None, f"depends on the batch: a single image fails: {first}")]
        if model.stored is not None:
            return []  # stored images are found by their ids
        hidden = one if model.card.role == "reference" else replace(one, truth=disguised(one.truth))
        with refusing() as refused:
            again = _tried(model, hidden)
            # If the two differ, a third distinguishes a stochastic model from one that uses more than lightness.
            found = _compared(first, pair, again, lambda: _tried(model, hidden), _tolerance(query))
        if refused:
            kind: Kind = "uses more than the lightness"
            found = [finding for finding in found if finding.kind != kind]
            found.append(ModelFinding(kind, None, f"{kind}: it opens images of the dataset ({Path(refused[0]).name})"))
        return found


def check_lightness_only(model: LoadedModel, query: Query) -> ModelFinding | None:
    """Check a first batch with other ids and other true colors; return None if the predictions agree.

    Args:
        model: on the device of the images.
        query: the batch. Its tensors are overwritten, so pass a copy.

    Raises:
        RunError: for a model that fails with the original images.
    """
    with random_state_kept():
        first = predict(model, query)
        first = first if model.card.role == "reference" else _saved(first)
        again = _tried(model, replace(query, truth=disguised(query.truth)))
        if isinstance(again, RunError):
            return _of_more(None, str(again))
        apart = difference(first, again)
        return _of_more(apart) if apart > _tolerance(query) else None


def _tolerance(query: Query) -> float:
    return TOLERANCE if query.dtype == torch.float32 else HALF_TOLERANCE


def difference(one: Prediction, other: Prediction) -> float:
    """Return the mean absolute difference of two predictions in a check: in ab, or in 8-bit levels if both are RGB."""
    if one.given_rgb8 is not None and other.given_rgb8 is not None:
        return float((one.given_rgb8.float() - other.given_rgb8.float()).abs().mean())
    return float((one.ab_float.double() - other.ab_float.double()).abs().mean())


def _compared(
    first: Prediction,
    pair: Prediction | RunError | None,
    again: Prediction | RunError,
    once_more: Callable[[], Prediction | RunError],
    tolerance: float,
) -> list[ModelFinding]:
    found = []
    if isinstance(again, RunError):
        found.append(_of_more(None, str(again)))
    elif (apart := difference(first, again)) > tolerance:
        last = once_more()
        between = None if isinstance(last, RunError) else difference(again, last)
        if between is None or between > tolerance:
            message = "not deterministic: two predictions for the first image"
            note = f"{message} that differ by {apart:.3g} on average: scores change from run to run"
            found.append(ModelFinding("not deterministic", apart, note))
        else:
            found.append(_of_more(apart))
    if not isinstance(pair, Prediction):
        return found  # it supports only one image at a time (--batch-size 1)
    apart = difference(first, pair)
    if apart > tolerance and not any(one.kind == "not deterministic" for one in found):
        message = "depends on the batch: the first image alone and in a batch has two predictions"
        note = (
            f"{message} that differ by {apart:.3g} on average: scores change with --batch-size and the order of images"
        )
        found.append(ModelFinding("depends on the batch", apart, note))
    return found


def _of_more(apart: float | None, failure: str = "") -> ModelFinding:
    message = "uses more than the lightness: under another id and other true colors with the same lightness"
    happened = f"it fails: {failure}" if apart is None else f"its prediction differs by {apart:.3g} on average"
    return ModelFinding("uses more than the lightness", apart, f"{message}, {happened}")


def _first(truth: GroundTruth) -> GroundTruth:
    return GroundTruth(truth.ids[:1], truth.rgb8[:1], truth.gray[:1], truth.labels[:1])


def _beside_another(model: LoadedModel, query: Query) -> Prediction:
    """Predict one image in a batch of two."""
    one, seed = query.truth, query.seeds[0]
    # The other image is the negative, upside down: of equal size and entirely different. Its id is one that the model
    # can look up.
    two = GroundTruth(one.ids * 2, torch.cat([one.rgb8, 255 - one.rgb8.flip(-2)]), one.gray * 2, one.labels * 2)
    pair = predict(model, replace(query, truth=two, sizes=query.sizes * 2, seeds=(seed, seed ^ 1)))
    first = _saved(pair, 1)
    two.rgb8.zero_()  # it contains a copy of the true colors
    return first


def _saved(prediction: Prediction, count: int | None = None) -> Prediction:
    """Return the first images of a prediction as copies."""
    truth = prediction.truth
    part = GroundTruth(truth.ids[:count], truth.rgb8[:count])  # no findable copy (see `disguised`)
    if prediction.given_rgb8 is not None:
        return Prediction(part, rgb8=prediction.given_rgb8[:count].clone())
    return Prediction(part, ab=prediction.ab_float[:count].clone())


def _tried(
    model: LoadedModel, query: Query, ask: Callable[[LoadedModel, Query], Prediction] = predict
) -> Prediction | RunError:
    try:
        return _saved(ask(model, query))
    except RunError as error:
        return error
    except UserError as error:  # errors of the model about its input
        return RunError(error.what, where=error.where, hint=error.hint)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the random generators of the process afterwards, so that what follows is not affected."""
    pythons, numpys = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(pythons)
            np.random.set_state(numpys)
