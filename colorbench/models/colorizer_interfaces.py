"""Interfaces of a model: ``Colorizer``, ``SimpleColorizer``, their input and output, and optional capabilities.

The engine calls ``colorize_batch(inputs) -> ColorPrediction``. A plugin may implement the short form
``colorize(lightness) -> ab`` instead, which is wrapped. Each capability is a small optional interface that is detected
by ``isinstance``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from colorbench.models.model_card import ModelCard
from colorbench.models.revealed_colors import RevealedColors


@dataclass(frozen=True)
class ColorizerInput:
    """Input of a colorizer: a batch of images of equal size."""

    lightness: Tensor
    """(N, 1, H, W) float32, CIE L in 0..100, on the run's device."""
    ids: tuple[str, ...]
    seeds: tuple[int, ...]
    """One seed per image, hash(run seed, sha256 of the image's file), so that random numbers do not depend on the
    batch."""
    truth: Tensor | None = None
    """(N, 3, H, W) uint8 true colors; given only to references (card.role == "reference")."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(H, W) of each original image."""
    preprocessing: str | None = None
    """Name of the preprocessing of the images, which stored predictions also need."""


@dataclass(frozen=True)
class ColorPrediction:
    """Output of a colorizer: exactly one of ``ab`` and ``rgb8``."""

    ab: Tensor | None = None
    """(N, 2, H, W) float, CIE ab."""
    rgb8: Tensor | None = None
    """(N, 3, H, W) uint8 sRGB, for models that predict RGB and for stored predictions."""


@runtime_checkable
class Colorizer(Protocol):
    """A model with the long interface, as the engine calls it.

    A class with the attribute ``thread_safe = True`` predicts several batches at once on a CPU, in threads of one
    process. Set it if predicting changes no attribute, no global and no file; ``colorbench check`` tests it.
    """

    card: ModelCard

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Predict colors for a batch."""
        ...


@runtime_checkable
class SimpleColorizer(Protocol):
    """A model with the short interface, from lightness to ab."""

    card: ModelCard

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H, W)."""
        ...


@runtime_checkable
class PredictsDistribution(Protocol):
    """Capability: predicts a distribution over the 313 bins, whose decoding is then a parameter of the run."""

    def distribution(self, lightness: Tensor) -> Tensor:
        """Predict log-probabilities of the bins: (N, 1, H, W) -> (N, 313, H/4, W/4)."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """Capability: returns the feature maps of its layers."""

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the features of every conv layer by name: (N, 1, H, W) -> {name: (N, C, h, w)}.

        A block has the name of its last layer.
        """
        ...


@runtime_checkable
class Samples(Protocol):
    """Capability: draws colorizations of an image; another seed gives another one.

    A model whose ``colorize_batch`` itself draws by the seed (``card.stochastic``) does not need it: it is asked once
    per seed. This interface is for models whose usual prediction is another one, or that draw several at less cost.
    """

    def sample(self, inputs: ColorizerInput, seeds: Sequence[tuple[int, ...]]) -> Sequence[ColorPrediction]:
        """Draw one colorization of each image for every entry of ``seeds``.

        Args:
            inputs: the batch, N images.
            seeds: one entry a draw, each with the seed of every image, (N,). They take the place of ``inputs.seeds``.

        Returns:
            One prediction of the batch a draw, in the order of ``seeds``.
        """
        ...


@runtime_checkable
class Guided(Protocol):
    """Capability: takes the true colors of a few points in addition to the lightness."""

    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        """Predict colors for a batch of which some colors are revealed.

        Args:
            inputs: the batch, N images.
            revealed: points of each image and their colors; without any, the prediction is that of
                ``colorize_batch``.

        Returns:
            The prediction of all pixels, as that of ``colorize_batch``.
        """
        ...


@runtime_checkable
class RandomWeights(Protocol):
    """Capability: has random weights (an untrained control) that can be drawn again with another seed."""

    def redrawn(self, seed: int) -> Colorizer | None:
        """Return the same architecture with newly drawn weights; None if the weights are learned."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """Capability: moves its tensors to a device itself."""

    def to(self, device: torch.device) -> object:
        """Move the weights without changing their dtype; half precision is handled by autocast."""
        ...


FORWARDED = ("distribution", "features", "sample", "colorize_guided", "to", "with_decoding", "export_form")
"""Methods of capabilities that a SimpleColorizer may have in addition to ``colorize``."""
