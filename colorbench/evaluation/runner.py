"""``run(request)``: evaluation of models under protocols on a dataset, from names to records.

Every model under every protocol is a task with its own folder. Finished records are read; missing shards of other tasks
are computed in one pass per preprocessing; the process that finds a task's shards complete writes its record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from colorbench.errors import ModelFailed, RunError, UserError, one_line_errors
from colorbench.evaluation import devices_and_memory
from colorbench.evaluation.evaluation_tasks import Failures, Run, tasks_of
from colorbench.evaluation.protocol_interfaces import DatasetProtocol, NullProgress, ProgressListener, ProtocolContext
from colorbench.evaluation.requested_models_and_protocols import missing_capability, resolve
from colorbench.evaluation.run_config import RunConfig, check, execution_config
from colorbench.evaluation.run_directory import folder_of, nothing_left_behind
from colorbench.evaluation.task_records import KeptImagesListener, make_records
from colorbench.models.fingerprint import model_fingerprint, protocol_code
from colorbench.processes import Launch, LaunchStore, StoreLost, Unit, WorkClaims, current_launch, join_launch
from colorbench.results import Record, read_record
from colorbench.storage import check_writable, digest_of

__all__ = ["ProgressListener", "RunConfig", "record_folder", "run"]


@one_line_errors()
def run(request: RunConfig, listener: ProgressListener | None = None) -> list[Record]:
    """Run the evaluation of models and return their records; finished records are read without running anything.

    With several processes, each returns when everything is finished.

    Returns:
        The records of the requested models, grouped by model, followed by those of the baselines.

    Raises:
        UserError: for anything invalid in the request.
        RunError: if a run failed; finished shards are kept, and the same command resumes.
        ModelFailed: if a model failed; it has the records of the other models.
    """
    listener = listener or NullProgress()
    check(request)
    launch = current_launch()
    if launch.processes > 1 and not request.resume:
        raise UserError(
            "--no-resume works with one process only", hint="remove the folder of the run, or use another --output"
        )
    store = join_launch(launch, listener.message)
    try:
        token = launch.token if store is None else store.begin()
    except StoreLost:
        store, token = None, launch.token
    claims = WorkClaims(store, listener.message)
    try:
        records = _run(request, launch, claims, token, _LaunchProgress(listener, launch, store))
    except ModelFailed:
        if store is not None:
            store.finish()
        raise
    if store is not None:
        store.finish()
    return records


class _LaunchProgress:
    """A listener of one of several processes: rank 0 shows what all have done, and the others show nothing."""

    def __init__(self, listener: ProgressListener, launch: Launch, store: LaunchStore | None) -> None:
        self._listener, self._launch, self._store = listener, launch, store
        self._shown = self._before = 0
        self._start = time.perf_counter()

    def started(self, total: int, unit: str = "images") -> None:
        if self._launch.rank:
            return
        self._shown = self._before = self._count(0)
        self._start = time.perf_counter()
        # Without a store, the work of the other processes is not known.
        self._listener.started(total if self._store is not None else -(-total // self._launch.processes), unit)

    def advanced(self, n: int, images_per_second: float) -> None:
        if self._store is None:
            if not self._launch.rank:
                self._listener.advanced(n, images_per_second)
            return
        count = self._count(n)
        if not self._launch.rank:
            speed = (count - self._before) / max(time.perf_counter() - self._start, 1e-9)
            self._listener.advanced(count - self._shown, speed)
            self._shown = count

    def message(self, text: str) -> None:
        if not self._launch.rank:
            self._listener.message(text)

    def keeps(self, count: Callable[[], int], total: int) -> None:
        if isinstance(self._listener, KeptImagesListener):
            self._listener.keeps(count, total)

    def _count(self, n: int) -> int:
        try:
            return self._shown if self._store is None else self._store.add("images", n)
        except StoreLost:
            self._store = None
            return self._shown


def _run(
    request: RunConfig, launch: Launch, claims: WorkClaims, token: str, listener: ProgressListener
) -> list[Record]:
    """Run the evaluation in one of the processes of a launch; see ``run``."""
    refused = _refused(request.output)
    for given in (request.data, *request.roles.values()):
        for remark in given.remarks:
            listener.message(f"{given.name}: {remark}")
    resolved = resolve(request, listener.message, processes=launch.processes)
    request = replace(request, models=resolved.asked)
    ids = [sample.id for sample in resolved.dataset.samples]
    with (
        devices_and_memory.numerics(request.threads) as threads,
        nothing_left_behind(request.output, alone=launch.processes == 1) as folders,
    ):
        context = ProtocolContext(
            models=(),
            parameters={},
            data={},
            settings=execution_config(request, ids, threads=threads, launch=launch, claims=claims),
            request=request,
            listener=listener,
            started=folders,
            # The weights are hashed again: an object may have been trained since its last evaluation.
            fingerprints={id(model): model_fingerprint(model) for model in resolved.models},
            launch=token,
        )
        tasks = tasks_of(resolved, context)
        full = resolved.dataset_protocols
        if refused is not None and (full or not all(task.folder.finished() for task in tasks)):
            raise refused
        for task in tasks:
            if not task.folder.finished():
                task.located.begin()
        with devices_and_memory.Residents(context.settings.device) as residents:
            of_all = Run(
                resolved.dataset, request.limit, context.settings, request.command, residents, request.baselines
            )
            failures = Failures(listener)
            done = make_records(tasks, of_all, listener, failures)
        records = [read_record(task.folder.path) for task in done]
        sound = [model for model in resolved.asked if model.full_name not in failures.names]
        context = replace(context, models=tuple(sound))
        for protocol, values in full:
            records += _run_dataset_protocol(protocol, values, context, failures)
        failures.check(records)
        return records


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
    protocol: DatasetProtocol, parameters: Mapping[str, Any], shared: ProtocolContext, failures: Failures
) -> list[Record]:
    """Run one dataset protocol on all requested models; results other than records are reported to the listener.

    Args:
        protocol: protocol to run.
        parameters: given parameters.
        shared: context with models, settings, request and listener; the rest is filled in here.
        failures: models that fail are added, if there are several.

    Raises:
        UserError: for a model that lacks a needed capability.
        RunError: for the only model, or models that are evaluated together, that failed.
    """
    request, spec = shared.request, protocol.spec
    given = {"test": request.data, **request.roles}
    data = {role: one if request.limit is None else one.limit(request.limit) for role, one in given.items()}
    for model in shared.models:
        if (error := missing_capability(spec, model)) is not None:
            raise error
    code = protocol_code(protocol)
    records: dict[int, Record] = {}

    groups = [shared.models] if protocol.joint else [(model,) for model in shared.models]
    evaluated: set[int] = set()

    def evaluate(position: int) -> None:
        context = replace(shared, models=groups[position], parameters=parameters, data=data, code=code)
        try:
            found = protocol.evaluate(context)
        except RunError as error:
            if len(groups) == 1:
                raise
            failures.add(ModelFailed(groups[position][0].full_name, error))
            found = None
        if isinstance(found, Record):
            records[position] = found
        elif found is not None:
            shared.listener.message(f"{spec.name}: {found}")
        evaluated.add(position)

    if getattr(protocol, "shares_work", False) or shared.settings.processes == 1:
        for position in range(len(groups)):
            evaluate(position)
    else:
        # One process evaluates a model; the others then read its record.
        shared.settings.claims.complete(
            Unit(
                shared.cache,
                f"{spec.name}-{digest_of([models[0].full_name, str(parameters)])[:12]}",
                done=partial(evaluated.__contains__, position),
                make=partial(evaluate, position),
            )
            for position, models in enumerate(groups)
        )
    return [records[position] for position in sorted(records)]
