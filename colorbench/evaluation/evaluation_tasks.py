"""Evaluation tasks of a command: every model under every image protocol, each with its folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from colorbench.data import Dataset
from colorbench.data.dataset_hashes import stamps_digest
from colorbench.errors import ModelFailed
from colorbench.evaluation.devices_and_memory import Residents, smaller_batch
from colorbench.evaluation.protocol_interfaces import (
    ChecksModel,
    ProgressListener,
    ProtocolContext,
    ProtocolSpec,
    Scorer,
)
from colorbench.evaluation.record_reuse import Located, locate, not_reusable
from colorbench.evaluation.requested_models_and_protocols import Resolved, missing_capability
from colorbench.evaluation.run_config import ExecutionConfig, Save
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.models import BASELINES, DIFFERENCES, LoadedModel
from colorbench.models.fingerprint import protocol_code
from colorbench.results import Record, protocol_identity


@dataclass(frozen=True)
class EvaluationTask:
    """One model under one protocol, with the location of its record."""

    model: LoadedModel
    spec: ProtocolSpec
    scorer: Scorer
    located: Located
    """Folder, fingerprint and plan."""
    save: Save

    @property
    def folder(self) -> RunDirectory:
        """The folder of its record."""
        return self.located.folder

    @property
    def protocol_sha256(self) -> str:
        """Hash of the protocol with its parameters; differences are computed between tasks with equal hashes."""
        return protocol_identity(self.spec.name, self.spec.version, self.scorer.identity)


@dataclass(frozen=True)
class Run:
    """Data that all tasks of one command share."""

    dataset: Dataset
    """After any limit."""
    limit: int | None
    settings: ExecutionConfig
    command: tuple[str, ...]
    residents: Residents
    baselines: bool
    """Whether differences from gray and constant are stored."""

    def with_batches_of(self, size: int) -> Run:
        """Return the run with another batch size."""
        return replace(self, settings=replace(self.settings, batch_size=size))

    def after(self, error: Exception, say: Callable[[str], None]) -> Run | None:
        """Return the run with half the batch size after an error that says that memory is exhausted; None otherwise.

        Args:
            error: of a batch.
            say: called with a line about the new batch size.
        """
        size = smaller_batch(error, self.settings.batch_size, say)
        return None if size is None else self.with_batches_of(size)


class Failures:
    """Models that failed, at most one error of each; the run goes on with the others."""

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener
        self._errors: dict[str, ModelFailed] = {}

    @property
    def names(self) -> Collection[str]:
        """Names of the models."""
        return self._errors.keys()

    def without(self, error: Exception, tasks: Sequence[EvaluationTask]) -> list[EvaluationTask]:
        """Add the model that failed, and return the tasks of the others.

        Raises:
            ModelFailed: if only tasks of baselines are left.
            Exception: the error, if it is not of a model.
        """
        if not isinstance(error, ModelFailed):
            raise error
        left = [task for task in tasks if task.model.full_name not in {error.model, *self.names}]
        if all(task.model.full_name in BASELINES for task in left):
            self._errors.setdefault(error.model, error)
            self.check()
        self.add(error)
        return left

    def add(self, error: ModelFailed) -> None:
        """Add a model by its error."""
        self._errors[error.model] = error
        self._listener.message(f"{error}; going on with the other models")

    def check(self, records: Sequence[Record] = ()) -> None:
        """Raise for the first model that failed, if any.

        Args:
            records: of the models that did not fail.
        """
        if self._errors:
            (name, error), *others = self._errors.items()
            failed = ModelFailed(name, error, [other for other, _ in others])
            failed.records = tuple(records)
            raise failed from error


def tasks_of(resolved: Resolved, context: ProtocolContext) -> list[EvaluationTask]:
    """Return the evaluation tasks for every model under every image protocol, each folder once.

    Args:
        resolved: models, protocols and images.
        context: settings, request and listener of the command; the folders are added to its started folders.

    Raises:
        UserError: for a model that lacks a needed capability.
    """
    request, say = context.request, context.listener.message
    tasks: dict[Path, EvaluationTask] = {}
    asked = len(resolved.asked)
    codes = [protocol_code(scorer) for _, scorer in resolved.scorers]
    beside = [model for model in resolved.models if request.baselines and model.full_name in BASELINES]
    references = [context.fingerprint_of(model) for model in beside]
    stamps = stamps_digest(resolved.dataset)
    for position, model in enumerate(resolved.models):
        # A small gallery is enough for gray, constant and ground truth.
        save = request.save if position < asked or request.save == "none" else "gallery"
        for (spec, scorer), code in zip(resolved.scorers, codes, strict=True):
            if (error := missing_capability(spec, model)) is not None:
                if position < asked:
                    raise error
                continue
            if isinstance(scorer, ChecksModel):
                scorer.check_model(model)
            located = locate(
                context,
                model,
                spec,
                scorer.identity,
                resolved.dataset,
                code=code,
                save=save,
                # A baseline is evaluated once for all models; --no-resume applies only to requested models.
                resume=request.resume or position >= asked,
                references=references,
                stamps=stamps,
            )
            folder = located.folder
            if folder.finished() and folder.path not in tasks:
                say(f"{model.full_name} under {spec.name}: reused from {folder.path}")
            elif located.part.reasons and position < asked:
                say(not_reusable(model.full_name, located.part.reasons))
            tasks.setdefault(folder.path, EvaluationTask(model, spec, scorer, located, save))
    return list(tasks.values())


def baselines_first(tasks: Sequence[EvaluationTask]) -> list[EvaluationTask]:
    """Return the evaluation tasks with baselines first, since differences are computed from their rows."""
    return sorted(tasks, key=lambda task: _turn(task.model.full_name))


def differences_of(task: EvaluationTask, tasks: Sequence[EvaluationTask], run: Run) -> dict[str, RunDirectory]:
    """Return name -> folder of the evaluation tasks from which a task's differences are computed, in order."""
    earlier = DIFFERENCES[: _turn(task.model.full_name)] if run.baselines else ()
    return {
        other.model.full_name: other.folder
        for other in tasks
        if other.model.full_name in earlier and other.protocol_sha256 == task.protocol_sha256
    }


def _turn(model: str) -> int:
    names = list(BASELINES)
    return names.index(model) if model in names else len(names)
