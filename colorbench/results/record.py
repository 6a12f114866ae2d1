"""The record of one finished run: the schema of ``record.json``."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from colorbench.errors import RunError, UnknownNameError, UserError, first_problem, one_line_errors
from colorbench.models import CONSTANT_MODEL, GRAY_MODEL, ModelCard
from colorbench.registry import nearest
from colorbench.results.dataframe_and_html import Tabular
from colorbench.results.shared_weights import SharedWeights
from colorbench.storage import parse_json, read_plain
from colorbench.storage.limits import LARGEST_RECORD
from colorbench.storage.safe_json import InvalidJson

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 2
_IN_REPR = 3
"""Metrics in the one line that stands for a record."""


class _Part(BaseModel):
    # Infinities and NaN are refused; a metric without a value is None.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelPart(_Part):
    """The model that was evaluated."""

    name: str
    """Full name with the resolved tag."""
    package: str | None
    package_version: str | None
    weights_sha256: str | None
    decoding: dict[str, Any]
    """Method and temperature, if the model predicts a distribution."""
    card: ModelCard


class ProtocolPart(_Part):
    """The protocol by which the model was scored."""

    name: str
    version: int
    parameters: dict[str, Any]
    identity: dict[str, Any]
    """Resolved parameters with the sha256 of every file that they name."""
    identity_sha256: str
    """Hash of name, version and identity, which defines a column of a leaderboard."""


class Skipped(_Part):
    """An image that was not evaluated."""

    id: str
    reason: str


class CopyPart(_Part):
    """A file that was not counted, since its content equals that of another file of the dataset."""

    id: str
    of: str
    """Id of the file that was counted."""


class DatasetPart(_Part):
    """The images of the evaluation."""

    name: str
    n: int
    """Number of distinct images; the number of files is ``n`` plus that of ``copies``."""
    n_evaluated: int
    n_gray: int
    gray_policy: str
    skipped: list[Skipped]
    fingerprint: str
    """sha256 over the sorted content hashes of the evaluated images."""
    preprocessing: str
    overlap: int | None
    """Number of evaluated images among the model's training images, by content; None if unknown."""
    limit: int | None
    redistributable: bool
    copies: list[CopyPart] = []
    """Files with the same content as another."""
    source: str = ""
    """Origin of the images, and credits."""


class FingerprintPart(_Part):
    """Hashes of everything that determines the numbers; a result is reused only if all are unchanged."""

    model: str
    """Name of the model without the parent folders of its file or folder."""
    weights: str
    """sha256 of the state of the model."""
    model_code: str
    protocol_code: str
    """sha256 of the protocol's code and of the state of its scorer."""
    colorbench_code: str
    references: str = ""
    """sha256 over the fingerprints of gray, constant and ground truth, if differences from them are stored."""
    revision: int = 0
    """Number of earlier runs with the same key: on other images with equal names and sizes, or of a model that is not
    reusable."""
    reusable: bool = True
    reasons: list[str] = []
    """Reasons why the result cannot be reused."""


class Metric(_Part):
    """Value of one metric with its uncertainty."""

    name: str
    title: str
    value: float | None
    """None if no image has a defined value."""
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
    """Paired difference of one metric: this model minus another on the same images."""

    metric: str
    minus: str
    """Name of the other model (``zoo/gray``)."""
    value: float
    ci_low: float | None
    ci_high: float | None
    ci_method: str | None
    n: int


class CurvePart(_Part):
    """Points of a curve."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: list[float]
    y: list[float]
    beside: dict[str, list[float]] = {}
    """Name -> y values of other lines over the same x."""
    low: list[float] = []
    """Lower ends of the 95 % intervals of y; empty where there are none."""
    high: list[float] = []
    """Upper ends."""


class Execution(_Part):
    """Hardware and execution settings, which are not part of the key."""

    seed: int
    device: str
    dtype: str
    threads: int
    batch_size: int
    workers: int
    processes: int
    deterministic: bool
    seconds: float
    """Of all images, summed over the threads and processes that work at once."""
    images_per_second: float
    """Images over ``seconds``, so of one thread; without the first batch of each process, in which the model warms up,
    if there are other batches."""
    stage_seconds: dict[str, float]


class Provenance(_Part):
    """Versions, commit, command and time of the run."""

    colorbench_version: str
    git_commit: str | None
    git_dirty: bool | None
    packages: dict[str, str]
    python: str
    platform: str
    command: list[str]
    time: str
    """UTC, ISO 8601."""


PREDICTIONS = "predictions.sha256"
"""List of the saved predictions of a record, in the format of ``sha256sum``."""


class Files(_Part):
    """sha256 of the files beside the record."""

    rows: str
    arrays: dict[str, str]
    saved_images: dict[str, str]

    @property
    def has_predictions(self) -> bool:
        """Whether the predictions of all images are saved."""
        return PREDICTIONS in self.saved_images


class Record(Tabular, _Part):
    """Result of one model under one protocol on one dataset."""

    COLUMNS: ClassVar = (
        "model",
        "protocol",
        "dataset",
        *("metric", "value", "ci_low", "ci_high", "n", "unit", "higher_is_better"),
        *("key", "weights", "preprocessing", "effective_n", "minus_gray", "minus_constant"),
    )
    """Columns of the data frame."""

    schema_version: Literal[2] = 2
    key: str
    """Hash of everything that determines the numbers: model, weights, decoding, protocol, data, seed."""
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
    shared_weights: list[SharedWeights] = []
    """Networks that are part of the model and also used by the protocol to score it."""
    fingerprint: FingerprintPart | None = None
    """None in records of earlier versions, which are never reused."""

    def __getitem__(self, name: str) -> Metric:
        """Return a metric by name, ``record["auc_raw"]``; for an unknown one, ``UnknownNameError`` lists the names."""
        found = {metric.name: metric for metric in self.metrics}
        if name not in found:
            near = nearest(name, found)
            hint = f"it has {', '.join(found)}" if near is None else f"did you mean {near}? It has {', '.join(found)}"
            raise UnknownNameError(f"{self.model.name} has no metric {name!r}", hint=hint)
        return found[name]

    def table_rows(self) -> list[tuple[Any, ...]]:
        """Return one tuple of ``COLUMNS`` per metric."""
        named = (self.model.name, self.protocol.name, self.dataset.name)
        weights = self.model.weights_sha256 and self.model.weights_sha256[:8]  # as pages show it
        minus = {(one.minus, one.metric): one.value for one in self.differences}
        return [
            (
                *(*named, one.name, one.value, one.ci_low, one.ci_high, one.n, one.unit, one.higher_is_better),
                *(self.key, weights, self.dataset.preprocessing, one.effective_n),
                *(minus.get((baseline, one.name), math.nan) for baseline in (GRAY_MODEL, CONSTANT_MODEL)),
            )
            for one in self.metrics
        ]

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per metric.

        Returns:
            A data frame with the columns ``model``, ``protocol``, ``dataset``, ``metric``, ``value``, ``ci_low``,
            ``ci_high`` (95 % confidence interval), ``n`` (images), ``unit`` and ``higher_is_better``; then, with the
            names of ``board.csv``, what tells rows of equal names apart and puts values in context: ``key`` (of the
            record), ``weights`` (first 8 digits of the sha256 of the weights, or of the files of a folder of
            predictions; None if there are none), ``preprocessing``, ``effective_n`` (effective number of images),
            ``minus_gray`` and ``minus_constant`` (difference from the baseline; NaN where there is none).
        """
        import pandas as pd  # half a second to import

        return pd.DataFrame(self.table_rows(), columns=list(self.COLUMNS))

    def __repr__(self) -> str:
        shown = [
            f"{one.name} {'–' if one.value is None else format(one.value, '.4g')}" for one in self.metrics[:_IN_REPR]
        ]
        more = [f"{len(self.metrics) - _IN_REPR} more"] if len(self.metrics) > _IN_REPR else []
        on = f"{self.dataset.n_evaluated} images of {self.dataset.name}"
        what = f"{self.model.name}, {self.protocol.name} v{self.protocol.version}, {on}"
        return f"<Record {what}: {', '.join([*shown, *more])}{after_semicolon(too_few_images(self))}>"


def too_few_images(record: Record) -> str | None:
    """Return the note that marks a run on too few images as a smoke test; None if there is none."""
    return next((note for note in record.notes if note.startswith("smoke test on ")), None)


def after_semicolon(note: str | None) -> str:
    """Return a note as the end of a text; empty if there is none."""
    return f"; {note}" if note else ""


def record_text(record: Record) -> str:
    """Return the text of ``record.json``, after checking that it can be read back unchanged.

    Raises:
        RunError: naming what cannot be stored: a NaN or infinity, or an object that JSON cannot represent.
    """
    try:
        text = record.model_dump_json(indent=1)
        Record.model_validate_json(text)
    except ValidationError as error:
        raise RunError(f"cannot be stored in a record: {first_problem(error)}") from error
    except ValueError as error:
        raise RunError(f"cannot be stored in a record: {' '.join(str(error).split())}") from error
    for part, value in record.model_dump().items():
        # A NaN in free values (parameters, identity) would be written as null and read as None.
        if (trouble := _unstorable(value)) is not None:
            raise RunError(f"cannot store {part} in a record: {trouble}", hint="use finite numbers and text")
    return text + "\n"


@contextlib.contextmanager
def storable(whose: str) -> Iterator[None]:
    """Turn the error of values that a record cannot store into one line.

    Raises:
        RunError: naming the owner of the values, and the first of them.
    """
    try:
        yield
    except ValidationError as error:
        what = f"{whose} returned a value that cannot be stored in a record: {first_problem(error)}"
        raise RunError(what, hint="use finite numbers and text; finished work is kept") from error


def _unstorable(value: object) -> str | None:
    """Return the first of the values that JSON cannot hold; None if it can hold all."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        return " ".join(str(error).split())
    return None


@one_line_errors()
def read_record(folder: Path) -> Record:
    """Read the record of a folder.

    Raises:
        UserError: as ``read_checked_record``.
    """
    return read_checked_record(folder)[0]


def read_checked_record(folder: Path) -> tuple[Record, str]:
    """Read the record of a folder, as untrusted data, and the sha256 of its bytes.

    Only a plain file of reasonable size is opened.

    Raises:
        UserError: for a missing or invalid record.
    """
    data = record_bytes(folder)
    return parse_record(data, folder), sha256(data).hexdigest()


def record_bytes(folder: Path) -> bytes:
    """Return the bytes of the record of a folder.

    Raises:
        UserError: for a record that is missing, too large, or not a plain file.
    """
    hint = "give a folder that `colorbench run` wrote"
    return read_plain(folder / "record.json", LARGEST_RECORD, missing="no record here", hint=hint)


def parse_record(data: bytes, folder: Path) -> Record:
    """Parse the untrusted bytes of a record; ``folder`` is its place for messages.

    Raises:
        UserError: for an invalid record.
    """
    path = folder / "record.json"
    try:
        return Record.model_validate(parse_json(data))
    except InvalidJson as error:
        raise UserError(f"this is not a valid record: {error}", where=str(path), hint="evaluate again") from error
    except (ValueError, TypeError) as error:
        raise UserError("not a record of this schema version", where=str(path), hint="evaluate again") from error
