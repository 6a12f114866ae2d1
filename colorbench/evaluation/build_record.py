"""The end of a run: all shards of a task -> rows, arrays, images, and the record, which is written last."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from colorbench.data import Dataset, get_preprocessing
from colorbench.data.loader import GrayPolicy
from colorbench.errors import RunError, UserError
from colorbench.evaluation import aggregate, image_writer
from colorbench.evaluation.config import ExecutionConfig
from colorbench.evaluation.device import Residents
from colorbench.evaluation.engine import colorize_samples
from colorbench.evaluation.interfaces import ProtocolContext, ProtocolResult, ProtocolSpec
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.evaluation.run_location import Located
from colorbench.evaluation.sanity_check import ModelFinding
from colorbench.evaluation.shard_job import EvaluationTask, shard_count
from colorbench.evaluation.units import unit_notes
from colorbench.models import LoadedModel, ModelCard, find_overlap
from colorbench.models.image_folder import ImageFolderModel
from colorbench.models.stored_predictions import LIGHTNESS_GAP, prediction_notes
from colorbench.results import (
    CurvePart,
    DatasetPart,
    Difference,
    Execution,
    Metric,
    ModelPart,
    ProtocolPart,
    Record,
    Shard,
    collect_provenance,
    first_positions,
    protocol_identity,
    record_text,
)
from colorbench.results.copies import copy_notes
from colorbench.results.metric_spec import check_columns, check_statistics
from colorbench.results.record import CopyPart, Files, FingerprintPart, Skipped, storable
from colorbench.results.rows import read_rows
from colorbench.storage import content_fingerprint, plain


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
    """Return the record of all rows, whose arrays and images are written."""
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
    return build_record(
        key=task.key,
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
        command=run.command,
        files=files,
        fingerprint=task.located.part,
    )


def build_record(
    *,
    key: str,
    model: ModelPart,
    protocol: ProtocolPart,
    dataset: DatasetPart,
    metrics: Sequence[Metric],
    differences: Sequence[Difference],
    curves: Sequence[CurvePart],
    notes: Sequence[str],
    execution: Execution,
    command: Sequence[str],
    files: Files,
    fingerprint: FingerprintPart | None = None,
) -> Record:
    """Return the record of its parts. It is the only place that makes one.

    Args:
        key: run key.
        model: part on the model.
        protocol: part on the protocol.
        dataset: part on the dataset.
        metrics: of all images.
        differences: from the baselines.
        curves: to be drawn.
        notes: what a reader must know, the gravest first.
        execution: what the run took.
        command: the command line, for the provenance.
        files: hashes of the files beside the record.
        fingerprint: None where results are not looked up by it.

    Raises:
        RunError: for values that no record can hold, naming model and protocol.
    """
    with storable(f"{model.name} under {protocol.name}"):
        return Record(
            key=key,
            model=model,
            protocol=protocol,
            dataset=dataset,
            metrics=list(metrics),
            differences=list(differences),
            curves=list(curves),
            notes=list(notes),
            execution=execution,
            provenance=collect_provenance(command, [model.package]),
            files=files,
            fingerprint=fingerprint,
        )


def protocol_part(name: str, version: int, parameters: Mapping[str, Any], identity: Mapping[str, Any]) -> ProtocolPart:
    """Return a protocol as a record names it."""
    return ProtocolPart(
        name=name,
        version=version,
        parameters=plain(parameters),
        identity=plain(identity),
        identity_sha256=protocol_identity(name, version, identity),
    )


def _prediction_notes(task: EvaluationTask, run: Run, rows: Shard) -> list[str]:
    """Return what must be known of stored predictions; nothing for other models."""
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
    """Return a model as a record names it."""
    return ModelPart(
        name=model.full_name,
        package=model.package,
        package_version=model.package_version,
        weights_sha256=model.weights_sha256,
        decoding=plain(model.decoding),
        card=model.card,
    )


def dataset_part(
    dataset: Dataset,
    rows: Shard,
    *,
    card: ModelCard,
    preprocessing: str,
    gray_policy: GrayPolicy,
    limit: int | None,
) -> DatasetPart:
    """Return the images as a record names them.

    Args:
        dataset: after any limit.
        rows: of the images that were evaluated, with what was skipped and the copies.
        card: of the model; names what it was trained on.
        preprocessing: its name.
        gray_policy: what was done with gray images.
        limit: of the command.
    """
    dropped = sum(reason.startswith("gray") for _, reason in rows.skipped)
    return DatasetPart(
        name=dataset.name,
        n=len(dataset) - len(rows.copies),
        n_evaluated=len(rows),
        n_gray=sum(rows.gray) + dropped,
        gray_policy=gray_policy,
        skipped=[Skipped(id=id, reason=reason) for id, reason in rows.skipped],
        copies=[CopyPart(id=copy.id, of=copy.of) for copy in rows.copies],
        fingerprint=content_fingerprint(rows.sha256s),
        preprocessing=preprocessing,
        overlap=find_overlap(card, rows.sha256s),
        limit=limit,
        redistributable=dataset.redistributable,
        source=dataset.source,
    )


def execution_part(
    settings: ExecutionConfig, n: int, seconds: Mapping[str, float], *, deterministic: bool = True
) -> Execution:
    """Return the cost of a run.

    Seconds are summed over processes, and stages that models share count for each.

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
    settings, folder = run.settings, task.folder
    metrics = task.scorer.metrics
    headline = next((metric for metric in metrics if metric.name == task.spec.headline), None)
    reasons = image_writer.gallery_reasons(rows.ids, headline, columns)
    predictions = [*rows.ids, *(copy.id for copy in rows.copies)] if task.save == "predictions" else []
    paths = {id: settings.predictions[id] for id in predictions}
    # Which are best and worst is known only now; after a power cut a shard may be there and its images be empty.
    small, large = image_writer.incomplete(folder, reasons, paths)
    lacking = [sample for sample in run.dataset.samples if sample.id in small or sample.id in large]
    for prediction in colorize_samples(task, lacking, settings, run.residents):
        image_writer.keep_thumbnails(folder, prediction, small)
        image_writer.keep_predictions(folder, prediction, large)
    files = image_writer.write_index(folder, image_writer.saved_images(reasons, rows, columns, metrics))
    if predictions:
        files |= image_writer.write_prediction_list(folder, paths.values())
    return files


def write_result(
    context: ProtocolContext, spec: ProtocolSpec, located: Located, test: Dataset, outcome: ProtocolResult
) -> Record:
    """Write the record of one model under a dataset protocol, with its rows and arrays, and return it.

    Args:
        context: model, settings, request.
        spec: of the protocol.
        located: see ``location_of``.
        test: the images measured on.
        outcome: what was found.

    Raises:
        RunError: for rows in which a copy of an image counts as an image.
    """
    folder, rows = located.folder, outcome.rows
    if len(first_positions(rows.sha256s)) < len(rows):
        what = f"protocol {spec.name} counts copies of an image as images"
        raise RunError(what, hint="pass the rows through `colorbench.results.without_copies` before the metrics")
    check_columns(spec.name, [*outcome.columns, *outcome.arrays])
    files = aggregate.write_rows(folder, rows, outcome.columns, outcome.arrays)
    record = build_record(
        key=located.key,
        model=model_part(context.model),
        protocol=protocol_part(spec.name, spec.version, outcome.parameters, outcome.identity),
        dataset=dataset_part(
            test,
            rows,
            card=context.model.card,
            preprocessing=outcome.preprocessing,
            gray_policy=context.settings.gray_policy,
            limit=context.request.limit,
        ),
        metrics=outcome.metrics,
        differences=outcome.differences,
        curves=aggregate.curves_of(outcome.summary),
        notes=[*aggregate.few_images_note(len(rows)), *copy_notes(rows), *outcome.summary.notes],
        execution=execution_part(context.settings, len(rows) + len(rows.copies), outcome.seconds),
        command=context.request.command,
        files=files,
        fingerprint=located.part,
    )
    folder.write_record(record_text(record))
    located.close()
    folder.clear_shards()
    return record
