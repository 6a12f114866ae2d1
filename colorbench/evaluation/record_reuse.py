"""Which folder a run belongs in: the one that holds, or will hold, the same numbers.

The key of a folder follows from the fingerprint of the run, and from names and sizes of the files, so that it is the
same on every machine. What a key cannot know without reading all files, ``plan.json`` tells: whether a file was written
or replaced since. Then contents are compared with those that were scored, and a run on other contents gets a folder of
its own, the next *revision*. So does each run of a model that is not reusable.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from colorbench.data import Dataset, contents_of
from colorbench.data.dataset_hashes import stamps_digest
from colorbench.errors import RunError, UserError
from colorbench.evaluation.protocol_interfaces import ProtocolContext, ProtocolSpec
from colorbench.evaluation.run_config import LEVELS, Save
from colorbench.evaluation.run_directory import RunDirectory, folder_of
from colorbench.models import LoadedModel
from colorbench.models.fingerprint import ModelFingerprint
from colorbench.results import FingerprintPart, Record, protocol_identity, read_record
from colorbench.results.run_key import RunFingerprint, run_fingerprint, run_key
from colorbench.storage import check_writable
from colorbench.storage.hashes import stamp_of


@dataclass(frozen=True)
class Plan:
    """The purpose of a run folder, in addition to its key."""

    save: Save
    references: str
    """Digest of the models that differences are stored from; empty for none."""
    files: str
    """Digest of the files' names and of what changes when one is written or replaced."""
    launch: str = ""
    """Of one command, where its results are not reusable by another."""
    record: tuple[int, ...] = ()
    """Size, times and place on the disk of ``record.json``: whether it was written here, and not copied."""

    def serves(self, wanted: Plan) -> bool:
        """Return whether all that is wanted is saved here."""
        saved = LEVELS.index(self.save) >= LEVELS.index(wanted.save)
        return saved and wanted.references in ("", self.references) and self.launch == wanted.launch


@dataclass(frozen=True)
class Located:
    """Where a run belongs."""

    folder: RunDirectory
    key: str
    part: FingerprintPart
    plan: Plan

    def finished(self) -> Record | None:
        """Return the record that is there already."""
        return read_record(self.folder.path) if self.folder.finished() else None

    def begin(self) -> None:
        """Write the purpose of the folder into it.

        Raises:
            UserError: where nothing can be written.
        """
        self.folder.write(self.folder.plan, json.dumps(asdict(self.plan)).encode())

    def close(self) -> None:
        """Note that the record was written here."""
        with contextlib.suppress(OSError, UserError, RunError):
            _write(self.folder, replace(self.plan, record=stamp_of(self.folder.record)))


def locate(
    context: ProtocolContext,
    model: LoadedModel,
    spec: ProtocolSpec,
    identity: Mapping[str, Any],
    dataset: Dataset,
    *,
    code: tuple[str, tuple[str, ...]],
    save: Save,
    resume: bool,
    references: Sequence[ModelFingerprint] = (),
) -> Located:
    """Return the folder of a run. Nothing is written, but a finished record that cannot be read is renamed.

    The listener is told when contents must be compared, or a record is renamed.

    Args:
        context: request and listener; it takes the folder as one that is begun.
        model: to be measured.
        spec: of the protocol.
        identity: of the protocol with its parameters.
        dataset: the images measured on.
        code: ``protocol_code`` of the protocol or its scorer.
        save: images that are wanted beside the record.
        resume: False: a finished run is made again in a folder beside it, an unfinished one starts from nothing.
        references: models that the record gives differences from.

    Raises:
        UserError: where a record cannot be read and its folder cannot be written.
    """
    request = context.request
    fingerprint = run_fingerprint(
        context.fingerprint_of(model),
        protocol_identity(spec.name, spec.version, identity),
        code,
        gray_policy=request.gray_policy,
        seed=request.seed,
        dtype=request.dtype,
        references=references,
    )
    launch = context.launch if fingerprint.reasons else ""
    wanted = Plan(save, fingerprint.references, stamps_digest(dataset), launch)
    for revision in itertools.count():
        part = fingerprint.part(revision)
        key = run_key(
            **fingerprint.decides, samples=dataset.samples, classes=dataset.class_names or (), revision=revision
        )
        folder = RunDirectory(request.output / folder_of(part.model, spec.name, dataset.name, key), key)
        if not resume and not folder.finished() and not wanted.launch:
            folder.clear_shards()
        elif not resume and not wanted.launch:
            continue
        if (plan := _taken(folder, wanted, dataset, request.output, context.listener.message)) is not None:
            context.started.append(folder)
            return Located(folder, key, part, plan)
    raise AssertionError  # count() has no end


def location_of(context: ProtocolContext, spec: ProtocolSpec, identity: Mapping[str, Any], test: Dataset) -> Located:
    """Return the folder of the context's model under a dataset protocol; start it if it is not finished.

    The listener is told where it is measured already.

    Args:
        context: model, settings, request.
        spec: of the protocol.
        identity: of the protocol with its parameters; what it was trained on, by content, is part of it.
        test: the images measured on.
    """
    request, say, model = context.request, context.listener.message, context.model
    located = locate(context, model, spec, identity, test, code=context.code, save="none", resume=request.resume)
    if located.folder.finished():
        say(f"{model.full_name} under {spec.name}: reused from {located.folder.path}")
    else:
        if located.part.reasons:
            say(not_reusable(model.full_name, located.part.reasons))
        check_writable(request.output)
        located.begin()
    return located


def not_reusable(model: str, reasons: Sequence[str]) -> str:
    """Return, in one line, why a model is evaluated again in each run."""
    more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{model} is evaluated again in each run: {reasons[0]}{more}"


def made_here(folder: RunDirectory) -> bool:
    """Return whether a record was written in its place by a run on this machine, and not copied or unpacked."""
    try:
        plan = _read(folder.plan)
        return plan is not None and plan.record == stamp_of(folder.record)
    except (OSError, UserError):
        return False


def _taken(
    folder: RunDirectory, wanted: Plan, dataset: Dataset, output: Path, say: Callable[[str], None]
) -> Plan | None:
    """Return the plan of a folder that is empty or contains this run, complete or not; None for other content."""
    plan, finished = _read(folder.plan), folder.finished()
    if finished:
        try:
            record = read_record(folder.path)
        except UserError as error:
            aside = folder.set_aside()
            say(f"{error}: it is now {aside.name}, and the run starts over")
            return wanted
        # A folder's name holds a part of the key only.
        if record.key != folder.key or record.fingerprint is None:
            return None
        if plan is None:  # the record was copied without it
            plan = replace(wanted, files="", references=record.fingerprint.references)
    elif plan is None or not folder.done():
        return wanted if plan is None or plan.launch == wanted.launch else None
    if not plan.serves(wanted):
        return None
    if plan.files == wanted.files:
        return plan
    say(f"files have changed since they were scored; comparing the contents of {len(dataset)} ({folder.path})")
    if not _same_contents(folder, dataset, output):
        return None
    plan = replace(plan, files=wanted.files)
    if finished:
        with contextlib.suppress(UserError, RunError):  # a finished record on a disk that cannot be written is shown
            _write(folder, plan)
    return plan


def _read(path: Path) -> Plan | None:
    try:
        found = json.loads(path.read_text())
        return Plan(**{**found, "record": tuple(found.get("record", ()))})
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise UserError("there is a file where a folder is needed", where=str(path.parent)) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError("the run's plan cannot be read", where=str(path), hint="move its folder elsewhere") from error


def _write(folder: RunDirectory, plan: Plan) -> None:
    check_writable(folder.path)
    folder.write(folder.plan, json.dumps(asdict(plan)).encode())


def _same_contents(folder: RunDirectory, dataset: Dataset, output: Path) -> bool:
    """Return whether all that was scored here was scored on the contents that the files have now."""
    scored: dict[str, str] = {}
    skipped = False
    if folder.finished():
        try:
            table = pyarrow.parquet.ParquetFile(folder.rows).read(columns=["id", "sha256"])
        except (OSError, pyarrow.ArrowException):
            return False
        scored = dict(zip(table["id"].to_pylist(), table["sha256"].to_pylist(), strict=True))
        scored |= {copy.id: scored.get(copy.of, "") for copy in read_record(folder.path).dataset.copies}
        skipped = len(scored) < len(dataset)
    for index in () if folder.finished() else folder.done():
        shard = folder.read_shard(index)
        scored.update(zip(shard.ids, shard.sha256s, strict=True))
        skipped = skipped or bool(shard.skipped)
    if skipped:
        return False  # of an image that was left out nothing is stored: it may be whole by now
    part = replace(dataset, samples=tuple(sample for sample in dataset.samples if sample.id in scored))
    contents = contents_of(part, output / ".cache")
    return all(contents[id] == sha256 for id, sha256 in scored.items())


def differences(record: Record, now: RunFingerprint) -> list[str]:
    """Return, in words, which parts of a record's fingerprint are different now."""
    part = record.fingerprint
    if part is None:
        return ["the record has no fingerprint"]
    fresh = now.part(part.revision)
    old_decoding, decoding = dict(record.model.decoding), dict(now.model.decoding)
    pairs = {
        "name of the model": (part.model, fresh.model),
        "weights of the model (complete state)": (part.weights, fresh.weights),
        "package of the model, or its version": (
            (record.model.package, record.model.package_version),
            (now.model.package, now.model.version),
        ),
        "weights file": (record.model.weights_sha256, now.model.file),
        "code of the model": (part.model_code, fresh.model_code),
        "decoding": (old_decoding, decoding),
        "protocol, its version or parameters": (record.protocol.identity_sha256, now.protocol_sha256),
        "code of the protocol": (part.protocol_code, fresh.protocol_code),
        "code of colorbench": (part.colorbench_code, fresh.colorbench_code),
        "version of colorbench": (record.provenance.colorbench_version, now.decides["version"]),
        "dtype": (record.execution.dtype, now.dtype),
        "baselines of differences": (part.references, fresh.references or part.references),
    }
    return [name for name, (old, new) in pairs.items() if old != new]
