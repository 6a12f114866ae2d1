"""``run(request)``: evaluation of models under protocols on a dataset, from names to records.

Every model under every protocol is a task with its own folder. Finished records are read; missing shards of other tasks
are computed in one pass per preprocessing; the process that finds a task's shards complete writes its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from colorbench.errors import UserError
from colorbench.evaluation import devices_and_processes
from colorbench.evaluation.devices_and_processes import launch_token
from colorbench.evaluation.evaluation_tasks import Run, tasks_of
from colorbench.evaluation.protocol_interfaces import DatasetProtocol, NullProgress, ProgressListener, ProtocolContext
from colorbench.evaluation.requested_models_and_protocols import missing_capability, resolve
from colorbench.evaluation.run_config import RunConfig, check, execution_config
from colorbench.evaluation.run_directory import folder_of, nothing_left_behind
from colorbench.evaluation.task_records import make_records
from colorbench.models.fingerprint import model_fingerprint, protocol_code
from colorbench.results import Record, read_record
from colorbench.storage import check_writable

__all__ = ["ProgressListener", "RunConfig", "record_folder", "run"]


def run(request: RunConfig, listener: ProgressListener | None = None) -> list[Record]:
    """Run the evaluation of models and return their records; finished records are read without running anything.

    With several processes, each returns when everything is finished.

    Returns:
        The records of the requested models, grouped by model, followed by those of the baselines.

    Raises:
        UserError: for anything invalid in the request.
        RunError: if a run failed; finished shards are kept, and the same command resumes.
    """
    listener = listener or NullProgress()
    check(request)
    rank, count = devices_and_processes.processes()
    if count > 1 and not request.resume:
        raise UserError(
            "--no-resume works with one process only", hint="remove the folder of the run, or use another --output"
        )
    refused = _refused(request.output)
    if rank == 0:
        for given in (request.data, *request.roles.values()):
            for remark in given.remarks:
                listener.message(f"{given.name}: {remark}")
    resolved = resolve(request, listener.message, processes=count)
    request = replace(request, models=resolved.asked)
    ids = [sample.id for sample in resolved.dataset.samples]
    with (
        devices_and_processes.numerics(request.threads) as threads,
        nothing_left_behind(request.output, alone=count == 1) as folders,
    ):
        context = ProtocolContext(
            models=(),
            parameters={},
            data={},
            settings=execution_config(request, ids, threads=threads, rank=rank, processes=count),
            request=request,
            listener=listener,
            started=folders,
            # The weights are hashed again: an object may have been trained since its last evaluation.
            fingerprints={id(model): model_fingerprint(model) for model in resolved.models},
            launch=launch_token(count),
        )
        tasks = tasks_of(resolved, context)
        full = resolved.dataset_protocols
        if refused is not None and (full or not all(task.folder.finished() for task in tasks)):
            raise refused
        for task in tasks:
            if not task.folder.finished():
                task.located.begin()
        with devices_and_processes.Residents(context.settings.device) as residents:
            of_all = Run(
                resolved.dataset, request.limit, context.settings, request.command, residents, request.baselines
            )
            make_records(tasks, of_all, listener)
        records = [read_record(task.folder.path) for task in tasks]
        context = replace(context, models=tuple(resolved.asked))
        return records + [
            record for protocol, given in full for record in _run_dataset_protocol(protocol, given, context)
        ]


def _refused(output: Path) -> UserError | None:
    """Return the error if nothing can be written; None otherwise.

    Finished runs can be shown from a read-only folder.

    Raises:
        UserError: if there is no output yet.
    """
    try:
        check_writable(output)
    except UserError as error:
        if not output.is_dir():
            raise
        return error
    return None


def record_folder(output: Path, record: Record) -> Path:
    """Return the folder of a run's record below the output."""
    return output / folder_of(record.model.name, record.protocol.name, record.dataset.name, record.key)


def _run_dataset_protocol(
    protocol: DatasetProtocol, parameters: Mapping[str, Any], shared: ProtocolContext
) -> list[Record]:
    """Run one dataset protocol on all requested models; results other than records are reported to the listener.

    Args:
        protocol: protocol to run.
        parameters: given parameters.
        shared: context with models, settings, request and listener; the rest is filled in here.

    Raises:
        UserError: for a model that lacks a needed capability.
    """
    request, spec = shared.request, protocol.spec
    given = {"test": request.data, **request.roles}
    data = {role: one if request.limit is None else one.limit(request.limit) for role, one in given.items()}
    for model in shared.models:
        if (error := missing_capability(spec, model)) is not None:
            raise error
    groups = [shared.models] if protocol.joint else [(model,) for model in shared.models]
    records = []
    code = protocol_code(protocol)
    for group in groups:
        found = protocol.evaluate(replace(shared, models=group, parameters=parameters, data=data, code=code))
        if isinstance(found, Record):
            records.append(found)
        else:
            shared.listener.message(f"{spec.name}: {found}")
    return records
