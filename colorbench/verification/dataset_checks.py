"""Checks of a record's dataset against the rows, and against the images if given (``--data``)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pandas as pd

from colorbench.data import Dataset, GrayPolicy, Sample, UnreadableImage, decode_image
from colorbench.data.dataset_hashes import sha256_if_readable
from colorbench.results import LoadedRun
from colorbench.results.run_key import decides_of, run_key
from colorbench.storage import content_fingerprint
from colorbench.verification.recorded_protocol import goes_image_by_image
from colorbench.verification.verification_schema import Findings

REVISIONS = 100
"""Runs of other contents under equal names and sizes that are looked for (``record_reuse.locate`` counts them)."""
DECODED = 64
"""Number of random images whose size and gray flag are checked; contents are checked for all."""


def check_data(run: LoadedRun, images: Dataset | None, findings: Findings) -> None:
    """Check ids, contents, labels, gray flags, sizes and skipped images of a record against the dataset."""
    if images is None:
        findings.claim("images of the rows, their labels, sizes, gray flags and skipped images (--data)")
        return
    limit = run.record.dataset.limit
    given = images if limit is None else images.limit(limit)
    known = {sample.id: sample for sample in given.samples}
    findings.settle("data", _departures(run, known), f"{len(run.rows)} images have the contents stated in the rows")


def _departures(run: LoadedRun, known: Mapping[str, Sample]) -> Iterator[str]:
    rows, data = run.rows, run.record.dataset
    full = goes_image_by_image(run.record.protocol.name)  # studies, and subsets of a devkit, use some of the images
    if full and data.n + len(data.copies) != len(known):
        yield f"{data.n + len(data.copies)} images are stored, {len(known)} are given"
    contents = dict(zip(rows["id"], run.sha256s, strict=True))
    for copy in data.copies:
        if copy.id not in known or sha256_if_readable(known[copy.id]) != contents.get(copy.of):
            yield f"{copy.id[:200]} is not a copy of {copy.of[:200]}"
    stored = [*rows["id"], *(one.id for one in data.skipped)]
    if absent := [id for id in stored if id not in known]:
        yield f"{len(absent)} of {len(stored)} images are not in the given dataset, the first: {absent[0][:200]}"
    labeled = any(sample.label is not None for sample in known.values())
    drawn = set(secrets.SystemRandom().sample(range(len(rows)), min(DECODED, len(rows))))
    for position, (id, sha256, label, gray, height, width) in enumerate(
        zip(rows["id"], run.sha256s, rows["label"], rows["gray"], rows["height"], rows["width"], strict=True)
    ):
        sample = known.get(id)
        if sample is None:
            continue
        if sha256_if_readable(sample) != sha256:
            yield f"{id} differs in content from the row"
            continue
        if labeled and sample.label != (None if pd.isna(label) else int(label)):
            yield f"{id} has the label {sample.label}, the row says {None if pd.isna(label) else int(label)}"
        if position in drawn:
            try:
                image = decode_image(sample)
            except UnreadableImage as error:
                yield f"{id} cannot be decoded: {error}"
                continue
            if image.gray != bool(gray):
                yield f"{id} is {'gray' if image.gray else 'not gray'}, the row says otherwise"
            if full and image.rgb.shape[:2] != (height, width):
                yield f"{id} is {image.rgb.shape[0]} x {image.rgb.shape[1]}, the row says {height} x {width}"
    for one in data.skipped:
        sample = known.get(one.id)
        if sample is None:
            continue
        try:
            gray_itself = decode_image(sample).gray
        except UnreadableImage:
            continue
        if not (one.reason.startswith("gray") and gray_itself):
            yield f"{one.id[:200]} was skipped ({one.reason[:80]}), but can be evaluated"


def check_dataset(run: LoadedRun, findings: Findings) -> None:
    """Check the record's part on the dataset against the rows."""
    data, rows = run.record.dataset, run.rows

    def wrong() -> Iterator[str]:
        if content_fingerprint(run.sha256s) != data.fingerprint:
            yield "the fingerprint does not belong to the images of the rows"
        if data.n != len(rows) + len(data.skipped):
            yield f"{data.n} images are not {len(rows)} evaluated and {len(data.skipped)} skipped"
        if len({one.id for one in data.skipped} | set(rows["id"])) != len(rows) + len(data.skipped):
            yield "an image was skipped twice, or skipped and evaluated"
        copies = [one.id for one in data.copies]
        if len({*copies, *rows["id"]}) != len(copies) + len(rows):
            yield "a copy of an image occurs twice, or was evaluated as well"
        if not {one.of for one in data.copies} <= set(rows["id"]):
            yield "a file is stated to be a copy of an image that was not evaluated"
        if data.gray_policy not in get_args(GrayPolicy):
            yield f"unknown gray policy {data.gray_policy[:50]!r}"
        if data.gray_policy == "drop" and rows["gray"].any():
            yield "gray images were evaluated, but the policy is to drop them"
        if data.gray_policy == "keep" and any(one.reason.startswith("gray") for one in data.skipped):
            yield "gray images were skipped, but the policy is to keep them"
        if data.overlap is not None and not 0 <= data.overlap <= len(rows):
            yield f"{data.overlap} of {len(rows)} images cannot be training images"
        if data.limit is not None and data.n + len(copies) > data.limit:
            yield f"{data.n + len(copies)} images are more than the limit {data.limit}"
        gray = int(rows["gray"].sum()) + sum(one.reason.startswith("gray") for one in data.skipped)
        if gray != data.n_gray:
            yield f"{data.n_gray} gray images are stored, the rows have {gray}"

    findings.settle("dataset", wrong(), f"content of {len(rows)} images, fingerprint {data.fingerprint[:12]}")


def check_key(run: LoadedRun, images: Dataset | None, findings: Findings) -> None:
    """Check the run key against the names and sizes of the dataset's files."""
    record = run.record
    if not goes_image_by_image(record.protocol.name):
        findings.say("key", "unchecked", f"{record.protocol.name} makes its own keys")
        return
    if images is None:
        findings.say("key", "unchecked", "it depends on names and sizes of the images: use --data")
        return
    given = images if record.dataset.limit is None else images.limit(record.dataset.limit)
    absent = set(run.rows["id"]) - {sample.id for sample in given.samples}
    if absent:
        findings.say(
            "key", "fails", f"{len(absent)} of the images are not in the given dataset, the first: {min(absent)}"
        )
        return
    decides: dict[str, Any] = {**decides_of(record), "classes": given.class_names or ()}
    keys = (run_key(**decides, samples=given.samples, revision=revision) for revision in range(REVISIONS))
    wrong = [] if record.key in keys else ["it is not the hash of the stored model, protocol, images and seed"]
    findings.settle("key", iter(wrong), record.key[:12])
