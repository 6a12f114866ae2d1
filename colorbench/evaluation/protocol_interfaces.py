"""The interfaces of a protocol: a versioned way to score.

An ``ImageProtocol`` goes through the engine's one pass. It scores a batch into *rows*: plain numbers per image, and
*arrays* per image. From all rows it then makes metrics. Between the two stands nothing but what was stored, so that
every number can be derived again from the shards.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from colorbench.data import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation.run_config import ExecutionConfig, RunConfig
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.evaluation.truth_and_prediction import Prediction
from colorbench.models import LoadedModel
from colorbench.models.fingerprint import ModelFingerprint, model_fingerprint
from colorbench.results import Difference, Metric, MetricSpec, PresetSource, Record, Shard
from colorbench.results.metric_spec import check_columns


@dataclass(frozen=True)
class ProtocolSpec:
    """What a protocol is."""

    name: str
    version: int
    """Raised by every change that can move a number."""
    title: str
    parameters: Mapping[str, Any]
    """Every parameter with its default."""
    metrics: tuple[MetricSpec, ...]
    headline: str
    """The metric that boards sort by."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``auc@cic2016`` or ``cic2016`` -> parameters; ``preset`` and ``preset_names`` take both."""
    preset_sources: Mapping[str, PresetSource] = field(default_factory=dict)
    """``ct2`` -> whose evaluation the preset follows, for presets that follow one."""
    parameter_help: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The values of those parameters that have only a few."""
    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of parameters that may name a file and here name none (``auc.prior=dataset``)."""
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameters that name a network which judges -> values for other networks, those that are easiest to get first.
    They are offered where a model contains the network itself (``PretrainedPart``)."""
    needs: tuple[str, ...] = ()
    """Capabilities that a model must have, by interface name (``HasFeatures``)."""
    category: str = "Other"
    """What it measures, as the heading under which leaderboards list it: ``Fidelity``, ``Distribution``, ``Semantics``,
    ``Representation``, ``People``, or a heading of your own."""

    @property
    def preset_names(self) -> tuple[str, ...]:
        """As users type them: ``auc@cic2016``."""
        return tuple(f"{self.name}@{key.rpartition('@')[2]}" for key in self.presets)

    def preset(self, name: str) -> dict[str, Any]:
        """Return the parameters that a preset sets, by its name with the protocol's before it or without.

        Raises:
            UserError: for an unknown preset, naming those that there are.
        """
        wanted = name.removeprefix(f"{self.name}@")
        for key, values in self.presets.items():
            if key.rpartition("@")[2] == wanted:
                return dict(values)
        short = [key.rpartition("@")[2] for key in self.presets]
        close = difflib.get_close_matches(wanted.lower(), short, n=1)
        known = f"known: {', '.join(self.preset_names)}" if self.presets else "it has none"
        hint = f"did you mean `{self.name}@{close[0]}`?" if close else known
        raise UserError(f"protocol {self.name} has no preset {wanted!r}", hint=hint)

    def preset_of(self, parameters: Mapping[str, Any]) -> str | None:
        """Return the preset, ``auc@cic2016``, that sets just these resolved parameters; None for the defaults.

        Parameters that the preset's source has but that need further files (``PresetSource.add``) may be set or not.
        """
        given = {name: str(value) for name, value in parameters.items()}
        if given == self.resolved({}):
            return None
        for key in self.presets:
            short = key.rpartition("@")[2]
            wanted = self.resolved(self.preset(short))
            add = self.preset_sources[short].add if short in self.preset_sources else {}
            same = (given.get(name) in (value, add.get(name, value)) for name, value in wanted.items())
            if given.keys() == wanted.keys() and all(same):
                return f"{self.name}@{short}"
        return None

    def resolved(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return every parameter as text: the value given, or its default.

        Raises:
            UserError: for an unknown parameter, or a value that is not one of its choices.
        """
        for name in given:
            if name not in self.parameters:
                close = difflib.get_close_matches(name, self.parameters, n=1)
                meant = f"did you mean `{close[0]}`?" if close else f"Known: {', '.join(self.parameters)}"
                raise UserError(f"protocol {self.name} has no parameter {name!r}", hint=meant)
        chosen = {name: str(given.get(name, default)) for name, default in self.parameters.items()}
        for name, values in self.choices.items():
            if chosen[name] not in values:
                raise UserError(f"{self.name}.{name} cannot be {chosen[name]!r}", hint=f"choose {' or '.join(values)}")
        return chosen


@dataclass(frozen=True)
class BatchScores:
    """Scores of a batch: one entry per image everywhere."""

    columns: Mapping[str, np.ndarray]
    """(N,) float64: the scores per image under the metric's own name, its statistics as ``<metric>.s<j>``, and
    anything else worth a column of the rows. NaN: not defined for this image."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(N, ...) integer or float arrays, stored beside the rows (bin counts, score sums, histograms)."""

    def check(self, protocol: str, count: int) -> None:
        """Refuse scores that the rows cannot hold.

        Args:
            protocol: its name.
            count: images in the batch.

        Raises:
            RunError: naming the protocol and the column or array.
        """
        check_columns(protocol, [*self.columns, *self.arrays])
        for name, values in (*self.columns.items(), *self.arrays.items()):
            if np.ndim(values) == 0 or len(values) != count:
                given = "one value" if np.ndim(values) == 0 else f"{len(values)} values"
                raise RunError(f"protocol {protocol} gave {given} of {name} for {count} images")
            if np.asarray(values).dtype.kind not in "biuf":
                raise RunError(f"protocol {protocol} gave {name} as {np.asarray(values).dtype}, not as numbers")
        for name, values in self.columns.items():
            if np.ndim(values) != 1:
                raise RunError(f"protocol {protocol} gave column {name} in {np.ndim(values)} dimensions, not in one")


@dataclass(frozen=True)
class Curve:
    """Points to draw."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    beside: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Other lines over the same x, by what they are (a control, chance)."""


@dataclass(frozen=True)
class Summary:
    """What a protocol says of all the rows beside the metrics, which the engine makes from the statistics."""

    curves: tuple[Curve, ...] = ()
    statistics: Mapping[str, np.ndarray] | None = None
    """Column name -> (n,) values, where the statistics follow only from the whole set (``prior=dataset``)."""
    notes: tuple[str, ...] = ()
    """Sentences that the closing table prints."""
    effective_n: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Derived:
    """What follows from the arrays of a record."""

    columns: tuple[Mapping[str, np.ndarray], ...] = ()
    """Column of the rows -> (n,) values; a column that can be derived in several ways is in several mappings."""
    metrics: tuple[Metric, ...] = ()
    """Metrics that have no statistics in the rows."""
    specs: tuple[MetricSpec, ...] = ()
    """Of metrics that the protocol's spec does not name, one a layer say."""


@runtime_checkable
class DerivesFromArrays(Protocol):
    """A scorer or dataset protocol whose rows follow from the arrays beside them; ``verify`` compares the two."""

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Return all columns and metrics that follow from the arrays.

        Raises:
            KeyError, ValueError, IndexError, TypeError: for arrays of another form than the protocol stores.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """A protocol with its parameters resolved: what the engine runs.

    ``score`` is called by several threads at once, each with another batch: it keeps no state between calls.
    """

    preprocessing: str
    """Name of the preprocessing; protocols that share one share the pass."""
    parameters: Mapping[str, Any]
    """Every parameter, resolved."""
    identity: Mapping[str, Any]
    """Parameters and the sha256 of every file behind them: with name and version, what a board column is."""
    metrics: tuple[MetricSpec, ...]
    """The metrics of this run (intervals or comparison may be switched off by a parameter)."""

    def score(self, colorization: Prediction) -> BatchScores:
        """Score a batch, (N,) per column; the scores must not depend on how the images are batched."""
        ...

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return curves and notes of all images, from columns (n,) and arrays (n, ...) in the order of the ids."""
        ...


@runtime_checkable
class ChecksModel(Protocol):
    """A scorer that does not accept every model; it is called before the evaluation."""

    def check_model(self, model: LoadedModel) -> None:
        """Refuse a model.

        Raises:
            UserError: saying why, and what to do.
        """
        ...


@runtime_checkable
class ImageProtocol(Protocol):
    """A protocol that the engine's pass can run."""

    spec: ProtocolSpec

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> Scorer:
        """Check and resolve parameters (UserError names the wrong one) into a scorer."""
        ...


@runtime_checkable
class DatasetProtocol(Protocol):
    """A dataset protocol: it trains a network or runs a study, instead of scoring image by image."""

    spec: ProtocolSpec
    roles: tuple[str, ...]
    """Sets of images that it needs: ``test``, or ``train`` and ``test``."""
    joint: bool
    """Whether all models of a command are judged together (a study), and not each by itself."""

    def evaluate(self, context: ProtocolContext) -> Record | Path:
        """Evaluate: return a record, written in its folder, or a folder of another kind (a study to be run).

        Raises:
            UserError: for what the caller can fix.
            RunError: if the run failed; finished work is kept.
        """
        ...


class ProgressListener(Protocol):
    """Hears how a run goes on; the command line draws it."""

    def started(self, total: int) -> None:
        """Handle the start: ``total`` images are still to be evaluated."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """Handle ``n`` more images; the speed is since the start."""

    def message(self, text: str) -> None:
        """Handle one line of text."""


class ThroughputMeter:
    """Counts images for the listener."""

    def __init__(self, listener: ProgressListener) -> None:
        self.listener, self.count, self.start = listener, 0, time.perf_counter()

    def advance(self, n: int) -> None:
        """Count ``n`` more images."""
        self.count += n
        self.listener.advanced(n, self.count / max(time.perf_counter() - self.start, 1e-9))


class NullProgress:
    """A listener that says nothing."""

    def started(self, total: int) -> None:
        """Handle the start by doing nothing."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """Handle progress by doing nothing."""

    def message(self, text: str) -> None:
        """Handle a message by doing nothing."""


@dataclass(frozen=True)
class ProtocolContext:
    """All that a protocol is given."""

    models: tuple[LoadedModel, ...]
    """The model to be judged; all of the command's where the protocol is joint."""
    parameters: Mapping[str, Any]
    """As given, a preset's among them; ``spec.resolved`` adds the defaults."""
    data: Mapping[str, Dataset]
    """Role -> images, after any limit."""
    settings: ExecutionConfig
    """Device, dtype, batches, seed."""
    request: RunConfig
    """The whole command: output, images to keep, limit."""
    listener: ProgressListener
    started: list[RunDirectory] = field(default_factory=list)
    """Folders of started records; after an error, empty ones are removed."""
    code: tuple[str, tuple[str, ...]] = ("", ())
    """``protocol_code`` of the protocol."""
    fingerprints: Mapping[int, ModelFingerprint] = field(default_factory=dict)
    """id of a model -> its fingerprint, taken before any of them was cast to another dtype."""
    launch: str = ""
    """See ``record_reuse.launch_token``."""

    def fingerprint_of(self, model: LoadedModel) -> ModelFingerprint:
        """Return the fingerprint that decides the model's predictions."""
        return self.fingerprints.get(id(model)) or model_fingerprint(model)

    @property
    def model(self) -> LoadedModel:
        """The one model of a protocol that is not joint."""
        return self.models[0]

    @property
    def cache(self) -> Path:
        """Folder below the output for what may be made again: features, probes, checkpoints."""
        return self.request.output / ".cache"


@dataclass(frozen=True)
class ProtocolResult:
    """What a protocol found, to be written as a record."""

    parameters: Mapping[str, Any]
    identity: Mapping[str, Any]
    preprocessing: str
    rows: Shard
    """A line per image of the role ``test``, with what was skipped."""
    columns: Mapping[str, np.ndarray]
    """(n,) float64 each: scores and their statistics, as an image protocol names them."""
    metrics: Sequence[Metric]
    differences: Sequence[Difference] = ()
    summary: Summary = field(default_factory=Summary)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
