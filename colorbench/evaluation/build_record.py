"""The end of a run: all shards of a task -> rows, arrays, images, and the record, which is written last."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from colorbench.data.dataset import Dataset
from colorbench.data.loader import load_batches
from colorbench.data.preprocessing import get_preprocessing
from colorbench.errors import RunError, UserError
from colorbench.evaluation import aggregate, image_writer
from colorbench.evaluation.config import ExecutionConfig
from colorbench.evaluation.device import Residents
from colorbench.evaluation.engine import truth_of
from colorbench.evaluation.interfaces import ProtocolContext, ProtocolResult, ProtocolSpec
from colorbench.evaluation.predict import colorize
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.evaluation.run_location import Located, locate, not_reusable
from colorbench.evaluation.sanity_check import ModelFinding
from colorbench.evaluation.shard_job import EvaluationTask, shard_count
from colorbench.evaluation.units import unit_notes
from colorbench.models.image_folder import ImageFolderModel
from colorbench.models.loading import LoadedModel
from colorbench.models.stored_predictions import LIGHTNESS_GAP, prediction_notes
from colorbench.models.training_overlap import find_overlap
from colorbench.results import image_index
from colorbench.results.copies import copy_notes, first_positions
from colorbench.results.metric_spec import check_columns, check_statistics
from colorbench.results.provenance import collect_provenance
from colorbench.results.record import (
    CopyPart,
    CurvePart,
    DatasetPart,
    Execution,
    ModelPart,
    ProtocolPart,
    Record,
    Skipped,
    read_record,
    record_text,
    storable,
)
from colorbench.results.rows import read_rows
from colorbench.results.run_key import protocol_identity, run_fingerprint
from colorbench.results.shard import Shard
from colorbench.storage.atomic import check_writable
from colorbench.storage.hashing import content_fingerprint, plain


@dataclass(frozen=True)
class Run:
    """What the records of one command have in common."""

    dataset: Dataset
    """After any limit."""
    limit: int | None
    settings: ExecutionConfig
    command: tuple[str, ...]
    residents: Residents
    findings: Mapping[int, Sequence[ModelFinding]] = field(default_factory=dict)
    """id of a loaded model -> what the check before the pass found."""


def finish(task: EvaluationTask, run: Run, baselines: Mapping[str, RunDirectory]) -> None:
    """Make the record of a task whose shards are all there.

    Args:
        task: the model and protocol.
        run: the command's data and settings.
        baselines: name -> folder of the finished runs that differences are taken from, in order.

    Raises:
        RunError: if no image could be evaluated, a shard is damaged, or the disk is full.
    """
    started = time.perf_counter()
    with aggregate.gathered(task.folder, shard_count(len(run.dataset))) as rows:
        if not rows.ids:
            first = f"the first: {rows.skipped[0][0]}: {rows.skipped[0][1]}" if rows.skipped else run.dataset.name
            hint = "give other images with --data"
            raise RunError("not one image could be evaluated", where=first, hint=hint)
        record = _record(task, run, baselines, rows, started)
    task.folder.write_record(record_text(record))


def _record(
    task: EvaluationTask, run: Run, baselines: Mapping[str, RunDirectory], rows: Shard, started: float
) -> Record:
    """The record of all rows, whose arrays and images are written."""
    folder, scorer = task.folder, task.scorer
    summary = scorer.summarize(rows.columns, rows.arrays)
    check_columns(task.spec.name, summary.statistics or {})
    columns = {**rows.columns, **(summary.statistics or {})}
    check_statistics(task.spec.name, scorer.metrics, columns)
    with ThreadPoolExecutor(max_workers=1) as beside:
        # Compressing the arrays takes as long as all intervals.
        stored = beside.submit(aggregate.write_rows, folder, rows, columns, rows.arrays)
        differences = []
        for name, other in baselines.items():
            try:
                reference = read_rows(other.rows)
            except UserError as error:
                raise RunError(f"the rows of {name} cannot be read", where=error.where, hint=error.hint) from error
            differences += aggregate.differences_from(name, scorer.metrics, (rows.sha256s, columns), reference)
        metrics = aggregate.metrics_of(scorer.metrics, columns, summary.effective_n)
        saved = _save_images(task, run, rows, columns)
        files = stored.result().model_copy(update={"saved_images": saved})
    findings = run.findings.get(id(task.model), ())
    seconds = {**rows.seconds, "aggregate": time.perf_counter() - started}
    with storable(f"{task.model.full_name} under {task.spec.name}"):
        return Record(
            key=task.key,
            model=model_part(task.model),
            protocol=ProtocolPart(
                name=task.spec.name,
                version=task.spec.version,
                parameters=plain(scorer.parameters),
                identity=plain(scorer.identity),
                identity_sha256=protocol_identity(task.spec.name, task.spec.version, scorer.identity),
            ),
            dataset=_dataset_part(task, run, rows),
            metrics=metrics,
            differences=differences,
            curves=aggregate.curves_of(summary),
            notes=[
                *aggregate.few_images_note(len(rows)),
                *_prediction_notes(task, run, rows),
                *(one.note for one in findings),
                *_unit_notes(task, run),
                *copy_notes(rows),
                *summary.notes,
            ],
            execution=execution_part(
                run.settings,
                len(rows) + len(rows.copies),
                seconds,
                deterministic=all(one.deterministic for one in findings),
            ),
            provenance=collect_provenance(run.command, [task.model.package]),
            files=files,
            fingerprint=task.located.part,
        )


def _prediction_notes(task: EvaluationTask, run: Run, rows: Shard) -> list[str]:
    """What must be known of stored predictions; nothing of other models."""
    stored = task.model.colorizer
    if not isinstance(stored, ImageFolderModel):
        return []
    sizes = dict(zip(rows.ids, rows.sizes, strict=True))
    preprocessing = get_preprocessing(task.scorer.preprocessing)
    return prediction_notes(
        stored, run.dataset.samples, preprocessing, sizes, rows.sha256s, rows.columns[LIGHTNESS_GAP]
    )


def _unit_notes(task: EvaluationTask, run: Run) -> list[str]:
    if task.model.card.role == "reference":
        return []
    parts = (task.folder.read_observed(index) for index in range(shard_count(len(run.dataset))))
    return unit_notes(parts, stored=isinstance(task.model.colorizer, ImageFolderModel))


def model_part(model: LoadedModel) -> ModelPart:
    """A model as a record names it."""
    return ModelPart(
        name=model.full_name,
        package=model.package,
        package_version=model.package_version,
        weights_sha256=model.weights_sha256,
        decoding=plain(model.decoding),
        card=model.card,
    )


def _dataset_part(task: EvaluationTask, run: Run, rows: Shard) -> DatasetPart:
    dropped = sum(reason.startswith("gray") for _, reason in rows.skipped)
    return DatasetPart(
        name=run.dataset.name,
        n=len(run.dataset) - len(rows.copies),
        n_evaluated=len(rows),
        n_gray=sum(rows.gray) + dropped,
        gray_policy=run.settings.gray_policy,
        skipped=[Skipped(id=id, reason=reason) for id, reason in rows.skipped],
        copies=[CopyPart(id=copy.id, of=copy.of) for copy in rows.copies],
        fingerprint=content_fingerprint(rows.sha256s),
        preprocessing=task.scorer.preprocessing,
        overlap=find_overlap(task.model.card, rows.sha256s),
        limit=run.limit,
        redistributable=run.dataset.redistributable,
        source=run.dataset.source,
    )


def execution_part(
    settings: ExecutionConfig, n: int, seconds: Mapping[str, float], *, deterministic: bool = True
) -> Execution:
    """What it took; seconds are added up over processes, and stages that models share count for each.

    ``deterministic``: whether the model was found to be.
    """
    total = sum(seconds.values())
    device = settings.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return Execution(
        seed=settings.seed,
        device=f"{device} ({name})",
        dtype=str(settings.dtype).removeprefix("torch."),
        threads=settings.threads,
        batch_size=settings.batch_size,
        workers=settings.workers,
        processes=settings.processes,
        deterministic=deterministic and (device.type == "cpu" or torch.backends.cudnn.deterministic),
        seconds=round(total, 3),
        images_per_second=round(n / total, 3) if total > 0 else 0.0,
        stage_seconds={stage: round(spent, 3) for stage, spent in seconds.items()},
    )


def _save_images(task: EvaluationTask, run: Run, rows: Shard, columns: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Complete the saved images and list them; path below the record's folder -> sha256."""
    if task.save == "none":
        return {}
    names = {metric.name: metric for metric in task.scorer.metrics}
    headline = names.get(task.spec.headline)
    gallery = image_writer.fixed_ids(rows.ids)
    reasons: dict[str, list[str]] = {id: ["fixed"] for id in rows.ids if id in gallery}
    if headline is not None and headline.name in columns:
        ends = image_writer.extreme_ids(rows.ids, columns[headline.name], headline.higher_is_better)
        for end, ids in ends.items():
            for position, id in enumerate(ids, start=1):
                reasons.setdefault(id, []).append(f"{headline.name} {end} {position}")
    predictions = [*rows.ids, *(copy.id for copy in rows.copies)] if task.save == "predictions" else []
    _colorize_again(task, run, thumbnails=reasons, predictions=predictions)
    location_of = {id: position for position, id in enumerate(rows.ids)}
    saved = [_saved(id, why, location_of[id], rows, columns, list(names)) for id, why in reasons.items()]
    files = image_writer.write_index(task.folder, saved)
    if predictions:
        files |= image_writer.write_prediction_list(task.folder, [run.settings.predictions[id] for id in predictions])
    return files


def _saved(
    id: str, reasons: list[str], position: int, rows: Shard, columns: Mapping[str, np.ndarray], metrics: Sequence[str]
) -> image_index.SavedImage:
    scores = {name: float(columns[name][position]) for name in metrics if name in columns}
    return image_index.SavedImage.of(id, rows.sha256s[position], reasons, scores)


def _colorize_again(task: EvaluationTask, run: Run, *, thumbnails: Iterable[str], predictions: Iterable[str]) -> None:
    """Colorize once more the images whose saved images are not there, or are damaged.

    Which are best and worst is known only at the end; after a power cut a shard may be there and its images be empty.
    """
    settings, folder = run.settings, task.folder
    small = frozenset(
        id
        for id in thumbnails
        if not all(image_index.is_complete(folder.thumbnails / name) for name in image_index.saved_names(id))
    )
    large = frozenset(
        id for id in predictions if not image_index.is_complete(folder.predictions / settings.predictions[id])
    )
    samples = [sample for sample in run.dataset.samples if sample.id in small or sample.id in large]
    if not samples:
        return
    preprocessing = get_preprocessing(task.scorer.preprocessing)
    for batch in load_batches(
        samples,
        preprocessing,
        batch_size=settings.batch_size,
        workers=settings.workers,
        gray_policy=settings.gray_policy,
    ):
        if batch.ids:
            truth = truth_of(batch, settings)
            ask = partial(colorize, task.model, truth, batch.sizes, settings.seed, preprocessing.name, settings.dtype)
            prediction = run.residents.work(task.model, ask)
            image_writer.keep_thumbnails(folder, prediction, small)
            image_writer.keep_predictions(folder, prediction, {id: settings.predictions[id] for id in large})


@dataclass(frozen=True)
class Position:
    """Where a record is or will be."""

    folder: RunDirectory
    key: str
    located: Located

    def finished(self) -> Record | None:
        """The record that is there already."""
        return read_record(self.folder.path) if self.folder.finished() else None


def set_aside_if_unreadable(folder: RunDirectory, say: Callable[[str], None]) -> None:
    """Rename a finished record that cannot be read, and say so: its run is made again beside it.

    Raises:
        UserError: where the place cannot be written.
    """
    try:
        read_record(folder.path)
    except UserError as error:
        aside = folder.set_aside()
        say(f"{error}: it is now {aside.name}, and the run is made again")


def location_of(context: ProtocolContext, spec: ProtocolSpec, identity: Mapping[str, Any], test: Dataset) -> Position:
    """The folder of the context's model under a protocol; says so where it is measured already.

    Args:
        context: model, settings, request.
        spec: of the protocol.
        identity: of the protocol with its parameters; what it was trained on, by content, is part of it.
        test: the images measured on.
    """
    request = context.request
    fingerprint = run_fingerprint(
        context.fingerprint_of(context.model),
        protocol_identity(spec.name, spec.version, identity),
        context.code,
        gray_policy=request.gray_policy,
        seed=request.seed,
        dtype=request.dtype,
    )
    located = locate(
        request.output,
        fingerprint,
        protocol=spec.name,
        dataset=test,
        save="none",
        resume=request.resume,
        launch=context.launch,
        say=context.listener.message,
    )
    context.started.append(located.folder)
    if located.folder.finished():
        set_aside_if_unreadable(located.folder, context.listener.message)
    if located.folder.finished():
        where = located.folder.path
        context.listener.message(f"{context.model.full_name} under {spec.name}: reused from {where}")
    else:
        if fingerprint.reasons:
            context.listener.message(not_reusable(context.model.full_name, fingerprint.reasons))
        check_writable(request.output)
        located.begin()
    return Position(located.folder, located.key, located)


def write_result(
    context: ProtocolContext, spec: ProtocolSpec, position: Position, test: Dataset, outcome: ProtocolResult
) -> Record:
    """Write the record of one model, with its rows and arrays; returns it.

    Raises:
        RunError: for rows in which a copy of an image counts as an image.
    """
    folder, rows = position.folder, outcome.rows
    if len(first_positions(rows.sha256s)) < len(rows):
        what = f"protocol {spec.name} counts copies of an image as images"
        raise RunError(what, hint="it must pass its rows through `evaluation.copies.without_copies` before its metrics")
    check_columns(spec.name, [*outcome.columns, *outcome.arrays])
    files = aggregate.write_rows(folder, rows, outcome.columns, outcome.arrays)
    curves: list[CurvePart] = aggregate.curves_of(outcome.summary)
    with storable(f"{context.model.full_name} under {spec.name}"):
        record = Record(
            key=position.key,
            model=model_part(context.model),
            protocol=ProtocolPart(
                name=spec.name,
                version=spec.version,
                parameters=plain(outcome.parameters),
                identity=plain(outcome.identity),
                identity_sha256=protocol_identity(spec.name, spec.version, outcome.identity),
            ),
            dataset=DatasetPart(
                name=test.name,
                n=len(test) - len(rows.copies),
                n_evaluated=len(rows),
                n_gray=sum(rows.gray) + sum(reason.startswith("gray") for _, reason in rows.skipped),
                gray_policy=context.settings.gray_policy,
                skipped=[Skipped(id=id, reason=reason) for id, reason in rows.skipped],
                copies=[CopyPart(id=copy.id, of=copy.of) for copy in rows.copies],
                fingerprint=content_fingerprint(rows.sha256s),
                preprocessing=outcome.preprocessing,
                overlap=find_overlap(context.model.card, rows.sha256s),
                limit=context.request.limit,
                redistributable=test.redistributable,
                source=test.source,
            ),
            metrics=list(outcome.metrics),
            differences=list(outcome.differences),
            curves=curves,
            notes=[*aggregate.few_images_note(len(rows)), *copy_notes(rows), *outcome.summary.notes],
            execution=execution_part(context.settings, len(rows) + len(rows.copies), outcome.seconds),
            provenance=collect_provenance(context.request.command, [context.model.package]),
            files=files,
            fingerprint=position.located.part,
        )
    folder.write_record(record_text(record))
    position.located.close()
    folder.clear_shards()
    return read_record(folder.path)
