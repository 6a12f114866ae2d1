"""The record of one finished run: the schema of ``record.json``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from colorbench.errors import RunError, UserError, first_problem
from colorbench.models import ModelCard

SCHEMA_VERSION = 2


class _Part(BaseModel):
    # Infinities and NaN are no numbers that a table could show; a metric without a value is None.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelPart(_Part):
    """The model that was evaluated."""

    name: str
    """Full name with its resolved tag."""
    package: str | None
    package_version: str | None
    weights_sha256: str | None
    decoding: dict[str, Any]
    """decode and temperature, where the model predicts a distribution."""
    card: ModelCard


class ProtocolPart(_Part):
    """How it was scored."""

    name: str
    version: int
    parameters: dict[str, Any]
    identity: dict[str, Any]
    """Resolved parameters with the sha256 of every file behind them."""
    identity_sha256: str
    """Of name, version and identity: what a board column is."""


class Skipped(_Part):
    """An image that was not evaluated."""

    id: str
    reason: str


class CopyPart(_Part):
    """A file that did not count: its content is that of another file of the set."""

    id: str
    of: str
    """Id of the file that counted."""


class DatasetPart(_Part):
    """On what."""

    name: str
    n: int
    """Images; copies of an image count once, so that files are ``n`` and ``copies`` together."""
    n_evaluated: int
    n_gray: int
    gray_policy: str
    skipped: list[Skipped]
    fingerprint: str
    """sha256 over the sorted content hashes of the evaluated images."""
    preprocessing: str
    overlap: int | None
    """Evaluated images that are among the model's training images, by content; None: not known."""
    limit: int | None
    redistributable: bool
    copies: list[CopyPart] = []
    """Files of the same content as another."""
    source: str = ""
    """Where the images come from, and whom to credit for them."""


class FingerprintPart(_Part):
    """What decided the numbers, part by part: a result is shown again only while all of it is as it was."""

    model: str
    """Name of the model without the folders above its file or folder."""
    weights: str
    """sha256 of all that the model holds."""
    model_code: str
    protocol_code: str
    """sha256 of the protocol's code, and of what its scorer holds."""
    colorbench_code: str
    references: str = ""
    """sha256 over the fingerprints of gray, constant and truth, where differences from them are stored."""
    revision: int = 0
    """How many runs of other images under equal names and sizes came before, or of a model that is not reusable."""
    reusable: bool = True
    reasons: list[str] = []
    """Reasons why the result cannot be reused."""


class Metric(_Part):
    """One number with its uncertainty."""

    name: str
    title: str
    value: float | None
    """None where no image has a defined value."""
    unit: str
    higher_is_better: bool | None
    ci_low: float | None
    ci_high: float | None
    ci_method: str | None
    n: int
    effective_n: float
    form: Literal["ratio", "abs_difference"]
    comparable: bool
    warning: str | None = None
    classifier: str | None = None
    """Name of the classifier whose score it is; None for other metrics."""
    share_of_gap: bool = False
    """Whether the value is a share of a gap between two baselines, with Fieller's interval."""


class Difference(_Part):
    """A paired difference of one metric, this model minus another, on the same images."""

    metric: str
    minus: str
    """Name of the other model (``zoo/gray``)."""
    value: float
    ci_low: float | None
    ci_high: float | None
    ci_method: str | None
    n: int


class CurvePart(_Part):
    """Points that were drawn."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: list[float]
    y: list[float]
    beside: dict[str, list[float]] = {}
    """Other lines over the same x, by what they are."""


class Execution(_Part):
    """With what: shown, not hashed."""

    seed: int
    device: str
    dtype: str
    threads: int
    batch_size: int
    workers: int
    processes: int
    deterministic: bool
    seconds: float
    images_per_second: float
    stage_seconds: dict[str, float]


class Provenance(_Part):
    """From where."""

    colorbench_version: str
    git_commit: str | None
    git_dirty: bool | None
    packages: dict[str, str]
    python: str
    platform: str
    command: list[str]
    time: str
    """UTC, ISO 8601."""


class Files(_Part):
    """sha256 of the files beside the record."""

    rows: str
    arrays: dict[str, str]
    saved_images: dict[str, str]


class Record(_Part):
    """One model, one protocol, one set."""

    schema_version: Literal[2] = 2
    key: str
    """Hash of all that decides the numbers: model, weights, decoding, protocol, data, seed."""
    model: ModelPart
    protocol: ProtocolPart
    dataset: DatasetPart
    metrics: list[Metric]
    differences: list[Difference]
    curves: list[CurvePart]
    notes: list[str]
    execution: Execution
    provenance: Provenance
    files: Files
    fingerprint: FingerprintPart | None = None
    """None in records of versions before it: those are never shown in place of a new run."""


def record_text(record: Record) -> str:
    """Return ``record.json``, after making sure that it can be read again as it is.

    Raises:
        RunError: naming what cannot be stored: a NaN or infinity, or an object that JSON has no form for.
    """
    try:
        text = record.model_dump_json(indent=1)
        Record.model_validate_json(text)
    except ValidationError as error:
        raise RunError(f"cannot be stored in a record: {first_problem(error)}") from error
    except ValueError as error:
        raise RunError(f"cannot be stored in a record: {' '.join(str(error).split())}") from error
    for part, value in record.model_dump().items():
        # A NaN among free values (parameters, identity) is written as null, and would be read as nothing.
        if (trouble := unstorable(value)) is not None:
            raise RunError(f"cannot store {part} in a record: {trouble}", hint="use finite numbers and text")
    return text + "\n"


@contextlib.contextmanager
def storable(whose: str) -> Iterator[None]:
    """Turn the error of values that a record cannot store into one line.

    Raises:
        RunError: naming whose values they are, and the first.
    """
    try:
        yield
    except ValidationError as error:
        what = f"{whose} returned a value that cannot be stored in a record: {first_problem(error)}"
        raise RunError(what, hint="use finite numbers and text; finished shards are kept") from error


def unstorable(value: object) -> str | None:
    """Return what JSON cannot hold of plain values; None where it can hold all."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        return " ".join(str(error).split())
    return None


def read_record(folder: Path) -> Record:
    """Read the record of a folder.

    Raises:
        UserError: where there is none, or it is not one.
    """
    path = folder / "record.json"
    try:
        return Record.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError("no record here", where=str(path), hint="give a folder that `colorbench run` wrote") from error
    except OSError as error:  # a folder of that name, a file that may not be read
        what = f"the record cannot be read: {error.strerror}"
        raise UserError(what, where=str(path), hint="evaluate again") from error
    except ValueError as error:
        raise UserError("not a record of this schema version", where=str(path), hint="evaluate again") from error
