"""The paper's classification models: ``zoo/cic``, "Ours (full)", and ``zoo/cic-class``, "Ours (class)"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from colorbench.color import TEMPERATURE, Decoding, decode
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard, at_working_size
from colorbench.training import TrainingPreset
from zoo.cic.network import Network
from zoo.cic.presets import PRESETS, UNBALANCED_PRESETS
from zoo.cic.sampling import drawn_colors, sampled_logits
from zoo.cic.training_task import ClassificationTraining
from zoo.cic.trunk_colorizer import TrunkColorizer

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = WEIGHTS / "small.safetensors"


class CIC(TrunkColorizer):
    """Classification with class rebalancing (lambda = 0.5): the network with its decoding and its card."""

    tags = {
        "small": "included weights: width 0.2, trained on a CPU",
        "base": "included weights: width 0.5, 11 times the computation",
        "untrained": "control: width 0.2, random initialization, not trained",
        "kmeans": "control: width 0.2, k-means initialization on the packaged images, not trained",
    }
    presets = PRESETS
    training: ClassVar[type[nn.Module]] = ClassificationTraining
    shipped = SHIPPED
    larger: ClassVar[Mapping[str, Path]] = {"base": WEIGHTS / "base.safetensors"}
    outputs = 313
    coherent = True
    """Whether all pixels of a drawn image share one draw; see ``zoo.cic.sampling``."""

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

    def sample(self, inputs: ColorizerInput, seeds: Sequence[tuple[int, ...]]) -> list[ColorPrediction]:
        """Draw colorizations from the distribution that the decoding takes the mean of.

        With ``decode=annealed-mean`` it is softmax(log z / T), with ``mean`` the predicted one (T = 1); ``mode`` gives
        the same colors for every seed.
        """
        if self.method == "mode":
            return [self.colorize_batch(inputs)] * len(seeds)

        def drawn(lightness: Tensor) -> Tensor:
            logits = sampled_logits(self.prediction, lightness, self.method, self.temperature)
            return torch.cat([drawn_colors(logits, draw, coherent=self.coherent) for draw in seeds], dim=1)

        ab = at_working_size(drawn, inputs.lightness, self.size_for(inputs.lightness))  # (N, 2 draws, H, W)
        return [ColorPrediction(ab=one) for one in torch.split(ab, 2, dim=1)]


class CICClass(CIC):
    """Classification without rebalancing: all pixels have equal weight (lambda = 1)."""

    tags = {"small": "included weights: width 0.2, trained on a GPU"}
    presets = UNBALANCED_PRESETS
    shipped = WEIGHTS / "class-small.safetensors"
    larger: ClassVar[Mapping[str, Path]] = {}


class CICPixelwise(CIC):
    """Control of diversity: the same network, sampled at every pixel by itself."""

    tags = {"small": "control: zoo/cic, sampled independently at each pixel"}
    presets: ClassVar[dict[str, TrainingPreset]] = {}
    larger: ClassVar[Mapping[str, Path]] = {}
    coherent = False

    @classmethod
    def _trained(cls, path: Path) -> Self:
        found = super()._trained(path)
        notes = "A control: the spread of samples without coherence. The usual prediction is that of zoo/cic."
        found.card = found.card.model_copy(update={"title": cls.tags["small"], "role": "baseline", "notes": notes})
        return found
