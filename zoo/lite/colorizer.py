"""``zoo/lite``: a frozen EfficientNet-Lite0 with a small trained decoder over 313 color bins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from colorbench.models import PACKAGED_CLASSIFIER, PretrainedPart
from zoo.cic.colorizer import CIC
from zoo.lite.network import Network, pretrained
from zoo.lite.presets import PRESETS
from zoo.lite.training_task import DecoderTraining


class Lite(CIC):
    """Classification with class rebalancing on a pretrained encoder: the network, its decoding and its card."""

    tags = {"small": "included weights: decoder of width 1, trained on a CPU"}
    presets = PRESETS
    training = DecoderTraining
    shipped = Path(__file__).parent / "weights" / "small.safetensors"
    network_class = Network

    @classmethod
    def pretrained_parts(cls) -> tuple[PretrainedPart, ...]:
        """Return what the model contains beside its own weights, for its card."""
        return (
            PretrainedPart(
                name=PACKAGED_CLASSIFIER,
                weights_sha256=pretrained().weights_sha256,
                use="encoder, frozen; trained on the labels of ImageNet",
            ),
            # Timm publishes the same weights in a file of another form.
            PretrainedPart(name=f"{PACKAGED_CLASSIFIER}.in1k", use="the same encoder, as timm names it"),
        )

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the maps of encoder and decoder by name: (N, 1, H, W) -> {name: (N, C, h, w)}.

        ``encoder4`` .. ``encoder32`` and ``decoder32`` .. ``decoder4``, by stride; H and W multiples of 4.
        """
        network: Any = self.network
        maps: dict[str, Tensor] = network.layer_maps(lightness)
        return maps
