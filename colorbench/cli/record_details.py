"""``colorbench show RECORD``: contents of a record, and changed parts of its fingerprint."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorbench.errors import UserError

if TYPE_CHECKING:
    from colorbench.data import Dataset
    from colorbench.results import Metric, Record
    from colorbench.results.run_key import RunFingerprint


def find_record_folder(name: str) -> Path | None:
    """Return the folder of the record that a path names, as a folder or as ``record.json``; None if there is none."""
    path = Path(name)
    if path.name == "record.json" and path.is_file():
        return path.parent
    return path if (path / "record.json").is_file() else None


def describe_folder(name: str) -> dict[str, Any] | None:
    """Return the results below a folder: the details of the only one, or a list; None for no folder.

    Raises:
        UserError: for a folder without results, or a record that cannot be read.
    """
    folder = Path(name)
    if not os.path.isdir(folder):
        return None
    from colorbench.results.record_loading import record_folders

    found = record_folders(folder)
    if not found:
        raise UserError("no results in this folder", where=name, hint="give a folder that `colorbench run` wrote")
    if len(found) == 1:
        return describe_record(found[0])
    title = f"{len(found)} results; `colorbench show` with one of the folders shows it"
    return {"name": name, "title": title, "results": [str(one) for one in found]}


def describe_record(folder: Path) -> dict[str, Any]:
    """Return the details of a record by heading.

    Raises:
        UserError: if it cannot be read.
    """
    from colorbench.evaluation import name_with_preset
    from colorbench.results import read_record

    record = read_record(folder)
    protocol = record.protocol
    name = name_with_preset(protocol.name, protocol.version, protocol.parameters)
    return {
        "name": record.model.name,
        "title": record.model.card.title,
        "protocol": f"{name} v{protocol.version}",
        "images": f"{record.dataset.name}, {record.dataset.n_evaluated} evaluated",
        "metrics": {one.name: _value(one) for one in record.metrics},
        "evaluated": record.provenance.time,
        "key": record.key,
        "a new run": list(_reuse(folder, record)),
    }


def _value(metric: Metric) -> str:
    """Format a metric's value with unit and interval, as in tables."""
    from colorbench.reporting import format_number
    from colorbench.reporting.number_formatting import format_interval

    low_high = format_interval(metric.ci_low, metric.ci_high, metric.unit)
    return " ".join(part for part in (format_number(metric.value, metric.unit), metric.unit, low_high) if part)


def _reuse(folder: Path, record: Record) -> Iterator[str]:
    """Yield lines on whether a run of the same command would reuse the record, and otherwise on the differences."""
    from colorbench.evaluation import RunDirectory
    from colorbench.evaluation.record_reuse import differences, made_here

    part = record.fingerprint
    if part is None:
        yield "evaluates again: the record has no fingerprint"
        return
    if not part.reusable:
        yield f"evaluates again: {', '.join(part.reasons)}"
        return
    own = made_here(RunDirectory(folder))
    command = record.provenance.command if own else []
    dataset = _dataset(command)
    found: list[str] = []
    unknown: list[str] = []
    name = record.model.name
    if ":" in name and not own:
        # Nothing that an untrusted record names is run.
        unknown.append(f"the model: {name} is a relative file or folder, and the record was made elsewhere")
    else:
        try:
            found += differences(record, _now(record, command, dataset))
        except UserError as error:
            unknown.append(f"the model or the protocol: {error}")
    if dataset is None:
        unknown.append("the images: their location is not known")
    elif _images_differ(record, dataset):
        found.append("images (content of the dataset)")
    if found:
        yield f"evaluates again, because these have changed: {', '.join(found)}"
    elif not unknown:
        yield "reuses this record: nothing it depends on has changed"
    yield from (f"not compared: {one}" for one in unknown)


def _now(record: Record, command: Sequence[str], dataset: Dataset | None) -> RunFingerprint:
    """Return the fingerprint that a new run would have."""
    from colorbench.data import Dataset as Empty
    from colorbench.evaluation import ImageProtocol, get_protocol
    from colorbench.models import load_model
    from colorbench.models.fingerprint import canonical_name, model_fingerprint, protocol_code
    from colorbench.results import protocol_identity
    from colorbench.results.run_key import run_fingerprint

    asked = [
        one for one in _values(command, "--model", "-m") if canonical_name(one) == canonical_name(record.model.name)
    ]
    decoding = record.model.decoding
    usual = load_model(asked[0] if asked else record.model.name)
    model = usual
    if dict(usual.decoding) != decoding and "decode" in decoding:
        model = load_model(usual, decode=decoding["decode"], temperature=decoding.get("temperature"))
    if dataset is not None:
        model.prepare(tuple(sample.id for sample in dataset.samples))
    protocol = get_protocol(record.protocol.name)
    scorer: Any = protocol
    identity: Any = record.protocol.identity
    if isinstance(protocol, ImageProtocol):
        scorer = protocol.resolve(record.protocol.parameters, dataset or Empty("", ()))
        identity = scorer.identity
    return run_fingerprint(
        model_fingerprint(model),
        protocol_identity(protocol.spec.name, protocol.spec.version, identity),
        protocol_code(scorer),
        gray_policy=record.dataset.gray_policy,
        seed=record.execution.seed,
        dtype=record.execution.dtype,
    )


def _dataset(command: Sequence[str]) -> Dataset | None:
    """Return the dataset of a command if it still exists."""
    from colorbench.data import open_dataset

    given = [one.removeprefix("test=") for one in _values(command, "--data", "-d") if not one.startswith("train=")]
    lists = _values(command, "--list")
    with contextlib.suppress(UserError):
        dataset = open_dataset(given[-1] if given else None, list_file=Path(lists[-1]) if lists else None)
        limits = _values(command, "--limit")
        return dataset.limit(int(limits[-1])) if limits else dataset
    return None


def _images_differ(record: Record, dataset: Dataset) -> bool:
    from colorbench.storage import content_fingerprint

    left_out = {one.id for one in record.dataset.skipped} | {one.id for one in record.dataset.copies}
    contents = set()
    for sample in dataset.samples:
        if sample.id not in left_out:
            try:
                contents.add(sample.sha256())
            except OSError:
                return True
    return content_fingerprint(contents) != record.dataset.fingerprint


def _values(command: Sequence[str], *flags: str) -> list[str]:
    """Return the values that a command gives for a flag."""
    found = [value for flag, value in zip(command, command[1:], strict=False) if flag in flags]
    return found + [word.partition("=")[2] for word in command if word.partition("=")[0] in flags and "=" in word]
