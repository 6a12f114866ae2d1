"""``verify``: check of a record's consistency by recomputing every number from the stored data.

That shows that nothing was changed since; it cannot show that the stored statistics were ever measured. ``--rerun K``
does, for K images drawn at random: see ``rerun_comparison``. Nothing is written into the record's folder, nothing that
a record names is run, and no file outside its folder is opened, unless the caller asks for the rerun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path

from colorbench.data import Dataset
from colorbench.errors import UserError, one_line_errors
from colorbench.results import (
    LoadedRun,
    Record,
    find_shared_weights,
    protocol_identity,
    read_table,
)
from colorbench.results.record import parse_record, record_bytes
from colorbench.storage import is_inside, read_plain, version_of
from colorbench.storage.limits import LARGEST_FILE
from colorbench.storage.safe_reading import left_out
from colorbench.verification.dataset_checks import check_data, check_dataset, check_key
from colorbench.verification.metric_checks import check_numbers
from colorbench.verification.model_checks import check_model
from colorbench.verification.saved_image_checks import check_saved_images
from colorbench.verification.verification_schema import CLAIMED, Findings, Rerun, Verification


@one_line_errors()
def verify(
    folder: Path,
    *,
    images: Dataset | None = None,
    rerun: Callable[[LoadedRun, Findings], Rerun | None] | None = None,
) -> Verification:
    """Verify a record against its stored files, and optionally against the images and a rerun.

    Args:
        folder: of the record.
        images: the evaluated dataset; None: the key is not checked.
        rerun: function that evaluates some images again; files named by parameters are then opened.

    Raises:
        UserError: if there is no record. All other faults are findings.
    """
    findings = Findings()
    data = record_bytes(folder)
    record_sha256 = sha256(data).hexdigest()
    record: Record | None = None
    again: Rerun | None = None
    try:
        record = parse_record(data, folder)
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
            check_dataset(run, findings)
            check_saved_images(run, findings)
            check_model(run, findings)
            check_numbers(run, findings, trusted=rerun is not None)
            check_data(run, images, findings)
            check_key(run, images, findings)
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
            # A record may be passed on without its images, if these may not be shown.
            findings.say(name, "unchecked", f"its files are not here: {len(files)}")
        elif files:
            many = "1 file, its checksum" if len(files) == 1 else f"{len(files)} files, checksums"
            findings.settle(name, _changed(folder, files), many)
    listing = is_inside(folder, "predictions.sha256")
    if "predictions.sha256" in record.files.saved_images and listing is not None:
        data = read_plain(listing, LARGEST_FILE, missing="no list", hint="copy it")
        try:
            lines = [line.split("  ", 1) for line in data.decode().splitlines()]
            named = {name: digest for digest, name in lines}
        except ValueError:
            findings.say("predictions", "fails", "predictions.sha256 is not a list of checksums")
        else:
            findings.settle("predictions", _changed(folder, named), f"{len(named)} images, checksums")


def _changed(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    """Yield the files below a folder whose sha256 differs from the given one."""
    for name, digest in files.items():
        path = is_inside(folder, name)
        if path is None:
            yield f"{name[:200]!r} is not a file of this record"
            continue
        try:
            with open(path, "rb") as file:
                same = path.stat().st_size <= LARGEST_FILE and file_digest(file, "sha256").hexdigest() == digest
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
            continue
        if not same:
            yield f"{name} is not the file with which the record was made"


def _check_identity(record: Record, findings: Findings) -> None:
    protocol = record.protocol
    again = protocol_identity(protocol.name, protocol.version, protocol.identity)
    wrong = (
        [] if again == protocol.identity_sha256 else [f"{protocol.identity_sha256[:12]} is stored, not {again[:12]}"]
    )
    # A leaderboard marks a model that contains the network that scores it; a record must not leave that out.
    named = {(one.part, one.parameter) for one in record.shared_weights}
    wrong += [
        f"it does not say that the model contains {one.part[:50]}, which {one.parameter[:50]} uses"
        for one in find_shared_weights(record.model.card, protocol.name, protocol.identity)
        if (one.part, one.parameter) not in named
    ]
    findings.settle("identity", iter(wrong), f"{again[:12]}, of {protocol.name} v{protocol.version}")
