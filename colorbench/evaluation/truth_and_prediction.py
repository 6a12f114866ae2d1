"""Batch data of an evaluation: the ground truth, and a model's prediction with its 8-bit rendering."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from colorbench.color import lab_to_rgb8, lightness_and_ab
from colorbench.color.lab import rendered
from colorbench.models.prediction_units import observed

if TYPE_CHECKING:
    from colorbench.models.sampled_and_guided_predictions import Request


@dataclass(frozen=True)
class GroundTruth:
    """The preprocessed images of a batch, shared by all models and protocols."""

    ids: tuple[str, ...]
    rgb8: Tensor
    """(N, 3, H, W) uint8."""
    gray: tuple[bool, ...] = ()
    labels: tuple[int | None, ...] = ()
    sha256s: tuple[str, ...] = ()
    """Hashes of the files, from which seeds are derived; empty if unknown."""

    @property
    def contents(self) -> tuple[str, ...]:
        """What seeds are made of: sha256 of the files where they are known, or the ids."""
        return self.sha256s or self.ids

    @cached_property
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

    @cached_property
    def lab(self) -> Tensor:
        """(N, 3, H, W) float32 Lab."""
        return torch.cat(self._apart, dim=1)

    @cached_property
    def cached(self) -> dict[str, Tensor]:
        """Cache of values that protocols compute from the ground truth alone; filled by ``shared``."""
        return {}

    @cached_property
    def costs(self) -> SharedCosts:
        """Time that the cached values took to compute."""
        return SharedCosts()

    def shared(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """Return a value that depends on the ground truth alone (such as nearest bins), computed once for all models.

        ``make`` returns (N, ...), one entry per image. The time is charged to each model that uses the value, as if it
        were evaluated alone; otherwise the first model of a run would be the slowest.
        """
        if key not in self.cached:
            started = time.perf_counter()
            self.cached[key] = make()
            self.costs.seconds[key] = time.perf_counter() - started
        elif key not in self.costs.used:
            self.costs.charged += self.costs.seconds.get(key, 0.0)
        self.costs.used.add(key)
        return self.cached[key]


@dataclass
class SharedCosts:
    """Time of shared computations, and the part that is charged to a model that reused them."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Key of ``GroundTruth.cached`` -> seconds."""
    used: set[str] = field(default_factory=set)
    """Keys that were used since ``begin``."""
    charged: float = 0.0
    """Seconds of values that were computed before."""

    def begin(self) -> None:
        """Start accounting for the next model."""
        self.used.clear()
        self.charged = 0.0


def disguised(truth: GroundTruth) -> GroundTruth:
    """Return a ground truth of the same lightness with other ids and colors; the true colors are overwritten.

    A model that searches the process for the true colors finds the other colors from then on.
    """
    lightness, ab = truth.lightness, truth.ab
    other = -ab + ab.new_tensor([25.0, -35.0]).view(1, 2, 1, 1)  # opposite hue, and a color for gray pixels
    truth.rgb8.copy_(lab_to_rgb8(torch.cat([lightness, other], dim=1)))
    ab.copy_(other)
    for made in ("lab", "cached"):
        truth.__dict__.pop(made, None)
    ids = tuple(f"{hashlib.sha256(id.encode(errors='replace')).hexdigest()[:12]}.png" for id in truth.ids)
    hidden = GroundTruth(ids, truth.rgb8)
    hidden.__dict__["_apart"] = (lightness, ab)  # conversion from 8 bits would change the lightness
    return hidden


class Prediction:
    """A model's prediction for a batch, in the forms that protocols need, each computed once on first use."""

    def __init__(self, truth: GroundTruth, *, ab: Tensor | None = None, rgb8: Tensor | None = None) -> None:
        """Combine a batch with its prediction.

        Exactly one of ``ab`` (N, 2, H, W) and ``rgb8`` (N, 3, H, W) uint8 is given.
        """
        self.truth, self._ab, self._rgb8 = truth, ab, rgb8
        self.further: dict[Request, tuple[Prediction, ...]] = {}
        """Request -> further predictions of the same model for the same images; see ``requested``."""

    def requested(self, request: Request) -> tuple[Prediction, ...]:
        """Return the predictions for a request.

        Where no model was asked for them, this prediction stands for each: a deterministic model without hints.
        """
        return self.further.get(request) or (self,) * len(request)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the images, (N,)."""
        return self.truth.ids

    @cached_property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest value per image, (N,) each, of ab or rgb8 as predicted; NaN if a value is NaN."""
        given = self._ab if self._ab is not None else self._rgb8
        assert given is not None
        values = given.flatten(1)
        return values.amin(1), values.amax(1)  # `aminmax` along rows takes five times as long

    @cached_property
    def _seen(self) -> tuple[Tensor, Tensor, Tensor]:
        truth = self.truth
        if self._rgb8 is None:
            assert self._ab is not None
            return rendered(truth.lightness, self._ab.float())
        if self._rgb8 is truth.rgb8:
            return self._rgb8, truth.lightness, truth.ab
        return self._rgb8, *lightness_and_ab(self._rgb8)

    @property
    def rgb8(self) -> Tensor:
        """Rendered image, (N, 3, H, W) uint8, clipped to sRGB and rounded."""
        return self._seen[0] if self._rgb8 is None else self._rgb8

    @property
    def lightness(self) -> Tensor:
        """L of the rendered image, (N, 1, H, W)."""
        return self._seen[1]

    @property
    def ab(self) -> Tensor:
        """Rendered ab, (N, 2, H, W), which is scored by default."""
        return self._seen[2]

    @cached_property
    def lab(self) -> Tensor:
        """Lab of the rendered image, (N, 3, H, W)."""
        return torch.cat(self._seen[1:], dim=1)

    @property
    def given_rgb8(self) -> Tensor | None:
        """RGB as predicted, (N, 3, H, W) uint8; None if the model predicts ab."""
        return self._rgb8

    @property
    def ab_float(self) -> Tensor:
        """Predicted ab, (N, 2, H, W), possibly out of gamut (variant ``ab=float``)."""
        return self.ab if self._ab is None else self._ab.float()

    def unit_statistics(self) -> np.ndarray:
        """Return the statistics for ``models.prediction_units``, which detects wrong units, (N, 13) float64."""
        truth = (self.truth.lightness, self.truth.ab)
        lightness = truth[0] if self._rgb8 is None else self.lightness  # ab alone needs no rendering
        ab = self.ab if self._rgb8 is not None else self.ab_float
        return observed(lightness=lightness, ab=ab, truth=truth, limits=self.limits, rgb8=self._rgb8)
