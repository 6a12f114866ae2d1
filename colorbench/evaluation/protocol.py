"""The interfaces of a protocol: a versioned way to score.

An ``ImageProtocol`` goes through the engine's one pass. It scores a batch into *rows*: plain numbers per image, and
*arrays* per image. From all rows it then makes metrics. Between the two stands nothing but what was stored, so that
every number can be derived again from the shards.
"""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from colorbench.color.lab import lab_to_rgb8, lightness_and_ab, seen
from colorbench.data.dataset import Dataset
from colorbench.errors import UserError
from colorbench.evaluation.lazy import lazy

if TYPE_CHECKING:
    from colorbench.evaluation.record import Metric, Record
    from colorbench.evaluation.whole import Context


@dataclass(frozen=True)
class MetricSpec:
    """What is known of a metric before anything is measured."""

    name: str
    title: str
    """A few words for a table's head."""
    unit: str
    """``%``, ``dB``, ``ΔE00`` ...; empty for a plain number."""
    higher_is_better: bool | None
    """None where neither direction is better (lightness drift, colourfulness itself)."""
    lower_bound: float | None = None
    upper_bound: float | None = None
    explanation: str = ""
    """One sentence for a newcomer."""
    form: Literal["ratio", "abs_difference"] = "ratio"
    """How the value follows from the sums S of the per-image statistics: ``ratio`` S0/S1;
    ``abs_difference`` |S0 - S1|/S2. The statistics stand in the rows' columns ``<name>.s0``, ``<name>.s1`` ..."""
    comparable: bool = True
    """Whether pairs of models may be compared by it (False: shown only)."""
    interval: bool = True
    """Whether a bootstrap interval is honest for it."""
    judge: str | None = None
    """Whose score it is, where a classifier or person judges; see ``evaluation.judges``."""
    share_of_gap: bool = False
    """Whether S1 is a gap between two anchors and the value a share of it: the interval is then Fieller's, and there
    is no value where the gap's own interval touches 0."""
    of_ground_truth: float | None = None
    """What the ground truth itself scores on every image (AuC 100, CIEDE2000 0); None where it has no fixed score."""
    ground_truth_margin: float = 0.0
    """A score this near to it belongs to the ground truth: a prediction from lightness alone is farther off."""


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
    parameter_help: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The values of those parameters that have only a few."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of parameters that may name a file and here name none (``auc.prior=dataset``)."""
    needs: tuple[str, ...] = ()
    """Capabilities that a model must have, by interface name (``HasFeatures``)."""

    @property
    def preset_names(self) -> tuple[str, ...]:
        """As users type them: ``auc@cic2016``."""
        return tuple(f"{self.name}@{key.rpartition('@')[2]}" for key in self.presets)

    def preset(self, name: str) -> dict[str, Any]:
        """The parameters that a preset sets, by its name with the protocol's before it or without.

        Raises:
            UserError: for an unknown preset, naming those that there are.
        """
        wanted = name.removeprefix(f"{self.name}@")
        for key, values in self.presets.items():
            if key.rpartition("@")[2] == wanted:
                return dict(values)
        known = f"known: {', '.join(self.preset_names)}" if self.presets else "it has none"
        raise UserError(f"protocol {self.name} has no preset {wanted!r}", mend=known)

    def resolved(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Every parameter as text: the value given, or its default.

        Raises:
            UserError: for an unknown parameter, or a value that is none of its choices.
        """
        for name in given:
            if name not in self.parameters:
                close = difflib.get_close_matches(name, self.parameters, n=1)
                meant = f"did you mean `{close[0]}`?" if close else f"Known: {', '.join(self.parameters)}"
                raise UserError(f"protocol {self.name} has no parameter {name!r}", mend=meant)
        chosen = {name: str(given.get(name, default)) for name, default in self.parameters.items()}
        for name, values in self.choices.items():
            if chosen[name] not in values:
                raise UserError(f"{self.name}.{name} cannot be {chosen[name]!r}", mend=f"choose {' or '.join(values)}")
        return chosen


@dataclass(frozen=True)
class Truth:
    """The photographs of a batch as the recipe left them; made once, shared by all models and protocols."""

    ids: tuple[str, ...]
    rgb8: Tensor
    """(N, 3, H, W) uint8."""
    gray: tuple[bool, ...] = ()
    labels: tuple[int | None, ...] = ()
    sha256s: tuple[str, ...] = ()
    """Of the files: what seeds are made of, where they are known."""

    @lazy
    def _apart(self) -> tuple[Tensor, Tensor]:
        return lightness_and_ab(self.rgb8)

    @property
    def lightness(self) -> Tensor:
        """(N, 1, H, W) float32 L in 0..100."""
        return self._apart[0]

    @property
    def ab(self) -> Tensor:
        """(N, 2, H, W) float32."""
        return self._apart[1]

    @lazy
    def lab(self) -> Tensor:
        """(N, 3, H, W) float32 Lab."""
        return torch.cat(self._apart, dim=1)

    @lazy
    def memo(self) -> dict[str, Tensor]:
        """Whatever a protocol computes from the truth alone, kept for the next model; ``shared`` fills it."""
        return {}

    @lazy
    def costs(self) -> SharedCosts:
        """What the values of ``memo`` took to compute."""
        return SharedCosts()

    def shared(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """Return what follows from the truth alone (nearest bins, say), computed once for all models.

        Each model that uses it is charged for it, as if it were measured alone: otherwise the first model of a run
        would be the slowest.
        """
        if key not in self.memo:
            begun = time.perf_counter()
            self.memo[key] = make()
            self.costs.seconds[key] = time.perf_counter() - begun
        elif key not in self.costs.used:
            self.costs.charged += self.costs.seconds.get(key, 0.0)
        self.costs.used.add(key)
        return self.memo[key]


@dataclass
class SharedCosts:
    """Seconds of what models share, and what a model that only used it is charged."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Key of ``Truth.memo`` -> seconds it took."""
    used: set[str] = field(default_factory=set)
    """Keys that were used since ``begin``."""
    charged: float = 0.0
    """Seconds of those that were there already."""

    def begin(self) -> None:
        """Begin with the next model."""
        self.used.clear()
        self.charged = 0.0


def disguised(truth: Truth) -> Truth:
    """Return the same lightness under other ids and other colors; the true colors are overwritten in place.

    A model that finds the true colors, wherever it looks in the process, finds the others from then on.
    """
    lightness, ab = truth.lightness, truth.ab
    other = -ab + ab.new_tensor([25.0, -35.0]).view(1, 2, 1, 1)  # the opposite hue, and a color where there was none
    truth.rgb8.copy_(lab_to_rgb8(torch.cat([lightness, other], dim=1)))
    ab.copy_(other)
    for made in ("lab", "memo"):
        truth.__dict__.pop(made, None)
    ids = tuple(f"{hashlib.sha256(id.encode(errors='replace')).hexdigest()[:12]}.png" for id in truth.ids)
    hidden = Truth(ids, truth.rgb8)
    hidden.__dict__["_apart"] = (lightness, ab)  # made from 8 bits again, the lightness would be another
    return hidden


class Colorization:
    """A model's answer for a batch, in the forms that protocols ask for; each is made once, on first use."""

    def __init__(self, truth: Truth, *, ab: Tensor | None = None, rgb8: Tensor | None = None) -> None:
        """Exactly one of ``ab`` (N, 2, H, W) and ``rgb8`` (N, 3, H, W) uint8 is given."""
        self.truth, self._ab, self._rgb8 = truth, ab, rgb8

    @lazy
    def _seen(self) -> tuple[Tensor, Tensor, Tensor]:
        truth = self.truth
        if self._rgb8 is None:
            assert self._ab is not None
            return seen(truth.lightness, self._ab.float())
        if self._rgb8 is truth.rgb8:
            return self._rgb8, truth.lightness, truth.ab
        return self._rgb8, *lightness_and_ab(self._rgb8)

    @property
    def rgb8(self) -> Tensor:
        """(N, 3, H, W) uint8: what is seen, after clipping to sRGB and rounding."""
        return self._seen[0] if self._rgb8 is None else self._rgb8

    @property
    def lightness(self) -> Tensor:
        """(N, 1, H, W) L of what is seen."""
        return self._seen[1]

    @property
    def ab(self) -> Tensor:
        """(N, 2, H, W) ab of what is seen: the default of what is scored."""
        return self._seen[2]

    @lazy
    def lab(self) -> Tensor:
        """(N, 3, H, W) Lab of what is seen."""
        return torch.cat(self._seen[1:], dim=1)

    @property
    def given_rgb8(self) -> Tensor | None:
        """(N, 3, H, W) uint8 as the model gave it; None where it gave ab."""
        return self._rgb8

    @property
    def ab_float(self) -> Tensor:
        """(N, 2, H, W) ab as the model gave it, out of gamut or not (the variant ``ab=float``)."""
        return self.ab if self._ab is None else self._ab.float()


@dataclass(frozen=True)
class ScoredBatch:
    """Scores of a batch: one entry per image everywhere."""

    columns: Mapping[str, np.ndarray]
    """(N,) float64: the scores per image under the metric's own name, its statistics as ``<metric>.s<j>``, and
    anything else worth a column of the rows. NaN: not defined for this image."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(N, ...) integer or float arrays, stored beside the rows (bin counts, score sums, histograms)."""


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
    """Column of the rows -> (n,) values; a column that follows in several ways stands in several mappings."""
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

    recipe: str
    """Name of the recipe; protocols that share one share the pass."""
    parameters: Mapping[str, Any]
    """Every parameter, resolved."""
    identity: Mapping[str, Any]
    """Parameters and the sha256 of every file behind them: with name and version, what a board column is."""
    metrics: tuple[MetricSpec, ...]
    """The metrics of this run (intervals or comparison may be switched off by a parameter)."""

    def score(self, colorization: Colorization) -> ScoredBatch:
        """Scores of a batch; must not depend on how the images are batched."""
        ...

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Curves and notes from all images, in the order of their ids."""
        ...


@runtime_checkable
class ImageProtocol(Protocol):
    """A protocol that the engine's pass can run."""

    spec: ProtocolSpec

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> Scorer:
        """Check and resolve parameters (UserError names the wrong one) into a scorer."""
        ...


@runtime_checkable
class WholeProtocol(Protocol):
    """A protocol that does not go image by image: it trains something, or asks people."""

    spec: ProtocolSpec
    roles: tuple[str, ...]
    """Sets of photographs that it needs: ``test``, or ``train`` and ``test``."""
    joint: bool
    """Whether all models of a command are judged together (a study), and not each by itself."""

    def evaluate(self, context: Context) -> Record | Path:
        """Do all of it: a record, written in its folder, or a folder of another kind (a study to be run).

        Raises:
            UserError: for what the caller can mend.
            RunError: for a run that failed; what it finished is kept.
        """
        ...
