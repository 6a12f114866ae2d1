"""Interfaces of protocols (``ImageProtocol``, ``DatasetProtocol``, ``Scorer``), and the data that they exchange.

An ``ImageProtocol`` is run by the engine's pass. It scores batches into *rows* (numbers per image) and *arrays* (per
image); metrics are then computed from all rows. Only stored data are used in between, so that every number can be
recomputed from the shards.
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
from colorbench.models.sampled_and_guided_predictions import Request
from colorbench.results import Difference, Metric, MetricSpec, PresetSource, Record, Shard
from colorbench.results.metric_spec import check_columns


@dataclass(frozen=True)
class ProtocolSpec:
    """Declaration of a protocol: name, version, parameters, metrics, presets."""

    name: str
    version: int
    """Raised by every change that can change a number."""
    title: str
    parameters: Mapping[str, Any]
    """Every parameter with its default."""
    metrics: tuple[MetricSpec, ...]
    headline: str
    """Metric by which leaderboards sort."""
    headline_reason: str = ""
    """Why it is the primary metric, as a clause that follows "because", for a newcomer."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``auc@cic2016`` or ``cic2016`` -> parameters; ``preset`` and ``preset_names`` accept both."""
    preset_sources: Mapping[str, PresetSource] = field(default_factory=dict)
    """``ct2`` -> published evaluation that the preset follows, if there is one."""
    parameter_help: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Allowed values of parameters with few values."""
    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Special values of parameters that otherwise name a file (``auc.prior=dataset``)."""
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameters that name the network of the protocol -> values for other networks, the most easily available first.
    They are offered where a model contains the network itself (``PretrainedPart``)."""
    needs: tuple[str, ...] = ()
    """Capabilities that a model must have, by name of the interface (``HasFeatures``)."""
    category: str = "Other"
    """What it measures, as the heading under which leaderboards list it: ``Fidelity``, ``Distribution``, ``Semantics``,
    ``Representation``, ``People``, or a heading of your own."""

    @property
    def preset_names(self) -> tuple[str, ...]:
        """Names of the presets as users type them: ``auc@cic2016``."""
        return tuple(f"{self.name}@{key.rpartition('@')[2]}" for key in self.presets)

    def meaning_of(self, metric: MetricSpec) -> str:
        """Return the explanation of a metric; of the headline also why it is the primary metric."""
        meaning = metric.explanation or f"{metric.title}."
        if metric.name != self.headline:
            return meaning
        return f"{meaning} Primary metric{f', because {self.headline_reason}' if self.headline_reason else ''}."

    def preset(self, name: str) -> dict[str, Any]:
        """Return the parameters of a preset; the name may include that of the protocol.

        Raises:
            UserError: for an unknown preset, naming the existing ones.
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
        """Return the preset (``auc@cic2016``) with exactly these resolved parameters; None for the defaults.

        Parameters that need further files (``PresetSource.add``) may be set or not.
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
        """Return every parameter as text: the given value or the default.

        Raises:
            UserError: for an unknown parameter, or a value that is not allowed.
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
    """Scores of a batch, with one entry per image."""

    columns: Mapping[str, np.ndarray]
    """(N,) float64: the score per image under the name of the metric, its statistics as ``<metric>.s<j>``, and other
    values for the rows. NaN: undefined for this image."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(N, ...) integer or float arrays that are stored in addition to the rows (bin counts, score sums, histograms)."""

    def check(self, protocol: str, count: int) -> None:
        """Raise for scores that the rows cannot hold.

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
    """A curve for display."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    beside: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Name -> y values of other lines over the same x (a control, chance)."""
    low: tuple[float, ...] = ()
    """Lower ends of the 95 % intervals of y; empty where there are none."""
    high: tuple[float, ...] = ()
    """Upper ends."""


@dataclass(frozen=True)
class Summary:
    """A protocol's summary of all rows, in addition to the metrics that the engine computes from the statistics."""

    curves: tuple[Curve, ...] = ()
    statistics: Mapping[str, np.ndarray] | None = None
    """Column name -> (n,) values, for statistics that depend on the whole dataset (``prior=dataset``)."""
    notes: tuple[str, ...] = ()
    """Sentences for the results table."""
    effective_n: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Derived:
    """Values that can be recomputed from the arrays of a record."""

    columns: tuple[Mapping[str, np.ndarray], ...] = ()
    """Column of the rows -> (n,) values; a column that can be computed in several ways is in several mappings."""
    metrics: tuple[Metric, ...] = ()
    """Metrics without statistics in the rows."""
    specs: tuple[MetricSpec, ...] = ()
    """Specs of metrics that the protocol's spec does not name, such as one per layer."""


@runtime_checkable
class DerivesFromArrays(Protocol):
    """Interface of a scorer or dataset protocol whose rows can be recomputed from arrays, for ``verify``."""

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Compute columns and metrics again from the arrays of a record, which are (n, ...) each.

        Raises:
            KeyError, ValueError, IndexError, TypeError: for arrays that the protocol does not store in this form.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """An image protocol with resolved parameters, as the engine runs it.

    ``score`` is called by several threads at once with different batches, so it must not keep state between calls.
    """

    preprocessing: str
    """Name of the preprocessing; protocols with the same preprocessing share a pass."""
    parameters: Mapping[str, Any]
    """Every parameter, resolved."""
    identity: Mapping[str, Any]
    """Parameters, and the sha256 of every file that they name; with name and version it defines a column of a
    leaderboard."""
    metrics: tuple[MetricSpec, ...]
    """Metrics of this run (a parameter may switch off intervals or comparison)."""

    def score(self, colorization: Prediction) -> BatchScores:
        """Score a batch, (N,) per column; scores must not depend on the batching."""
        ...

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return curves and notes over all images, from columns (n,) and arrays (n, ...) in the order of the ids."""
        ...


@runtime_checkable
class AsksFurther(Protocol):
    """A scorer that needs further predictions of each batch beside the usual one.

    ``score`` gets them by ``prediction.requested(self.further)``. A protocol with ``Reveals`` names ``Guided`` in its
    spec's ``needs``.
    """

    further: Request
    """``Draws`` or ``Reveals``; it does not change."""


def further_of(scorer: Scorer) -> Request | None:
    """Return what a protocol's scorer needs beside the usual prediction; None for most."""
    return scorer.further if isinstance(scorer, AsksFurther) else None


@runtime_checkable
class ChecksModel(Protocol):
    """Interface of a scorer that does not accept every model."""

    def check_model(self, model: LoadedModel) -> None:
        """Raise for a model that cannot be evaluated; called before the evaluation.

        Raises:
            UserError: with the reason and a hint.
        """
        ...


@runtime_checkable
class ImageProtocol(Protocol):
    """A protocol that scores image by image in the engine's pass."""

    spec: ProtocolSpec

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> Scorer:
        """Check the parameters and return a scorer; a UserError names a wrong parameter."""
        ...


@runtime_checkable
class DatasetProtocol(Protocol):
    """A protocol on whole datasets, which for example trains a network or runs a study.

    Of several processes, one evaluates a model, and the others read its record. A protocol with the optional attribute
    ``shares_work = True`` is called in every process instead, and divides its work by ``settings.claims``.
    """

    spec: ProtocolSpec
    roles: tuple[str, ...]
    """Roles of the datasets that it needs: ``test``, or ``train`` and ``test``."""
    joint: bool
    """Whether all models of a command are evaluated together (a study) instead of one by one."""

    def evaluate(self, context: ProtocolContext) -> Record | Path:
        """Evaluate and return a record, written in its folder, or another folder (such as a study to be served).

        Raises:
            UserError: for errors that the caller can fix.
            RunError: if the run failed; finished work is kept.
        """
        ...


class ProgressListener(Protocol):
    """Interface for listeners to the progress of a run."""

    def started(self, total: int, unit: str = "images") -> None:
        """Handle the start of an evaluation of ``total`` images, or of a step with another unit."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """Handle the completion of ``n`` more images; the speed is an average since the start."""

    def message(self, text: str) -> None:
        """Handle one line of text."""


class ThroughputMeter:
    """Counter of images that reports speed to a listener."""

    def __init__(self, listener: ProgressListener) -> None:
        self.listener, self.count, self.start = listener, 0, time.perf_counter()

    def advance(self, n: int) -> None:
        """Count ``n`` more images."""
        self.count += n
        self.listener.advanced(n, self.count / max(time.perf_counter() - self.start, 1e-9))


class NullProgress:
    """A listener that ignores all events."""

    def started(self, total: int, unit: str = "images") -> None:
        """Handle the start by doing nothing."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """Handle progress by doing nothing."""

    def message(self, text: str) -> None:
        """Handle a message by doing nothing."""


@dataclass(frozen=True)
class ProtocolContext:
    """Context of a run for a dataset protocol: models, data, parameters and settings."""

    models: tuple[LoadedModel, ...]
    """The model to evaluate; all models of the command for a joint protocol."""
    parameters: Mapping[str, Any]
    """Given parameters, including those of a preset; ``spec.resolved`` adds the defaults."""
    data: Mapping[str, Dataset]
    """Role -> images, after any limit."""
    settings: ExecutionConfig
    """Device, dtype, batches, seed."""
    request: RunConfig
    """Configuration of the whole command: output, images to save, limit."""
    listener: ProgressListener
    started: list[RunDirectory] = field(default_factory=list)
    """Folders of started records; empty ones are removed after an error."""
    code: tuple[str, tuple[str, ...]] = ("", ())
    """``protocol_code`` of the protocol."""
    fingerprints: Mapping[int, ModelFingerprint] = field(default_factory=dict)
    """id of a model -> its fingerprint, computed before a cast to another dtype."""
    launch: str = ""
    """Text that is the same in all processes of one command, and in no other command."""

    def fingerprint_of(self, model: LoadedModel) -> ModelFingerprint:
        """Return the fingerprint of a model."""
        return self.fingerprints.get(id(model)) or model_fingerprint(model)

    @property
    def model(self) -> LoadedModel:
        """The model of a protocol that is not joint."""
        return self.models[0]

    @property
    def cache(self) -> Path:
        """Folder below the output for data that can be recomputed: features, probes, checkpoints."""
        return self.request.output / ".cache"


@dataclass(frozen=True)
class ProtocolResult:
    """Result of a dataset protocol, to be written as a record."""

    parameters: Mapping[str, Any]
    identity: Mapping[str, Any]
    preprocessing: str
    rows: Shard
    """One row per image of the role ``test``, and skipped images."""
    columns: Mapping[str, np.ndarray]
    """(n,) float64 each: scores and their statistics, as an image protocol names them."""
    metrics: Sequence[Metric]
    differences: Sequence[Difference] = ()
    summary: Summary = field(default_factory=Summary)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
