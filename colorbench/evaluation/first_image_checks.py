"""Checks on the first image, before a pass: can every protocol score, does a prediction follow from lightness alone?

A model is asked for the first image alone, within a batch of two, and alone again under another id and other true
colors with the same lightness. An honest model predicts the same each time. One that does not is measured all the
same, and its record says so; a verifier may refuse it.
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
from colorbench.errors import RunError, UserError, describe
from colorbench.evaluation.evaluation_tasks import EvaluationTask, Run
from colorbench.evaluation.predict import Query, predict, seed_of
from colorbench.evaluation.truth_and_prediction import GroundTruth, Prediction, disguised
from colorbench.models import LoadedModel
from colorbench.models.networks import networks_of, set_evaluation_mode

Kind = Literal["not deterministic", "depends on the batch", "uses more than the lightness"]
TOLERANCE = 1e-3
"""Largest mean absolute difference in ab between predictions that count as equal: 1e-5 of ab's scale. The routines that
torch chooses by batch size differ by less than a tenth of it in float32."""
MOST_TRIED = 64
"""Images that are tried until one can be read."""
HALF_TOLERANCE = 0.1
"""The same in half precision, whose last digit is 0.4 % of a value."""


@dataclass(frozen=True)
class ModelFinding:
    """What a check found of a model."""

    kind: Kind
    difference: float | None
    """Mean absolute difference of the two predictions in ab (of rgb8: in levels of 0..255); None where one failed."""
    note: str
    """One sentence for the record."""

    @property
    def deterministic(self) -> bool:
        """Whether the same inputs still give the same prediction, in whatever batch."""
        return self.kind == "uses more than the lightness"


def check_models(tasks: Sequence[EvaluationTask], run: Run) -> dict[int, list[ModelFinding]]:
    """Check every model of unfinished tasks once, on the first image that can be read; id of the model -> findings.

    Raises:
        RunError: for a model that fails.
    """
    found: dict[int, list[ModelFinding]] = {}
    settings = run.settings
    for task in tasks:
        model, preprocessing = task.model, task.scorer.preprocessing
        if id(model) in found or task.folder.finished():
            continue
        # Read again for each model, since its true colors are overwritten: no other copy of them is in memory.
        if (batch := _first_readable(run, preprocessing)) is None:
            continue  # the pass will say that there are none
        truth = GroundTruth(batch.ids, batch.rgb8.to(settings.device), batch.gray, batch.labels)
        seeds = tuple(seed_of(settings.seed, content) for content in batch.sha256s)
        query = Query(truth, batch.sizes, seeds, preprocessing, settings.dtype)
        del batch
        refusing = partial(images_refused, run.dataset.samples)
        found[id(model)] = run.residents.work(model, partial(check_first_batch, model, query, refusing))
    return found


def check_scorers(tasks: Sequence[EvaluationTask], run: Run) -> None:
    """Score a gray prediction of the first image that can be read, with every protocol of the unfinished tasks.

    That finds names that the rows cannot hold before hours of work, and loads what scoring needs (compiled routines, a
    classifier), so that the first model of a run is not charged for it.

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
            continue  # the pass will say that there are none
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
    """Ask a model for the first image of a batch in several ways and compare: four images are colorized at most twice.

    Args:
        model: on the device of the images.
        query: one image or more, of which only the first is used. Its tensors are overwritten: give a copy.
        refusing: makes the dataset's files unreadable, and gives those that were asked for; see ``images_refused``.

    Raises:
        RunError: for a model that fails with the image alone and within a batch.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_random_state_kept())
        one = replace(query, truth=_first(query.truth), sizes=query.sizes[:1], seeds=query.seeds[:1])
        first = _tried(model, one)
        if any(module.training for network in networks_of(model.colorizer) for module in network.modules()):
            # A network that was made by the first call, or put into training mode by it.
            set_evaluation_mode(model.colorizer, stack)
            first = _tried(model, one)
        # A large image is asked for alone, as in the pass: two might not fit into memory.
        fits = 2 * one.truth.rgb8[0, 0].numel() <= LARGEST_BATCH
        pair = _tried(model, one, _beside_another) if fits else None
        if isinstance(first, RunError) and not isinstance(pair, Prediction):
            raise first
        if isinstance(first, RunError):
            return [ModelFinding("depends on the batch", None, f"depends on the batch: a single image fails: {first}")]
        if model.stored is not None:
            return []  # images are found by their ids
        hidden = one if model.card.role == "reference" else replace(one, truth=disguised(one.truth))
        with refusing() as refused:
            again = _tried(model, hidden)
            # Only where the two differ is a third needed, to tell a stochastic model from one that uses more than
            # lightness.
            found = _compared(first, pair, again, lambda: _tried(model, hidden), _tolerance(query))
        if refused:
            kind: Kind = "uses more than the lightness"
            found = [finding for finding in found if finding.kind != kind]
            found.append(ModelFinding(kind, None, f"{kind}: it opens images of the dataset ({Path(refused[0]).name})"))
        return found


def check_lightness_only(model: LoadedModel, query: Query) -> ModelFinding | None:
    """Ask a model for a batch, and again under other ids and other true colors; None where the predictions agree.

    Args:
        model: on the device of the images.
        query: the batch. Its tensors are overwritten: give a copy.

    Raises:
        RunError: for a model that fails with the images as they are.
    """
    with _random_state_kept():
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
    """Return the mean absolute difference of two predictions: in ab, or in 8-bit levels where both are RGB."""
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
        return found  # it takes one image at a time, and is asked so with --batch-size 1
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
    # Its negative, upside down: of the same size, and nothing like it. The id is one that the model can look up.
    two = GroundTruth(one.ids * 2, torch.cat([one.rgb8, 255 - one.rgb8.flip(-2)]), one.gray * 2, one.labels * 2)
    pair = predict(model, replace(query, truth=two, sizes=query.sizes * 2, seeds=(seed, seed ^ 1)))
    first = _saved(pair, 1)
    two.rgb8.zero_()  # a copy of the true colors that could be found later
    return first


def _saved(prediction: Prediction, count: int | None = None) -> Prediction:
    """Return the first images of a prediction, in tensors of their own."""
    truth = prediction.truth
    part = GroundTruth(truth.ids[:count], truth.rgb8[:count])  # no copy: one could be found (see `disguised`)
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
    except UserError as error:  # what a model itself says of its input
        return RunError(error.what, where=error.where, hint=error.hint)


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Leave the generators of the process as they were, so that a pass draws what it would have drawn."""
    candidate, numpys = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(candidate)
            np.random.set_state(numpys)
