"""The interfaces of a colorizer.

The engine knows one thing: ``colorize_batch(inputs) -> ColorPrediction``. A plugin may give the short form instead,
``colorize(lightness) -> ab``; the registry wraps it. More is opt-in: each capability is a small interface that is
found by ``isinstance``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from colorbench.models.model_card import ModelCard


@dataclass(frozen=True)
class ColorizerInput:
    """What a colorizer is shown: a batch of equal size."""

    lightness: Tensor
    """(N, 1, H, W) float32, CIE L in 0..100, on the run's device."""
    ids: tuple[str, ...]
    seeds: tuple[int, ...]
    """One an image, hash(run seed, sha256 of the image's file): randomness belongs to the image, never to the batch."""
    truth: Tensor | None = None
    """(N, 3, H, W) uint8 true colors; only references (card.role == "reference") are ever given it."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(H, W) of each original image."""
    preprocessing: str | None = None
    """Name of the preprocessing that the images went through; stored images go through the same."""


@dataclass(frozen=True)
class ColorPrediction:
    """The prediction of a colorizer: exactly one of the two."""

    ab: Tensor | None = None
    """(N, 2, H, W) float, CIE ab."""
    rgb8: Tensor | None = None
    """(N, 3, H, W) uint8 sRGB, for models that predict RGB and for stored images."""


@runtime_checkable
class Colorizer(Protocol):
    """What the engine runs."""

    card: ModelCard

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Predict colors for a batch."""
        ...


@runtime_checkable
class SimpleColorizer(Protocol):
    """The short form that a plugin may give."""

    card: ModelCard

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H, W)."""
        ...


@runtime_checkable
class PredictsDistribution(Protocol):
    """Answers with a distribution over the 313 bins; decoding is then a parameter of the run."""

    def distribution(self, lightness: Tensor) -> Tensor:
        """Predict log-probabilities of the bins: (N, 1, H, W) -> (N, 313, H/4, W/4)."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """Gives the feature maps of its layers."""

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the features of every conv layer by name: (N, 1, H, W) -> {name: (N, C, h, w)}.

        A block's name is its last layer's.
        """
        ...


@runtime_checkable
class RandomWeights(Protocol):
    """May have weights that were drawn at random (an untrained control): another seed gives another draw."""

    def redrawn(self, seed: int) -> Colorizer | None:
        """Return the same architecture, drawn again; None where the weights are learned."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """Has tensors to move."""

    def to(self, device: torch.device) -> object:
        """Move the weights. Their dtype stays: half precision is autocast's."""
        ...


FORWARDED = ("distribution", "features", "to", "with_decoding", "export_form")
"""Methods of the capabilities that the short form may have beside ``colorize``."""
