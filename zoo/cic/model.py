"""``zoo/cic``: the full classification model with class rebalancing, "Ours (full)" of the paper's table 1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from pathlib import Path

import torch
from torch import Tensor

from colorbench.color.bins import Decoding, decode
from colorbench.errors import UserError
from colorbench.models.card import ModelCard
from colorbench.models.colorizer import Colors, Inputs
from colorbench.models.resize import at_working_size
from colorbench.models.weights import check_shapes, load_weights
from colorbench.training.initialization import kmeans_initialize
from colorbench.training.samples import packaged_lightness
from zoo.cic.network import Network, layer_maps, scale_lightness
from zoo.cic.presets import PRESETS
from zoo.cic.training import ClassificationTraining

SHIPPED = Path(__file__).parent / "weights" / "small.safetensors"
PAPER = "Zhang, Isola, Efros: Colorful Image Colorization. ECCV 2016, arXiv:1603.08511"


class CIC:
    """The network with its decoding and its card."""

    tags: Mapping[str, str] = {
        "small": "shipped weights: width 0.2, trained on a CPU",
        "untrained": "width 0.2, random weights as torch draws them: a control",
        "kmeans": "width 0.2, k-means initialization on the packaged photographs, nothing learned: a control",
    }
    presets = PRESETS
    training = ClassificationTraining

    def __init__(
        self, network: Network, card: ModelCard, *, method: Decoding = "annealed-mean", temperature: float = 0.38
    ) -> None:
        self.network, self.card = network.eval().to(memory_format=torch.channels_last), card
        self.method, self.temperature = method, temperature

    @classmethod
    def load(cls, tag: str, weights: Path | None = None) -> CIC:
        """The model of a tag; or with ``weights``, a file that ``colorbench train`` wrote, beside its card."""
        if tag == "small" or weights is not None:
            return cls._trained(weights or SHIPPED)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Network(PRESETS["small"].width)
            if tag == "kmeans":
                kmeans_initialize(network.trunk, scale_lightness(packaged_lightness(96)))
        about = "untrained" if tag == "untrained" else "k-means initialization, nothing learned"
        return cls(
            network,
            ModelCard(
                title=f"CIC network, {about} (width {network.width:g})",
                role="competitor",
                paper=PAPER,
                licence="BSD-2-Clause",
                working_size=PRESETS["small"].working_size,
                parameters=network.parameter_count,
                notes="A control: what the architecture answers before it has learned any colour.",
            ),
        )

    @classmethod
    def _trained(cls, path: Path) -> CIC:
        description = path.with_suffix(".json")
        if not description.is_file():
            raise UserError("these weights have no card", where=str(path), mend=f"put {description.name} beside them")
        card = ModelCard(**json.loads(description.read_text()))
        state = load_weights(path, sha256=card.weights_sha256)
        network = Network(card.settings["width"])
        # Convolutions are stored in half precision, which halves the file; all arithmetic is in float32.
        check_shapes(state, network.state_dict(), path)
        network.load_state_dict({name: value.float() for name, value in state.items()})
        return cls(network, card)

    def with_decoding(self, method: Decoding | None, temperature: float | None) -> CIC:
        """The same network, decoded in another way; None leaves a setting as it is."""
        other = copy(self)
        other.method = self.method if method is None else method
        other.temperature = self.temperature if temperature is None else temperature
        return other

    @property
    def decoding(self) -> dict[str, str | float]:
        """How a distribution becomes colours, for the record."""
        if self.method == "annealed-mean":
            return {"decode": self.method, "temperature": self.temperature}
        return {"decode": self.method}

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> CIC:
        """Move the network."""
        self.network.to(device, dtype)
        return self

    def colorize_batch(self, inputs: Inputs) -> Colors:
        """Colours at the inputs' size, worked out at the card's working size."""
        size = self.card.working_size
        if size is None:
            h, w = inputs.lightness.shape[-2:]
            size = max(8, round(min(h, w) / 8) * 8)
        return Colors(ab=at_working_size(self.colorize, inputs.lightness, size))

    def colorize(self, lightness: Tensor) -> Tensor:
        """(N, 1, H, W) L in 0..100 -> (N, 2, H/4, W/4) ab; H and W multiples of 8."""
        return decode(self.distribution(lightness), self.method, self.temperature)

    def distribution(self, lightness: Tensor) -> Tensor:
        """(N, 1, H, W) L in 0..100 -> (N, 313, H/4, W/4) log-probabilities; H and W multiples of 8."""
        lightness = lightness.to(self.network.head.weight.dtype).contiguous(memory_format=torch.channels_last)
        return torch.log_softmax(self.network(lightness).float(), dim=1)

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """(N, 1, H, W) -> name -> (N, C, h, w) after every convolution's ReLU; ``conv1`` .. ``conv8`` close blocks."""
        return layer_maps(self.network.trunk, scale_lightness(lightness))
