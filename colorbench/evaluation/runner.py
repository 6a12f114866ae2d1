"""``run(request)``: models x protocols on images, from names to records.

Every model under every protocol is a task with a folder of its own. Finished ones are read; of the others the missing
shards are made, in one pass for each preprocessing; the process that finds all shards of a task makes its record.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from colorbench.data import Dataset, get_preprocessing
from colorbench.errors import UserError
from colorbench.evaluation import device
from colorbench.evaluation.build_record import Run, finish
from colorbench.evaluation.config import ExecutionConfig, RunConfig, check
from colorbench.evaluation.device import Residents
from colorbench.evaluation.engine import run_pass
from colorbench.evaluation.image_writer import fixed_ids, prediction_names
from colorbench.evaluation.interfaces import (
    ChecksModel,
    DatasetProtocol,
    NullProgress,
    ProgressListener,
    ProtocolContext,
    ProtocolSpec,
    Scorer,
    ThroughputMeter,
)
from colorbench.evaluation.resolve import (
    asked_protocols,
    check_roles,
    dataset_protocols,
    load_baselines,
    load_models,
    missing_capability,
    resolve_protocols,
)
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.evaluation.run_location import folder_of, launch_token, locate, not_reusable
from colorbench.evaluation.sanity_check import check_models, check_scorers
from colorbench.evaluation.shard_job import EvaluationTask, missing, shard_count, shard_samples
from colorbench.models import BASELINES, LoadedModel
from colorbench.models.fingerprint import ModelFingerprint, model_fingerprint, protocol_code
from colorbench.models.image_folder import ImageFolderModel
from colorbench.models.reference_models import DIFFERENCES
from colorbench.models.stored_predictions import check_predictions
from colorbench.results import Record, protocol_identity, read_record
from colorbench.results.run_key import run_fingerprint
from colorbench.storage import check_writable

__all__ = ["ProgressListener", "RunConfig", "record_folder", "run"]


def run(request: RunConfig, listener: ProgressListener | None = None) -> list[Record]:
    """Measure models and return their records, finished ones without running anything.

    With several processes each returns when all is done, by whichever of them.

    Returns:
        The records of the models asked for, a model's protocols together, then those of the baselines.

    Raises:
        UserError: for anything in the request that cannot be.
        RunError: for a run that failed; finished shards are kept, and the same command goes on from there.
    """
    listener = listener or NullProgress()
    check(request)
    rank, count = device.processes()
    if count > 1 and not request.resume:
        raise UserError("--no-resume is for one process", hint="remove the run's folder, or give another --output")
    refused = _refused(request.output)
    dataset = request.data if request.limit is None else request.data.limit(request.limit)
    if not dataset.samples:
        raise UserError("there are no images", where=dataset.source or dataset.name, hint="check --data")
    if rank == 0:
        for given in (request.data, *request.roles.values()):
            for remark in given.remarks:
                listener.message(f"{given.name}: {remark}")
    protocols = asked_protocols(request)
    check_roles({"test", *request.roles}, (protocol for protocol, _ in protocols))
    scorers, full = resolve_protocols(protocols, dataset), dataset_protocols(protocols)
    if full and count > 1:
        raise UserError(
            f"{full[0][0].spec.name} runs in one process",
            hint="start it without torchrun or srun, or unset RANK and WORLD_SIZE",
        )
    # Gray, constant and truth stand beside scores of colors; what trains something has controls of its own.
    asked = load_models(request)
    request = replace(request, models=asked)
    models = [*asked, *load_baselines(asked)] if scorers and request.baselines else asked
    ids = tuple(sample.id for sample in dataset.samples)
    for model in models:
        model.prepare(ids)  # stored images are hashed: their content is part of the key
        if isinstance(model.colorizer, ImageFolderModel):
            preprocessings = [scorer.preprocessing for _, scorer in scorers]
            check_predictions(model.colorizer, dataset.samples, preprocessings, listener.message)
    with device.numerics(request.threads) as threads:
        settings = ExecutionConfig(
            device=device.device_of(request.device),
            dtype=device.dtype_of(request.dtype),
            batch_size=request.batch_size,
            workers=min(8, device.cpu_count()) if request.workers is None else request.workers,
            seed=request.seed,
            gray_policy=request.gray_policy,
            threads=threads,
            gallery=fixed_ids(ids),
            predictions=prediction_names(ids) if request.save == "predictions" else {},
            rank=rank,
            processes=count,
        )
        with _nothing_left_behind(request.output, alone=count == 1) as folders:
            # The weights are hashed as they are now: an object may have been trained since it was measured last.
            prints = {id(model): model_fingerprint(model) for model in models}
            launch = launch_token(count)
            tasks = _tasks(request, dataset, models, scorers, prints, launch, listener, folders)
            if refused is not None and (full or not all(task.folder.finished() for task in tasks)):
                raise refused
            for task in tasks:
                if not task.folder.finished():
                    task.located.begin()
            with Residents(settings.device) as residents:
                started = Run(dataset, request.limit, settings, request.command, residents)
                _work(tasks, started, request.baselines, listener)
            context = ProtocolContext(
                (), {}, {}, settings, request, listener, folders, fingerprints=prints, launch=launch
            )
            records = [read_record(task.folder.path) for task in tasks]
            return records + [
                record for one, given in full for record in run_dataset_protocol(one, given, asked, context)
            ]


def _refused(output: Path) -> UserError | None:
    """Return why nothing can be written; None where it can be.

    Finished runs can be shown from a read-only folder.

    Raises:
        UserError: where no output is there yet.
    """
    try:
        check_writable(output)
    except UserError as error:
        if not output.is_dir():
            raise
        return error
    return None


@contextlib.contextmanager
def _nothing_left_behind(output: Path, *, alone: bool) -> Iterator[list[RunDirectory]]:
    """Collect the folders of a run; after an error those in which nothing was made are removed.

    A board would take them for runs that were not finished. Of several processes another may be about to fill them.
    """
    folders: list[RunDirectory] = []
    try:
        yield folders
    except BaseException:
        for folder in folders if alone else ():
            folder.remove_if_empty(output)
        raise


def record_folder(output: Path, record: Record) -> Path:
    """Return the folder of a record, with its rows and images."""
    return output / folder_of(record.model.name, record.protocol.name, record.dataset.name, record.key)


def _tasks(
    request: RunConfig,
    dataset: Dataset,
    models: Sequence[LoadedModel],
    scorers: Sequence[tuple[ProtocolSpec, Scorer]],
    prints: Mapping[int, ModelFingerprint],
    launch: str,
    listener: ProgressListener,
    folders: list[RunDirectory],
) -> list[EvaluationTask]:
    """Return every model under every protocol, each folder once; ``folders`` takes them as they are begun."""
    tasks: dict[Path, EvaluationTask] = {}
    asked = len(request.models)
    codes = [protocol_code(scorer) for _, scorer in scorers]
    references = [prints[id(model)] for model in models if request.baselines and model.full_name in BASELINES]
    for position, model in enumerate(models):
        # Nobody looks at all images of gray, constant and truth; a small gallery of them is of use.
        save = request.save if position < asked or request.save == "none" else "gallery"
        for (spec, scorer), code in zip(scorers, codes, strict=True):
            if (error := missing_capability(spec, model)) is not None:
                if position < asked:
                    raise error
                continue
            if isinstance(scorer, ChecksModel):
                scorer.check_model(model)
            fingerprint = run_fingerprint(
                prints[id(model)],
                protocol_identity(spec.name, spec.version, scorer.identity),
                code,
                gray_policy=request.gray_policy,
                seed=request.seed,
                dtype=request.dtype,
                references=references,
            )
            located = locate(
                request.output,
                fingerprint,
                protocol=spec.name,
                dataset=dataset,
                save=save,
                # A baseline is measured once for all models; only what was asked for is evaluated again.
                resume=request.resume or position >= asked,
                launch=launch,
                say=listener.message,
            )
            folder = located.folder
            folders.append(folder)
            if folder.finished() and folder.path not in tasks:
                listener.message(f"{model.full_name} under {spec.name}: reused from {folder.path}")
            elif fingerprint.reasons and position < asked:
                listener.message(not_reusable(model.full_name, fingerprint.reasons))
            tasks.setdefault(folder.path, EvaluationTask(model, spec, scorer, folder, located.key, save, located))
    return list(tasks.values())


def _work(tasks: Sequence[EvaluationTask], run: Run, baselines: bool, listener: ProgressListener) -> None:
    """Make whatever is not there, until every record is."""
    settings = run.settings
    check_scorers(tasks, run.dataset.samples, settings)
    run = replace(run, findings=check_models(tasks, run.dataset.samples, settings, run.residents))
    preprocessings: dict[str, list[EvaluationTask]] = {}
    for task in tasks:
        preprocessings.setdefault(task.scorer.preprocessing, []).append(task)
    total = sum(
        len(shard_samples(run.dataset.samples, index))
        for group in preprocessings.values()
        for index, _ in missing(group, len(run.dataset))
    )
    listener.started(-(-total // settings.processes))
    progress = ThroughputMeter(listener)
    # Baselines first: differences are taken from their rows.
    in_turn = sorted(tasks, key=lambda task: _turn(task.model.full_name))
    while any(not task.folder.finished() for task in tasks):
        made = sum(
            run_pass(group, run.dataset.samples, get_preprocessing(name), settings, progress, run.residents)
            for name, group in preprocessings.items()
        )
        made += sum(_finish(task, in_turn, run, baselines) for task in in_turn)
        if not made:
            time.sleep(0.1)  # another process is at what is left
    for task in tasks:
        task.folder.clear_shards()


def _turn(model: str) -> int:
    names = list(BASELINES)
    return names.index(model) if model in names else len(names)


def _finish(task: EvaluationTask, tasks: Sequence[EvaluationTask], run: Run, baselines: bool) -> bool:
    """Make the record, if all shards are there, nobody else is at it and the baselines' records are made."""
    if task.folder.finished() or len(task.folder.done()) < shard_count(len(run.dataset)):
        return False
    earlier = DIFFERENCES[: _turn(task.model.full_name)] if baselines else ()
    beside = {
        other.model.full_name: other.folder
        for other in tasks
        if other.model.full_name in earlier and _same_protocol(other, task)
    }
    if not all(folder.finished() for folder in beside.values()):
        return False
    lock = task.folder.lock("record")
    if lock is None:
        return False
    try:
        if not task.folder.finished():
            finish(task, run, beside)
            task.located.close()
    except FileNotFoundError:
        if not task.folder.finished():  # without locks, another process may finish and clear away meanwhile
            raise
    finally:
        lock.release()
    return True


def _same_protocol(one: EvaluationTask, other: EvaluationTask) -> bool:
    a, b = ((task.spec.name, task.spec.version, task.scorer.identity) for task in (one, other))
    return protocol_identity(*a) == protocol_identity(*b)


def run_dataset_protocol(
    protocol: DatasetProtocol, parameters: Mapping[str, Any], models: Sequence[LoadedModel], shared: ProtocolContext
) -> list[Record]:
    """Run one protocol on all models asked for; folders that are no records are named to the listener.

    Args:
        protocol: to run.
        parameters: given for it.
        models: those asked for.
        shared: settings, request and listener; the rest is filled in here.

    Raises:
        UserError: for a model that lacks what the protocol needs.
    """
    request, spec = shared.request, protocol.spec
    given = {"test": request.data, **request.roles}
    data = {role: one if request.limit is None else one.limit(request.limit) for role, one in given.items()}
    for model in models:
        if (error := missing_capability(spec, model)) is not None:
            raise error
    groups = [tuple(models)] if protocol.joint else [(model,) for model in models]
    records = []
    code = protocol_code(protocol)
    for group in groups:
        prediction = protocol.evaluate(replace(shared, models=group, parameters=parameters, data=data, code=code))
        if isinstance(prediction, Record):
            records.append(prediction)
        else:
            shared.listener.message(f"{spec.name}: {prediction}")
    return records
