"""``TrunkColorizer``: common base of the models with the paper's trunk (weights, working size, features)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from colorbench.errors import UserError, printable
from colorbench.models import (
    ColorizerInput,
    ColorPrediction,
    ExportForm,
    ModelCard,
    at_working_size,
    check_shapes,
    in_fast_order,
    load_weights,
    place,
)
from colorbench.training import TrainingPreset, kmeans_initialize, packaged_lightness
from zoo.cic.network import Network, layer_maps, scale_lightness

PAPER = "Zhang, Isola, Efros: Colorful Image Colorization. ECCV 2016, arXiv:1603.08511"


WIDEST = 4.0
"""Largest width of a network, in multiples of the published one."""


class TrunkColorizer:
    """A network on the paper's trunk with its card; subclasses define the meaning of its outputs."""

    thread_safe: ClassVar[bool] = True
    shipped: ClassVar[Path]
    """Weights of the tag ``small``."""
    larger: ClassVar[Mapping[str, Path]] = {}
    """Weights of further trained tags."""
    network_class: ClassVar[Callable[[float, int], Any]] = Network
    """From width and number of output channels to a network."""
    outputs: ClassVar[int]
    """Number of output channels."""
    presets: ClassVar[Mapping[str, TrainingPreset]]
    tags: ClassVar[Mapping[str, str]]
    drawn: str | None = None
    """Tag of a control, whose weights are not trained; None for trained weights."""

    def __init__(self, network: Network, card: ModelCard) -> None:
        self.network, self.card = network.eval().to(memory_format=torch.channels_last), card

    @classmethod
    def load(cls, tag: str, weights: Path | None = None) -> Self:
        """Load the model of a tag, or with ``weights`` a file of ``colorbench train`` (its card is beside it).

        Raises:
            UserError: for weights without a card, or that do not fit.
        """
        given = weights or {"small": cls.shipped, **cls.larger}.get(tag)
        return cls._control(tag, seed=0) if given is None else cls._trained(given)

    def redrawn(self, seed: int) -> Self | None:
        """Return a control with weights of another seed (0: that of the tag); None for trained weights."""
        return None if self.drawn is None else self._control(self.drawn, seed)

    @classmethod
    def _control(cls, tag: str, seed: int) -> Self:
        preset = cls.presets["small"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(preset.width, cls.outputs)
            if tag == "kmeans":
                kmeans_initialize(network.trunk, scale_lightness(packaged_lightness(96)), seed)
        about = "untrained" if tag == "untrained" else "k-means initialization, not trained"
        control = cls(
            network,
            ModelCard(
                title=f"CIC network, {about} (width {network.width:g})",
                paper=PAPER,
                license="BSD-2-Clause",
                working_size=preset.working_size,
                parameters=network.parameter_count,
                notes="A control: predictions of the architecture before training.",
            ),
        )
        control.drawn = tag
        return control

    @classmethod
    def _trained(cls, path: Path) -> Self:
        description = path.with_suffix(".json")
        if not description.is_file():
            raise UserError(
                "these weights have no model card", where=str(path), hint=f"add {description.name} beside them"
            )
        card = read_card(description)
        state = load_weights(path, sha256=card.weights_sha256)
        network = cls.network_class(card.settings["width"], cls.outputs)
        # Convolutions are stored in half precision, which halves the file; all arithmetic is in float32.
        check_shapes(state, network.state_dict(), path)
        network.load_state_dict({name: value.float() for name, value in state.items()})
        return cls(network, card)

    def to(self, device: torch.device) -> Self:
        """Move the network."""
        place(self.network, device)
        return self

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Predict colors at the inputs' size, computed at the card's working size."""
        return ColorPrediction(ab=at_working_size(self.colorize, inputs.lightness, self.size_for(inputs.lightness)))

    def size_for(self, lightness: Tensor) -> int:
        """Return the side that (N, 1, H, W) is resized to inside: the card's, or about the shorter side."""
        if self.card.working_size is not None:
            return self.card.working_size
        return max(8, round(min(lightness.shape[-2:]) / 8) * 8)

    def export_form(self) -> ExportForm:
        """Return the network and its decoding for the ONNX export.

        Raises:
            UserError: for weights whose card has no working size.
        """
        if self.card.working_size is None:
            raise UserError(f"{self.card.title}: there is no working size", hint="write working_size into the card")
        return ExportForm(self.network, self.colorize, self.card.working_size, "bicubic-aa", "bilinear-aa")

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H/4, W/4); H and W multiples of 8."""
        raise NotImplementedError

    def prediction(self, lightness: Tensor) -> Tensor:
        """Compute the network's output: (N, 1, H, W) L in 0..100 -> (N, outputs, H/4, W/4) float32."""
        out: Tensor = self.network(in_fast_order(lightness))
        return out.float()

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the maps after every convolution's ReLU by name: (N, 1, H, W) -> {name: (N, C, h, w)}.

        ``conv1`` .. ``conv8`` close blocks.
        """
        return layer_maps(self.network.trunk, scale_lightness(lightness))


def read_card(path: Path) -> ModelCard:
    """Read the card of trained weights, which states the width of their network.

    Raises:
        UserError: for a damaged card.
    """
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
        if not 0 < card.settings["width"] <= WIDEST:
            raise ValueError(f"the width is not in 0..{WIDEST:g}")
    except (OSError, ValueError, KeyError) as error:
        reason = "it states no width" if isinstance(error, KeyError) else printable(str(error))[:200]
        hint = "get it again with its weights"
        raise UserError(f"the model card cannot be read: {reason}", where=str(path), hint=hint) from error
    return card
