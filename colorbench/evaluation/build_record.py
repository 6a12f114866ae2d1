"""Construction of the record of a run from its parts, and writing of the results of dataset protocols."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from colorbench.data import Dataset, GrayPolicy
from colorbench.errors import RunError
from colorbench.evaluation import metric_aggregation
from colorbench.evaluation.protocol_interfaces import ProtocolContext, ProtocolResult, ProtocolSpec
from colorbench.evaluation.record_reuse import Located
from colorbench.evaluation.run_config import ExecutionConfig
from colorbench.models import LoadedModel, ModelCard, find_overlap
from colorbench.results import (
    CurvePart,
    DatasetPart,
    Difference,
    Execution,
    Files,
    FingerprintPart,
    Metric,
    ModelPart,
    ProtocolPart,
    Record,
    Shard,
    collect_provenance,
    copy_notes,
    find_shared_weights,
    first_positions,
    protocol_identity,
    record_text,
)
from colorbench.results.metric_spec import check_columns
from colorbench.results.record import CopyPart, Skipped, storable
from colorbench.storage import content_fingerprint, plain


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
    spec: ProtocolSpec | None = None,
) -> Record:
    """Build the record of a run from its parts; the only function that creates a ``Record``.

    Args:
        key: run key.
        model: part on the model.
        protocol: part on the protocol.
        dataset: part on the dataset.
        metrics: metrics over all images.
        differences: differences from the baselines.
        curves: curves to display.
        notes: notes for the reader, the most serious first.
        execution: part on speed and hardware.
        command: the command line, for the provenance.
        files: hashes of the other files of the record.
        fingerprint: None if results are not looked up by it.
        spec: of the protocol; names its networks and the capabilities that it needs.

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
            shared_weights=find_shared_weights(
                model.card,
                protocol.name,
                protocol.identity,
                needs=() if spec is None else spec.needs,
                alternatives={} if spec is None else spec.networks,
            ),
        )


def protocol_part(name: str, version: int, parameters: Mapping[str, Any], identity: Mapping[str, Any]) -> ProtocolPart:
    """Return the record's part on the protocol."""
    return ProtocolPart(
        name=name,
        version=version,
        parameters=plain(parameters),
        identity=plain(identity),
        identity_sha256=protocol_identity(name, version, identity),
    )


def model_part(model: LoadedModel) -> ModelPart:
    """Return the record's part on the model."""
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
    """Return the record's part on the dataset.

    Args:
        dataset: after any limit.
        rows: rows of the evaluated images, with skipped images and copies.
        card: card of the model, which names its training data.
        preprocessing: name of the preprocessing.
        gray_policy: treatment of gray images.
        limit: ``--limit`` of the command.
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
    settings: ExecutionConfig,
    n: int,
    seconds: Mapping[str, float],
    *,
    warm_up: tuple[int, float] = (0, 0.0),
    deterministic: bool = True,
) -> Execution:
    """Return the record's part on execution: speed, hardware and settings.

    Seconds are summed over threads and processes; stages that models share count for each model.

    Args:
        settings: of the run.
        n: number of evaluated images.
        seconds: stage -> seconds, of all images.
        warm_up: images and seconds that the speed leaves out, unless they are all images; see ``Shard.warm_up``.
        deterministic: whether the model was found to be deterministic.
    """
    total = sum(seconds.values())
    timed, spent = (n - warm_up[0], total - warm_up[1]) if warm_up[0] < n else (n, total)
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
        images_per_second=round(timed / spent, 3) if spent > 0 else 0.0,
        stage_seconds={stage: round(duration, 3) for stage, duration in seconds.items()},
    )


def write_result(
    context: ProtocolContext, spec: ProtocolSpec, located: Located, test: Dataset, outcome: ProtocolResult
) -> Record:
    """Write the record of one model under a dataset protocol, with rows and arrays, and return it.

    Args:
        context: model, settings, request.
        spec: spec of the protocol.
        located: see ``location_of``.
        test: the evaluated images.
        outcome: the protocol's result.

    Raises:
        RunError: for rows that count a copy of an image.
    """
    folder, rows = located.folder, outcome.rows
    if len(first_positions(rows.sha256s)) < len(rows):
        what = f"protocol {spec.name} counts copies of an image as images"
        raise RunError(what, hint="pass the rows through `colorbench.results.without_copies` before the metrics")
    check_columns(spec.name, [*outcome.columns, *outcome.arrays])
    files = folder.write_rows(rows, outcome.columns, outcome.arrays)
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
        curves=metric_aggregation.curves_of(outcome.summary),
        notes=[*metric_aggregation.few_images_note(len(rows)), *copy_notes(rows), *outcome.summary.notes],
        execution=execution_part(context.settings, len(rows) + len(rows.copies), outcome.seconds),
        command=context.request.command,
        files=files,
        fingerprint=located.part,
        spec=spec,
    )
    folder.write_record(record_text(record))
    located.close()
    folder.clear_shards()
    return record
