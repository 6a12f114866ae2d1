"""Completion of tasks: compute missing shards, then write rows, arrays, images and, last, the record.

The process that finds all shards of a task complete writes its record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np

from colorbench.evaluation import metric_aggregation, saved_image_writer
from colorbench.evaluation.build_record import build_record, dataset_part, execution_part, model_part, protocol_part
from colorbench.evaluation.evaluation_tasks import EvaluationTask, Failures, Run, baselines_first, differences_of
from colorbench.evaluation.first_image_checks import ModelFinding, check_models, check_scorers, find_batch_size
from colorbench.evaluation.image_pass import colorize_samples, images_in_passes, missing_images, run_passes
from colorbench.evaluation.protocol_interfaces import ProgressListener, ThroughputMeter
from colorbench.evaluation.run_directory import DamagedShard, RunDirectory
from colorbench.models.prediction_units import unit_notes
from colorbench.models.stored_prediction_checks import LIGHTNESS_GAP, prediction_notes
from colorbench.results import Record, Shard, copy_notes, record_text
from colorbench.results.saved_image_index import gallery_reasons, saved_images

Findings = Mapping[int, Sequence[ModelFinding]]
"""id of a loaded model -> findings of the check before the pass."""


@runtime_checkable
class KeptImagesListener(Protocol):
    """Interface for progress listeners that also hear how much an interruption would keep."""

    def keeps(self, count: Callable[[], int], total: int) -> None:
        """Handle the start of passes over ``total`` images; ``count`` returns how many are in finished shards."""


def make_records(
    tasks: Sequence[EvaluationTask], run: Run, listener: ProgressListener, failures: Failures
) -> Sequence[EvaluationTask]:
    """Compute missing shards and make records until every task has its record.

    Args:
        tasks: finished or not.
        run: what they share.
        listener: is told of progress.
        failures: models that fail are added.

    Returns:
        The tasks of the models that did not fail.

    Raises:
        RunError: for a run that failed, or if no model is left; finished shards are kept.
    """
    check_scorers(tasks, run)
    broken: list[Exception] = []
    findings = check_models(tasks, run, broken.append)
    for error in broken:
        tasks = failures.without(error, tasks)
    in_turn = baselines_first(tasks)
    if run.settings.auto_batch and any(not task.folder.finished() for task in tasks):
        size = run.settings.claims.agreed("batch-size", find_batch_size(tasks, run))
        listener.message(f"--batch-size auto: batches of {size}")
        run = run.with_batches_of(size)
    progress, begun = ThroughputMeter(listener), set[int]()
    total, lacking = images_in_passes(tasks, run), missing_images(tasks, run)
    if lacking < total:
        listener.message(f"continues at {total - lacking} of {total} images")
    listener.started(lacking)
    if isinstance(listener, KeptImagesListener):
        listener.keeps(lambda: total - missing_images(tasks, run), total)
    while any(not task.folder.finished() for task in tasks):
        try:
            made = run_passes(tasks, run, progress, begun)
            made += sum(_finish(task, in_turn, run, findings) for task in in_turn)
        except Exception as error:
            if (smaller := run.after(error, listener.message)) is not None:
                run = smaller
            else:
                tasks = failures.without(error, tasks)
                in_turn = baselines_first(tasks)
            continue
        if not made:  # other processes compute the rest
            progress.advance(0)
            run.settings.claims.wait()
    if run.settings.processes > 1:
        progress.advance(0)  # what others did since this process wrote its last part
    for task in tasks:
        task.folder.clear_shards()
    return tasks


def _finish(task: EvaluationTask, tasks: Sequence[EvaluationTask], run: Run, findings: Findings) -> bool:
    """Build the record if all shards exist, no other process builds it, and the records of the baselines exist."""
    if task.folder.finished() or not task.folder.complete(len(run.dataset)):
        return False
    baselines = differences_of(task, tasks, run)
    if not all(folder.finished() for folder in baselines.values()):
        return False
    claim = run.settings.claims.take(task.folder.shards, "record")
    if claim is None:
        return False
    try:
        if not task.folder.finished():
            _write_record(task, run, baselines, findings.get(id(task.model), ()))
            task.located.close()
    except DamagedShard:
        pass  # it is made in the next pass
    except FileNotFoundError:
        if not task.folder.finished():  # without locks, another process may have finished it and removed the shards
            raise
    finally:
        claim.release()
    return True


def _write_record(
    task: EvaluationTask, run: Run, baselines: Mapping[str, RunDirectory], findings: Sequence[ModelFinding]
) -> None:
    """Write the record of a task whose shards are complete.

    Raises:
        RunError: if no image could be evaluated, a shard is damaged, or the disk is full.
    """
    started = time.perf_counter()
    with task.folder.gathered(len(run.dataset)) as rows:
        record = _record(task, run, baselines, rows, findings, started)
    task.folder.write_record(record_text(record))


def _record(
    task: EvaluationTask,
    run: Run,
    baselines: Mapping[str, RunDirectory],
    rows: Shard,
    findings: Sequence[ModelFinding],
    started: float,
) -> Record:
    """Build the record from all rows, after arrays and images are written."""
    scorer = task.scorer
    summary, columns = metric_aggregation.summarized(task.spec.name, scorer, rows)
    with ThreadPoolExecutor(max_workers=1) as beside:
        # Compressing the arrays takes as long as computing all intervals, so both run in parallel.
        stored = beside.submit(task.folder.write_rows, rows, columns, rows.arrays)
        differences = metric_aggregation.differences_from_runs(baselines, scorer.metrics, (rows.sha256s, columns))
        metrics = metric_aggregation.metrics_of(scorer.metrics, columns, summary.effective_n)
        saved = _save_images(task, run, rows, columns)
    seconds = {**rows.seconds, "aggregate": time.perf_counter() - started}
    return build_record(
        key=task.located.key,
        model=model_part(task.model),
        protocol=protocol_part(task.spec.name, task.spec.version, scorer.parameters, scorer.identity),
        dataset=dataset_part(
            run.dataset,
            rows,
            card=task.model.card,
            preprocessing=scorer.preprocessing,
            gray_policy=run.settings.gray_policy,
            limit=run.limit,
        ),
        metrics=metrics,
        differences=differences,
        curves=metric_aggregation.curves_of(summary),
        notes=[
            *metric_aggregation.few_images_note(len(rows)),
            *_prediction_notes(task, run, rows),
            *(one.note for one in findings),
            *_unit_notes(task, run),
            *task.model.runtime_notes(run.settings.device),
            *copy_notes(rows),
            *summary.notes,
        ],
        execution=execution_part(
            run.settings,
            len(rows) + len(rows.copies),
            seconds,
            warm_up=rows.warm_up,
            deterministic=all(one.deterministic for one in findings),
        ),
        command=run.command,
        files=stored.result().model_copy(update={"saved_images": saved}),
        fingerprint=task.located.part,
        spec=task.spec,
    )


def _prediction_notes(task: EvaluationTask, run: Run, rows: Shard) -> list[str]:
    """Return notes about stored predictions; empty for other models."""
    if (stored := task.model.stored) is None:
        return []
    sizes = dict(zip(rows.ids, rows.sizes, strict=True))
    gaps = rows.columns[LIGHTNESS_GAP]
    return prediction_notes(stored, run.dataset.samples, task.scorer.preprocessing, sizes, rows.sha256s, gaps)


def _unit_notes(task: EvaluationTask, run: Run) -> list[str]:
    if task.model.card.role == "reference":
        return []
    return unit_notes(task.folder.observed(len(run.dataset)), stored=task.model.stored is not None)


def _save_images(task: EvaluationTask, run: Run, rows: Shard, columns: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Complete and index the saved images; return path below the record's folder -> sha256."""
    if task.save == "none":
        return {}
    settings, folder = run.settings, task.folder
    metrics = task.scorer.metrics
    headline = next((metric for metric in metrics if metric.name == task.spec.headline), None)
    reasons = gallery_reasons(rows.ids, headline, columns)
    predictions = [*rows.ids, *(copy.id for copy in rows.copies)] if task.save == "predictions" else []
    paths = {id: settings.predictions[id] for id in predictions}
    # The best and worst images are known only now; after a power cut a shard may exist while its images are empty.
    small, large = saved_image_writer.incomplete(folder, reasons, paths, rows.saved)
    lacking = [sample for sample in run.dataset.samples if sample.id in small or sample.id in large]
    for prediction in colorize_samples(task, lacking, run):
        saved_image_writer.keep_thumbnails(folder, prediction, small)
        saved_image_writer.keep_predictions(folder, prediction, large)
    files = saved_image_writer.write_index(folder, saved_images(reasons, rows, columns, metrics))
    if predictions:
        files |= saved_image_writer.write_prediction_list(folder, paths.values())
    return files
