"""The door for protocols that do not go image by image: probes, transfer, the study.

The command line resolves names, data and device into a ``Context`` and calls ``evaluate``; the protocol does the rest,
with the pieces below for what every record has in common. A model that is measured already is only read, as in the
engine's pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from colorbench.data.dataset import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import aggregate
from colorbench.evaluation.copies import copy_notes, first_places
from colorbench.evaluation.engine import Listener
from colorbench.evaluation.files import check_writable
from colorbench.evaluation.finish import execution_part, model_part
from colorbench.evaluation.identity import content_fingerprint, plain, protocol_identity, run_fingerprint
from colorbench.evaluation.plan import Located, locate, not_reusable
from colorbench.evaluation.protocol import ProtocolSpec, Summary, WholeProtocol
from colorbench.evaluation.provenance import overlap, provenance
from colorbench.evaluation.record import (
    CopyPart,
    CurvePart,
    DatasetPart,
    Difference,
    Metric,
    ProtocolPart,
    Record,
    Skipped,
    read_record,
    record_text,
    storable,
)
from colorbench.evaluation.request import RunRequest, unfit
from colorbench.evaluation.score_check import check_columns
from colorbench.evaluation.store import RunFolder, Shard
from colorbench.evaluation.work import Settings
from colorbench.models.fingerprint import ModelFingerprint, model_fingerprint, protocol_code
from colorbench.models.loading import LoadedModel


@dataclass(frozen=True)
class Context:
    """All that a protocol is given."""

    models: tuple[LoadedModel, ...]
    """The model to be judged; all of the command's where the protocol is joint."""
    parameters: Mapping[str, Any]
    """As given, a preset's among them; ``spec.resolved`` adds the defaults."""
    data: Mapping[str, Dataset]
    """Role -> photographs, after any limit."""
    settings: Settings
    """Device, dtype, batches, seed."""
    request: RunRequest
    """The whole command: output, pictures to keep, limit."""
    listener: Listener
    begun: list[RunFolder] = field(default_factory=list)
    """Folders of the records that are begun: after an error those in which nothing was made are removed."""
    code: tuple[str, tuple[str, ...]] = ("", ())
    """``protocol_code`` of the protocol."""
    fingerprints: Mapping[int, ModelFingerprint] = field(default_factory=dict)
    """id of a model -> its fingerprint, taken before any of them was cast to another dtype."""
    launch: str = ""
    """See ``plan.launch_token``."""

    def fingerprint_of(self, model: LoadedModel) -> ModelFingerprint:
        """What decides the model's predictions."""
        return self.fingerprints.get(id(model)) or model_fingerprint(model)

    @property
    def model(self) -> LoadedModel:
        """The one model of a protocol that is not joint."""
        return self.models[0]

    @property
    def cache(self) -> Path:
        """Folder below the output for what may be made again: features, probes, checkpoints."""
        return self.request.output / ".cache"


def evaluate_whole(
    protocol: WholeProtocol, parameters: Mapping[str, Any], models: Sequence[LoadedModel], shared: Context
) -> list[Record]:
    """Run one protocol on all models asked for; folders that are no records are named to the listener.

    Args:
        protocol: to run.
        parameters: given for it.
        models: those asked for.
        shared: settings, request and listener; the rest is filled in here.

    Raises:
        UserError: for a role without photographs, or a model that lacks what the protocol needs.
    """
    request, spec = shared.request, protocol.spec
    given = {"test": request.data, **request.roles}
    for role in protocol.roles:
        if role not in given:
            mend = f"give {' '.join(f'--data {one}=DIR' for one in protocol.roles)}"
            raise UserError(f"{spec.name} needs photographs in the role {role!r}", mend=mend)
    data = {role: one if request.limit is None else one.limit(request.limit) for role, one in given.items()}
    for model in models:
        if (error := unfit(spec, model)) is not None:
            raise error
    groups = [tuple(models)] if protocol.joint else [(model,) for model in models]
    records = []
    code = protocol_code(protocol)
    for group in groups:
        answer = protocol.evaluate(replace(shared, models=group, parameters=parameters, data=data, code=code))
        if isinstance(answer, Record):
            records.append(answer)
        else:
            shared.listener.message(f"{spec.name}: {answer}")
    return records


@dataclass(frozen=True)
class Outcome:
    """What a protocol found, to be written as a record."""

    parameters: Mapping[str, Any]
    identity: Mapping[str, Any]
    recipe: str
    rows: Shard
    """A line per photograph of the role ``test``, with what was skipped."""
    columns: Mapping[str, np.ndarray]
    """(n,) float64 each: scores and their statistics, as an image protocol names them."""
    metrics: Sequence[Metric]
    differences: Sequence[Difference] = ()
    summary: Summary = field(default_factory=Summary)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a record is or will be."""

    folder: RunFolder
    key: str
    located: Located

    def finished(self) -> Record | None:
        """The record that is there already."""
        return read_record(self.folder.path) if self.folder.finished() else None


def set_aside_if_unreadable(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Rename a finished record that cannot be read, and say so: its run is made again beside it.

    Raises:
        UserError: where the place cannot be written.
    """
    try:
        read_record(folder.path)
    except UserError as error:
        aside = folder.set_aside()
        say(f"{error}: it is now {aside.name}, and the run is made again")


def place_of(context: Context, spec: ProtocolSpec, identity: Mapping[str, Any], test: Dataset) -> Place:
    """The folder of the context's model under a protocol; says so where it is measured already.

    Args:
        context: model, settings, request.
        spec: of the protocol.
        identity: of the protocol with its parameters; what it was trained on, by content, is part of it.
        test: the photographs measured on.
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
    context.begun.append(located.folder)
    if located.folder.finished():
        set_aside_if_unreadable(located.folder, context.listener.message)
    if located.folder.finished():
        where = located.folder.path
        context.listener.message(f"{context.model.full_name} under {spec.name} is measured already: {where}")
    else:
        if fingerprint.reasons:
            context.listener.message(not_reusable(context.model.full_name, fingerprint.reasons))
        check_writable(request.output)
        located.begin()
    return Place(located.folder, located.key, located)


def write_whole(context: Context, spec: ProtocolSpec, place: Place, test: Dataset, outcome: Outcome) -> Record:
    """Write the record of one model, with its rows and arrays; returns it.

    Raises:
        RunError: for rows in which a copy of an image counts as an image.
    """
    folder, rows = place.folder, outcome.rows
    if len(first_places(rows.sha256s)) < len(rows):
        what = f"protocol {spec.name} counts copies of an image as images"
        raise RunError(what, mend="it must pass its rows through `evaluation.copies.without_copies` before its metrics")
    check_columns(spec.name, [*outcome.columns, *outcome.arrays])
    files = aggregate.write_rows(folder, rows, outcome.columns, outcome.arrays)
    curves: list[CurvePart] = aggregate.curves_of(outcome.summary)
    with storable(f"{context.model.full_name} under {spec.name}"):
        record = Record(
            key=place.key,
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
                recipe=outcome.recipe,
                overlap=overlap(context.model.card, rows.sha256s),
                limit=context.request.limit,
                redistributable=test.redistributable,
                source=test.source,
            ),
            metrics=list(outcome.metrics),
            differences=list(outcome.differences),
            curves=curves,
            notes=[*aggregate.demonstration(len(rows)), *copy_notes(rows), *outcome.summary.notes],
            execution=execution_part(context.settings, len(rows) + len(rows.copies), outcome.seconds),
            provenance=provenance(context.request.command, [context.model.package]),
            files=files,
            fingerprint=place.located.part,
        )
    folder.write_record(record_text(record))
    place.located.close()
    folder.clear_shards()
    return read_record(folder.path)
