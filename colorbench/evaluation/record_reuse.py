"""Location of a run: the folder that contains, or will contain, the same numbers.

The key of a folder depends on the fingerprint of the run and on names and sizes of the files, so it is the same on
every machine. ``plan.json`` tells, without reading all files, whether one was written or replaced since. In that case
contents are compared with those that were scored, and a run on other contents gets a new folder, the next *revision*.
So does each run of a model that is not reusable.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Mapping, Sequence
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
from colorbench.evaluation.run_directory import DamagedShard, RunDirectory, folder_of
from colorbench.models import LoadedModel
from colorbench.models.fingerprint import ModelFingerprint
from colorbench.results import FingerprintPart, Record, damaged_files, protocol_identity, read_record
from colorbench.results.run_key import RunFingerprint, run_fingerprint, run_key
from colorbench.storage import check_writable, digest_of, file_sha256
from colorbench.storage.hashes import stamp_of


@dataclass(frozen=True)
class RunPlan:
    """Content of ``plan.json``: the purpose of a run folder, in addition to its key."""

    save: Save
    references: str
    """Digest of the models from which differences are stored; empty for none."""
    files: str
    """Digest of names and stamps of the files, which changes if a file is written or replaced."""
    launch: str = ""
    """Token of one command whose results other commands cannot reuse."""
    record: tuple[int, ...] = ()
    """Stamp of ``record.json``, which shows whether it was written here or copied."""
    record_sha256: str = ""
    """Hash of ``record.json``; empty while there is none."""

    def text(self) -> bytes:
        """Return the content of ``plan.json``: the plan and its hash."""
        return json.dumps({"plan": asdict(self), "sha256": digest_of(asdict(self))}).encode()

    def serves(self, wanted: RunPlan) -> bool:
        """Return whether everything that is wanted is saved in this folder."""
        saved = LEVELS.index(self.save) >= LEVELS.index(wanted.save)
        return saved and wanted.references in ("", self.references) and self.launch == wanted.launch


@dataclass(frozen=True)
class Located:
    """The location of a run, with its key and fingerprint."""

    folder: RunDirectory
    key: str
    part: FingerprintPart
    plan: RunPlan

    def finished(self) -> Record | None:
        """Return the existing record; None without one."""
        return read_record(self.folder.path) if self.folder.finished() else None

    def begin(self) -> None:
        """Write ``plan.json`` into the folder.

        Raises:
            UserError: if nothing can be written.
        """
        self.folder.write(self.folder.plan, self.plan.text())

    def close(self) -> None:
        """Note in ``plan.json`` that the record was written here."""
        with contextlib.suppress(OSError, UserError, RunError):
            path = self.folder.record
            _write(self.folder, replace(self.plan, record=stamp_of(path), record_sha256=file_sha256(path)))


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
    stamps: str | None = None,
) -> Located:
    """Find the folder of a run, whose finished record can be reused.

    Nothing is written, but damaged files are renamed, and then they are made again.

    The listener gets a message if contents must be compared or a file is renamed.

    Args:
        context: request and listener; the folder is added to its started folders.
        model: model to evaluate.
        spec: of the protocol.
        identity: identity of the protocol with its parameters.
        dataset: the evaluated images.
        code: ``protocol_code`` of the protocol or its scorer.
        save: images to save with the record.
        resume: False: a finished run is repeated in a new folder, an unfinished run starts again.
        references: models that the record gives differences from.
        stamps: ``stamps_digest`` of the dataset, if it was computed just now.

    Raises:
        UserError: if a file is damaged and its folder cannot be written.
    """
    request, say = context.request, context.listener.message
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
    wanted = RunPlan(save, fingerprint.references, stamps or stamps_digest(dataset), launch)
    for revision in itertools.count():
        part = fingerprint.part(revision)
        key = run_key(
            **fingerprint.decides, samples=dataset.samples, classes=dataset.class_names or (), revision=revision
        )
        folder = RunDirectory(request.output / folder_of(part.model, spec.name, dataset.name, key), key, say)
        if not resume and not folder.finished() and not wanted.launch:
            folder.clear_shards()
        elif not resume and not wanted.launch:
            continue
        if (plan := _taken(folder, wanted, dataset, request.output)) is not None:
            context.started.append(folder)
            return Located(folder, key, part, plan)
    raise AssertionError  # count() has no end


def location_of(context: ProtocolContext, spec: ProtocolSpec, identity: Mapping[str, Any], test: Dataset) -> Located:
    """Find the folder of the context's model under a dataset protocol, and start it unless it is finished.

    The listener gets a message about an existing result.

    Args:
        context: model, settings, request.
        spec: of the protocol.
        identity: identity of the protocol with its parameters, including the content of training images.
        test: the evaluated images.
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
    """Format the reasons why a model's records cannot be reused and each run evaluates it again."""
    more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{model} is evaluated again in each run: {reasons[0]}{more}"


def made_here(folder: RunDirectory) -> bool:
    """Return whether a record was written at its place by a run on this machine, not copied or unpacked."""
    try:
        plan = _read(folder.plan)
        return plan is not None and plan.record == stamp_of(folder.record)
    except (OSError, ValueError, UserError):
        return False


def _taken(folder: RunDirectory, wanted: RunPlan, dataset: Dataset, output: Path) -> RunPlan | None:
    """Return the plan of a folder that is empty or contains this run, finished or not; None for other content."""
    try:
        plan = _read(folder.plan)
    except ValueError:
        plan = None
        (aside,) = folder.set_aside(folder.plan)
        folder.say(f"{folder.plan} is damaged: it is now {aside.name}")
    finished = folder.finished()
    if finished:
        if (record := _intact_record(folder, plan)) is None:
            return wanted
        # The name of a folder contains only a part of the key.
        if record.key != folder.key or record.fingerprint is None:
            return None
        references = record.fingerprint.references
    elif folder.done():
        references = wanted.references
    else:
        return wanted if plan is None or plan.launch == wanted.launch else None
    if plan is None:  # damaged, or what was finished was copied without it
        if wanted.launch:
            return None
        plan = replace(wanted, files="", references=references)
    if not plan.serves(wanted):
        return None
    if plan.files == wanted.files:
        return plan
    folder.say(f"files have changed since they were scored; comparing the contents of {len(dataset)} ({folder.path})")
    if not _same_contents(folder, dataset, output):
        return None
    plan = replace(plan, files=wanted.files)
    if finished:
        with contextlib.suppress(UserError, RunError):  # a finished record on a read-only disk can be shown
            _write(folder, plan)
    return plan


def _intact_record(folder: RunDirectory, plan: RunPlan | None) -> Record | None:
    """Return the record of a finished run; None if it or a file beside it was damaged, and is now set aside."""
    damaged = [folder.record]
    try:
        record = read_record(folder.path)
        if plan is None or plan.record_sha256 in ("", file_sha256(folder.record)):
            damaged = damaged_files(folder.path, record)
            if not damaged:
                return record
    except UserError:
        pass
    asides = folder.set_aside(*damaged, folder.record)
    more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    folder.say(f"{damaged[0]}{more} is damaged: it is now {asides[0].name}, and the run starts over")
    return None


def _read(path: Path) -> RunPlan | None:
    """Read ``plan.json``; None without one.

    Raises:
        ValueError: if it is damaged.
        PermissionError: if it may not be read, which is no damage.
    """
    try:
        found = json.loads(path.read_bytes())
        if digest_of(found["plan"]) != found["sha256"]:
            raise ValueError("the plan does not have its checksum")
        return RunPlan(**{**found["plan"], "record": tuple(found["plan"]["record"])})
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except NotADirectoryError as error:
        hint = "use another --output"
        raise UserError("there is a file where a folder is needed", where=str(path.parent), hint=hint) from error
    except (OSError, TypeError, AttributeError, KeyError) as error:
        raise ValueError("the plan is damaged") from error


def _write(folder: RunDirectory, plan: RunPlan) -> None:
    check_writable(folder.path)
    folder.write(folder.plan, plan.text())


def _same_contents(folder: RunDirectory, dataset: Dataset, output: Path) -> bool:
    """Return whether all scored images still have the same contents."""
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
        try:
            shard = folder.read_shard(index)
        except DamagedShard:
            continue  # its images are evaluated again
        scored.update(zip(shard.ids, shard.sha256s, strict=True))
        skipped = skipped or bool(shard.skipped)
    if skipped:
        return False  # nothing is stored for skipped images, which may be readable by now
    part = replace(dataset, samples=tuple(sample for sample in dataset.samples if sample.id in scored))
    contents = contents_of(part, output / ".cache")
    return all(contents[id] == sha256 for id, sha256 in scored.items())


def differences(record: Record, now: RunFingerprint) -> list[str]:
    """Describe what prevents the reuse of a record: which parts of its fingerprint differ now."""
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
