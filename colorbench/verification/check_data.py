"""Whether the rows tell of the images that are given (``verify --data``)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from hashlib import file_digest

import pandas as pd

from colorbench.data import Dataset, Sample, UnreadableImage, decode_image
from colorbench.results import LoadedRun
from colorbench.verification.recompute import goes_image_by_image
from colorbench.verification.schema import Findings

DECODED = 64
"""Images, drawn at random, whose size and gray flag are looked at; the contents of all are."""


def check_data(run: LoadedRun, images: Dataset | None, findings: Findings) -> None:
    """Compare ids, contents, labels, gray flags, sizes and what was left out with the images themselves."""
    if images is None:
        findings.claim("images behind the rows, their labels, sizes, gray flags and what was left out (--data)")
        return
    limit = run.record.dataset.limit
    given = images if limit is None else images.limit(limit)
    known = {sample.id: sample for sample in given.samples}
    findings.settle("data", _departures(run, known), f"{len(run.rows)} images have the contents that the rows name")


def _departures(run: LoadedRun, known: Mapping[str, Sample]) -> Iterator[str]:
    rows, data = run.rows, run.record.dataset
    full = goes_image_by_image(run.record.protocol.name)  # a study, or a part of a devkit, takes some of them
    if full and data.n + len(data.copies) != len(known):
        yield f"{data.n + len(data.copies)} images are stored, {len(known)} are given"
    contents = dict(zip(rows["id"], run.sha256s, strict=True))
    for copy in data.copies:
        if copy.id not in known or _sha256(known[copy.id]) != contents.get(copy.of):
            yield f"{copy.id[:200]} is no copy of {copy.of[:200]}"
    labeled = any(sample.label is not None for sample in known.values())
    drawn = set(secrets.SystemRandom().sample(range(len(rows)), min(DECODED, len(rows))))
    for position, (id, sha256, label, gray, height, width) in enumerate(
        zip(rows["id"], run.sha256s, rows["label"], rows["gray"], rows["height"], rows["width"], strict=True)
    ):
        sample = known.get(id)
        if sample is None:
            yield f"{id} is not among the images given"
            continue
        if _sha256(sample) != sha256:
            yield f"{id} has another content than the row says"
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
            yield f"{one.id[:200]} was left out and is not among the images given"
            continue
        try:
            gray_itself = decode_image(sample).gray
        except UnreadableImage:
            continue
        if not (one.reason.startswith("gray") and gray_itself):
            yield f"{one.id[:200]} was left out ({one.reason[:80]}), and can be evaluated"


def _sha256(sample: Sample) -> str | None:
    try:
        with open(sample.path, "rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
