"""The paper's classification models: ``zoo/cic``, "Ours (full)", and ``zoo/cic-class``, "Ours (class)"."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from colorbench.color import TEMPERATURE, Decoding, decode
from colorbench.models import ModelCard
from zoo.cic.network import Network
from zoo.cic.presets import PRESETS, UNBALANCED_PRESETS
from zoo.cic.training_task import ClassificationTraining
from zoo.cic.trunk_colorizer import TrunkColorizer

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = WEIGHTS / "small.safetensors"


class CIC(TrunkColorizer):
    """Classification with class rebalancing (lambda = 0.5): the network with its decoding and its card."""

    tags = {
        "small": "included weights: width 0.2, trained on a CPU",
        "untrained": "control: width 0.2, random initialization, not trained",
        "kmeans": "control: width 0.2, k-means initialization on the packaged images, not trained",
    }
    presets = PRESETS
    training = ClassificationTraining
    shipped = SHIPPED
    outputs = 313

    def __init__(
        self,
        network: Network,
        card: ModelCard,
        *,
        method: Decoding = "annealed-mean",
        temperature: float | None = None,
    ) -> None:
        """Wrap a network.

        Without a temperature the card's is used (that of the training preset), or the paper's 0.38.
        """
        super().__init__(network, card)
        self.method: Decoding = method
        self.temperature = card.settings.get("temperature", TEMPERATURE) if temperature is None else temperature

    def with_decoding(self, method: Decoding | None, temperature: float | None) -> Self:
        """Return the same network with another decoding; None leaves a setting unchanged."""
        other = copy(self)
        other.method = self.method if method is None else method
        other.temperature = self.temperature if temperature is None else temperature
        return other

    @property
    def decoding(self) -> dict[str, str | float]:
        """The decoding of the predicted distribution, for the record."""
        if self.method == "annealed-mean":
            return {"decode": self.method, "temperature": self.temperature}
        return {"decode": self.method}

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H/4, W/4); H and W multiples of 8."""
        return decode(self.prediction(lightness), self.method, self.temperature)

    def distribution(self, lightness: Tensor) -> Tensor:
        """Predict log-probabilities: (N, 1, H, W) L in 0..100 -> (N, 313, H/4, W/4); H and W multiples of 8."""
        return torch.log_softmax(self.prediction(lightness), dim=1)


class CICClass(CIC):
    """Classification without rebalancing: all pixels have equal weight (lambda = 1)."""

    tags = {"small": "included weights: width 0.2, trained on a CPU"}
    presets = UNBALANCED_PRESETS
    shipped = WEIGHTS / "class-small.safetensors"
