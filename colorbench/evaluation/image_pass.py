"""The evaluation pass: every image is decoded once, colorized once by each model, and scored by every protocol.

    claim and decode (threads) -> predict (this thread) -> score (threads) -> write a shard (one thread)

On a CPU, thread-safe models predict in the scoring threads, several batches at once: that uses the cores better than
several threads within a convolution. ``threaded_pipeline`` connects the stages by bounded queues. Limits and contents
of a shard do not depend on the number of processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from colorbench.data import LoadedBatch, Preprocessing, Sample, get_preprocessing, load_batches
from colorbench.evaluation.evaluation_tasks import EvaluationTask, Run
from colorbench.evaluation.pending_shards import Claims, Evaluated, ShardJob, missing
from colorbench.evaluation.predict import colorize, predict_further, query_of
from colorbench.evaluation.protocol_interfaces import BatchScores, ThroughputMeter, further_of
from colorbench.evaluation.run_config import ExecutionConfig
from colorbench.evaluation.saved_image_writer import keep_predictions, keep_thumbnails
from colorbench.evaluation.truth_and_prediction import GroundTruth, Prediction
from colorbench.models.stored_prediction_checks import LIGHTNESS_GAP, lightness_gaps
from colorbench.results.shard import shard_samples
from colorbench.threaded_pipeline import run_pipeline

SCORERS = max(2, min(4, os.cpu_count() or 1))
"""Scoring threads: at least two, so that a slow protocol does not block the network immediately."""


def missing_images(tasks: Sequence[EvaluationTask], run: Run) -> int:
    """Return the number of images in the missing shards of all tasks, counted once per pass."""
    samples = run.dataset.samples
    shards = [index for group in _by_preprocessing(tasks).values() for index, _ in missing(group, len(samples))]
    return sum(len(shard_samples(samples, index)) for index in shards)


def images_in_passes(tasks: Sequence[EvaluationTask], run: Run) -> int:
    """Return the number of images of the passes for all unfinished tasks, those in finished shards included."""
    return len(run.dataset) * len(_by_preprocessing([task for task in tasks if not task.folder.finished()]))


def run_passes(tasks: Sequence[EvaluationTask], run: Run, progress: ThroughputMeter, begun: set[int]) -> int:
    """Compute the missing shards of all tasks, in one pass over the images per preprocessing.

    Args:
        tasks: finished or not.
        run: what they share.
        progress: counts the images.
        begun: ids of the tasks for which this process has predicted a batch; new ones are added.

    Returns:
        The number of shards written, without those that another process has claimed.

    Raises:
        RunError: for an invalid prediction or a full disk; finished shards are kept.
    """
    groups = _by_preprocessing(tasks)
    return sum(_run_pass(group, run, get_preprocessing(name), progress, begun) for name, group in groups.items())


def _by_preprocessing(tasks: Sequence[EvaluationTask]) -> dict[str, list[EvaluationTask]]:
    groups: dict[str, list[EvaluationTask]] = {}
    for task in tasks:
        groups.setdefault(task.scorer.preprocessing, []).append(task)
    return groups


def _run_pass(
    tasks: Sequence[EvaluationTask],
    run: Run,
    preprocessing: Preprocessing,
    progress: ThroughputMeter,
    begun: set[int],
) -> int:
    """Compute the missing shards of tasks with one preprocessing; return the number written."""
    written, settings = 0, run.settings

    predictors = settings.predictors(task.model for task in tasks)

    def predict(item: tuple[ShardJob, LoadedBatch | None]) -> _Predicted:
        work, batch = item
        if predictors > 1:
            torch.set_num_threads(settings.threads // predictors)  # of this thread
        with torch.no_grad():  # of this thread, too
            return _predict(work, batch, preprocessing, run, begun)

    def score(predicted: _Predicted) -> _Predicted:
        torch.set_num_threads(1)  # of this thread, since scoring threads share the cores with the network
        with torch.no_grad():  # of this thread, too
            return _score_all(predicted, settings)

    def write(predicted: _Predicted) -> None:
        nonlocal written
        work, evaluated = predicted.work, predicted.evaluated
        if evaluated is None:
            work.write()
            claims.finished(work)
            written += 1
        else:
            work.add(evaluated)
            progress.advance(len(evaluated.rows) + len(evaluated.skipped))

    try:
        # One core is left for decoding and scoring threads, since OpenMP's threads wait by spinning.
        torch.set_num_threads(max(1, settings.threads - 1))
        with Claims(_in_order(tasks, len(run.dataset), settings), run, preprocessing) as claims:
            run_pipeline(claims.batches(), predict, score, write, scorers=SCORERS, predictors=predictors)
    finally:
        # New threads inherit the number that was set last in any thread.
        torch.set_num_threads(settings.threads)
    return written


@dataclass
class _Predicted:
    """A batch in the pipeline: the images, the predictions of each model, and the scores."""

    work: ShardJob
    evaluated: Evaluated | None
    """None at the end of a shard."""
    predictions: list[tuple[list[int], Prediction]] = field(default_factory=list)
    """Per model: the positions of its tasks, and its prediction."""


def _in_order(
    tasks: Sequence[EvaluationTask], count: int, settings: ExecutionConfig
) -> list[tuple[int, list[EvaluationTask]]]:
    """Return the missing shards in the order in which this process's pass tries them.

    This process's own shards (every w-th) come first, then those of other processes from the end. A fixed partition
    would not cover all shards, since processes that start at different times see different shards missing.
    """
    work = missing(tasks, count)
    own = work[settings.rank :: settings.processes]
    own_indices = {index for index, _ in own}
    return own + [entry for entry in reversed(work) if entry[0] not in own_indices]


def _predict(
    work: ShardJob, batch: LoadedBatch | None, preprocessing: Preprocessing, run: Run, begun: set[int]
) -> _Predicted:
    """Colorize a batch with every model."""
    settings = run.settings
    if batch is None:
        return _Predicted(work, None)
    tasks = work.tasks
    evaluated = Evaluated(
        rows=list(zip(batch.ids, batch.sha256s, batch.labels, batch.gray, batch.sizes, strict=True)),
        skipped=[(one.id, one.reason) for one in batch.skipped],
        scored=[None] * len(tasks),
        observed=[None] * len(tasks),
        seconds=[{} for _ in tasks],
        warms_up=[bool(batch.ids) and id(task) not in begun for task in tasks],
        saved=[{} for _ in tasks],
    )
    predicted = _Predicted(work, evaluated)
    if not batch.ids:
        return predicted
    begun.update(id(task) for task in tasks)
    start = time.perf_counter()
    truth = _truth_of(batch, settings)
    _ = truth.lightness  # needed by every model, so computed before the timing of the first
    for seconds in evaluated.seconds:
        seconds["prepare"] = time.perf_counter() - start
    by_model: dict[int, list[int]] = {}
    for position, task in enumerate(tasks):
        by_model.setdefault(id(task.model), []).append(position)
    for positions in by_model.values():
        start = time.perf_counter()
        model = tasks[positions[0]].model
        given = (truth, batch.sizes, settings.seed, preprocessing.name, settings.dtype)
        usual = run.residents.work(model, partial(colorize, model, *given))
        predicted.predictions.append((positions, usual))
        for position in positions:
            evaluated.seconds[position]["colorize"] = time.perf_counter() - start
        requests = {position: further_of(tasks[position].scorer) for position in positions}
        for request in {one for one in requests.values() if one is not None}:
            start = time.perf_counter()
            run.residents.work(model, partial(predict_further, model, query_of(*given), request, settings.seed, usual))
            for position in positions:
                if requests[position] == request:
                    evaluated.seconds[position]["colorize"] += time.perf_counter() - start
    return predicted


def colorize_samples(task: EvaluationTask, samples: Sequence[Sample], run: Run) -> Iterator[Prediction]:
    """Yield a task's predictions for some images, in batches."""
    settings = run.settings
    preprocessing = get_preprocessing(task.scorer.preprocessing)
    for batch in load_batches(
        samples,
        preprocessing,
        batch_size=settings.batch_size,
        workers=settings.workers,
        gray_policy=settings.gray_policy,
    ):
        if batch.ids:
            truth = _truth_of(batch, settings)
            ask = partial(colorize, task.model, truth, batch.sizes, settings.seed, preprocessing.name, settings.dtype)
            yield run.residents.work(task.model, ask)


def _score_all(predicted: _Predicted, settings: ExecutionConfig) -> _Predicted:
    """Score the predictions of every model by every protocol, and release the predictions."""
    evaluated, tasks = predicted.evaluated, predicted.work.tasks
    for positions, colorization in predicted.predictions:
        assert evaluated is not None
        statistics = colorization.unit_statistics()
        for position in positions:
            evaluated.observed[position] = statistics
            seconds = evaluated.seconds[position]
            scored, saved = _score(tasks[position], colorization, settings, seconds)
            evaluated.scored[position], evaluated.saved[position] = scored, saved
    predicted.predictions = []
    return predicted


def _truth_of(batch: LoadedBatch, settings: ExecutionConfig) -> GroundTruth:
    """Move the images of a batch of the pass to the run's device."""
    return GroundTruth(batch.ids, batch.rgb8.to(settings.device), batch.gray, batch.labels, batch.sha256s)


def _score(
    task: EvaluationTask, colorization: Prediction, settings: ExecutionConfig, seconds: dict[str, float]
) -> tuple[BatchScores, dict[str, str]]:
    """Return the scores of a batch for a task, and path -> sha256 of the images that are saved of it."""
    costs = colorization.truth.costs
    costs.begin()
    started = time.perf_counter()
    scored = task.scorer.score(colorization)
    scored.check(task.spec.name, len(colorization.truth.ids))
    if task.model.stored is not None:
        gaps = lightness_gaps(colorization.lightness, colorization.truth.lightness)
        scored = replace(scored, columns={**scored.columns, LIGHTNESS_GAP: gaps})
    scored_at, seconds["score"] = time.perf_counter(), time.perf_counter() - started + costs.charged
    costs.begin()
    saved: dict[str, str] = {}
    if task.save != "none":
        saved |= keep_thumbnails(task.folder, colorization, settings.gallery)
    if task.save == "predictions":
        saved |= keep_predictions(task.folder, colorization, settings.predictions)
    seconds["write"] = time.perf_counter() - scored_at + costs.charged
    return scored, saved
