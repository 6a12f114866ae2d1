"""``verify``: does a record hold together? Every number is derived again from what is stored beside it.

That shows that nothing was changed since; it cannot show that the stored statistics were ever measured. ``--rerun K``
does, for K images drawn at random: see ``rerun``. Nothing is written into the record's folder, nothing that a
record names is run, and no file outside its folder is opened, unless the caller asks for the rerun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, get_args

from colorbench.data import Dataset
from colorbench.data.loader import GrayPolicy
from colorbench.errors import UserError
from colorbench.evaluation import ImageProtocol, get_protocol
from colorbench.results import LoadedRun, Record, protocol_identity, read_checked_record, read_table
from colorbench.results.load import LARGEST_RECORD
from colorbench.results.run_key import decides_of, run_key
from colorbench.storage import content_fingerprint, is_inside, read_plain, version_of
from colorbench.storage.safe_read import LARGEST_FILE, left_out
from colorbench.verification.check_data import check_data
from colorbench.verification.check_images import image_findings
from colorbench.verification.check_model import check_model
from colorbench.verification.check_numbers import check_numbers
from colorbench.verification.recompute import goes_image_by_image
from colorbench.verification.schema import CLAIMED, MOST_FINDINGS, Findings, Rerun, Verification

REVISIONS = 100
"""Runs of other contents under equal names and sizes that are looked for (``plan.locate`` counts them)."""


def verify(
    folder: Path,
    *,
    images: Dataset | None = None,
    rerun: Callable[[LoadedRun, Findings], Rerun | None] | None = None,
) -> Verification:
    """Check a record against what lies beside it.

    Args:
        folder: of the record.
        images: the set that it was measured on, for its key; None: the key is not checked.
        rerun: measures some images again, see ``rerun.rerunner``; parameters that name files are then opened.

    Raises:
        UserError: where there is no record. Everything else that is wrong is a finding.
    """
    findings = Findings()
    hint = "give a folder that `colorbench run` wrote"
    record_sha256 = sha256(
        read_plain(folder / "record.json", LARGEST_RECORD, missing="no record here", hint=hint)
    ).hexdigest()
    record: Record | None = None
    again: Rerun | None = None
    try:
        record, _ = read_checked_record(folder)
    except UserError as error:
        findings.say("record", "fails", str(error))
    if record is not None:
        findings.say("record", "holds", f"schema {record.schema_version}, {record.model.name}, {record.protocol.name}")
        _check_files(folder, record, findings)
        _check_identity(record, findings)
        try:
            run = LoadedRun(folder, record, read_table(folder, record), record_sha256)
        except UserError as error:
            findings.say("rows", "fails", str(error))
        else:
            findings.say("rows", "holds", f"{len(run.rows)} rows, checksum and columns")
            _check_images(run, findings)
            _check_saved_images(run, findings)
            check_model(run, findings)
            check_numbers(run, findings, trusted=rerun is not None)
            check_data(run, images, findings)
            _check_key(run, images, findings)
            if rerun is not None:
                again = rerun(run, findings)
    return Verification(
        record_sha256=record_sha256,
        key=None if record is None else record.key,
        model=None if record is None else record.model.name,
        protocol=None if record is None else record.protocol.name,
        holds=all(check.outcome != "fails" for check in findings.checks),
        checks=findings.checks,
        rerun=again,
        claimed=findings.claimed + list(CLAIMED),
        colorbench_version=version_of("colorbench") or "unknown",
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check_files(folder: Path, record: Record, findings: Findings) -> None:
    """Check the checksums of arrays, images and predictions."""
    for name, files in (("arrays", record.files.arrays), ("saved images", record.files.saved_images)):
        if files and all(left_out(folder, file) for file in files):
            # Passed on without them, as where images may not be shown: nothing contradicts the record.
            findings.say(name, "unchecked", f"none of its {len(files)} files lies here")
        elif files:
            findings.settle(name, _changed(folder, files), f"{len(files)} files, checksums")
    listing = is_inside(folder, "predictions.sha256")
    if "predictions.sha256" in record.files.saved_images and listing is not None:
        data = read_plain(listing, LARGEST_FILE, missing="no list", hint="copy it")
        try:
            lines = [line.split("  ", 1) for line in data.decode().splitlines()]
            named = {name: digest for digest, name in lines}
        except ValueError:
            findings.say("predictions", "fails", "predictions.sha256 is no list of checksums")
        else:
            findings.settle("predictions", _changed(folder, named), f"{len(named)} images, checksums")


def _changed(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    """Yield the files below a folder whose sha256 is not the one given."""
    for name, digest in files.items():
        path = is_inside(folder, name)
        if path is None:
            yield f"{name[:200]!r} is no file of this record"
            continue
        try:
            with open(path, "rb") as file:
                same = path.stat().st_size <= LARGEST_FILE and file_digest(file, "sha256").hexdigest() == digest
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
            continue
        if not same:
            yield f"{name} is not the file that the record was made with"


def _check_identity(record: Record, findings: Findings) -> None:
    protocol = record.protocol
    again = protocol_identity(protocol.name, protocol.version, protocol.identity)
    wrong = (
        [] if again == protocol.identity_sha256 else [f"{protocol.identity_sha256[:12]} is stored, not {again[:12]}"]
    )
    findings.settle("identity", iter(wrong), f"{again[:12]}, of {protocol.name} version {protocol.version}")


def _check_images(run: LoadedRun, findings: Findings) -> None:
    """Check the dataset against the rows."""
    data, rows = run.record.dataset, run.rows

    def wrong() -> Iterator[str]:
        if content_fingerprint(run.sha256s) != data.fingerprint:
            yield "the fingerprint is not that of the rows' images"
        if data.n != len(rows) + len(data.skipped):
            yield f"{data.n} images are not {len(rows)} evaluated and {len(data.skipped)} left out"
        if len({one.id for one in data.skipped} | set(rows["id"])) != len(rows) + len(data.skipped):
            yield "an image was left out twice, or left out and evaluated"
        copies = [one.id for one in data.copies]
        if len({*copies, *rows["id"]}) != len(copies) + len(rows):
            yield "a copy of an image stands twice, or was evaluated, too"
        if not {one.of for one in data.copies} <= set(rows["id"]):
            yield "a file is said to be the copy of an image that was not evaluated"
        if data.gray_policy not in get_args(GrayPolicy):
            yield f"there is no gray policy {data.gray_policy[:50]!r}"
        if data.gray_policy == "drop" and rows["gray"].any():
            yield "gray images were evaluated, though the policy is to drop them"
        if data.gray_policy == "keep" and any(one.reason.startswith("gray") for one in data.skipped):
            yield "gray images were left out, though the policy is to keep them"
        if data.overlap is not None and not 0 <= data.overlap <= len(rows):
            yield f"{data.overlap} of {len(rows)} images cannot be training images"
        if data.limit is not None and data.n + len(copies) > data.limit:
            yield f"{data.n + len(copies)} images are more than the limit {data.limit}"
        gray = int(rows["gray"].sum()) + sum(one.reason.startswith("gray") for one in data.skipped)
        if gray != data.n_gray:
            yield f"{data.n_gray} gray images are stored, the rows tell of {gray}"

    findings.settle("dataset", wrong(), f"{len(rows)}, fingerprint {data.fingerprint[:12]}")


def _check_saved_images(run: LoadedRun, findings: Findings) -> None:
    """Check the saved images, as far as they show anything."""
    if not any(name.startswith("thumbnails/") for name in run.record.files.saved_images):
        return
    headline = None
    try:
        protocol = get_protocol(run.record.protocol.name)
        if isinstance(protocol, ImageProtocol):
            direction = {spec.name: spec.higher_is_better for spec in protocol.spec.metrics}
            headline = (protocol.spec.headline, direction.get(protocol.spec.headline))
    except UserError:
        pass
    found: list[str] = []
    try:
        found += image_findings(run, headline)
    except UserError as error:
        found.append(str(error))
    for one in found[:MOST_FINDINGS]:
        findings.say("saved images", "fails", one)
    findings.claim("saved images beyond what small copies show")


def _check_key(run: LoadedRun, images: Dataset | None, findings: Findings) -> None:
    """Check the key, from the names and sizes of the files."""
    record = run.record
    if not goes_image_by_image(record.protocol.name):
        findings.say("key", "unchecked", f"{record.protocol.name} makes keys of its own")
        return
    if images is None:
        findings.say("key", "unchecked", "it hashes names and sizes of the images: give them with --data")
        return
    given = images if record.dataset.limit is None else images.limit(record.dataset.limit)
    absent = set(run.rows["id"]) - {sample.id for sample in given.samples}
    if absent:
        findings.say("key", "fails", f"{len(absent)} of the images are not among those given, first {min(absent)}")
        return
    decides: dict[str, Any] = {**decides_of(record), "classes": given.class_names or ()}
    keys = (run_key(**decides, samples=given.samples, revision=revision) for revision in range(REVISIONS))
    wrong = [] if record.key in keys else ["it is not the hash of model, protocol, images and seed that are stored"]
    findings.settle("key", iter(wrong), record.key[:12])
