"""The authors' released networks: ``zoo/eccv16`` and ``zoo/siggraph17``.

Weights are not included: they come from a file (``zoo/eccv16[weights=FILE]``) or from the pinned download. The pipeline
is that of the authors' demo: L at 256 x 256 as input, ab resized back by bilinear interpolation and combined with the
given lightness. Code and weights of the authors are under BSD-2-Clause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from colorbench.color import TEMPERATURE, Decoding, ab_bins, decode
from colorbench.errors import UserError
from colorbench.models import (
    ColorizerInput,
    ColorPrediction,
    ExportForm,
    ModelCard,
    RevealedColors,
    check_shapes,
    in_fast_order,
    load_weights,
    place,
    resolve_weights,
)
from colorbench.storage import file_sha256
from zoo.cic.network import Network, layer_maps, scale_lightness
from zoo.cic.sampling import drawn_colors, sampled_logits
from zoo.released.annealing_temperature import temperature_note
from zoo.released.demo_resize import WORKING_SIZE, demo_lightness
from zoo.released.siggraph17_network import AB_SCALE, MULTIPLE, Siggraph17Network

ADDRESS = "https://colorizers.s3.us-east-2.amazonaws.com/"
TAGS = {
    "released": "weights of the authors, from a file or the pinned download",
    "random": "control: random initialization, also for tests",
}
BIN_TOLERANCE = 0.01
"""Largest distance in ab between the file's decoder and the 313 bins: float32 rounding of ab / 110 is far below it."""


class ReleasedColorizer:
    """Common base of both networks: loading of weights, resizing of the demo, device."""

    thread_safe: ClassVar[bool] = True
    tags: ClassVar[Mapping[str, str]] = TAGS
    address: ClassVar[str]
    """Address of the released file; the digits after the dash in its name start the sha256."""
    sha256: ClassVar[str]
    card: ModelCard
    """Card of the released weights, on the class so that models can be listed without them."""
    drawn: bool = False
    """Whether the weights are random, not trained."""

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        self.network: nn.Module = network.eval().to(memory_format=torch.channels_last)
        self.card = card

    @classmethod
    def load(cls, tag: str, weights: Path | None = None) -> Self:
        """Load a tag, or the given file in the authors' format.

        Raises:
            UserError: for a file with missing, unknown, misshapen or non-finite tensors, or with other bins; and if the
                released file is not available while downloads are switched off.
            RunError: for a download that fails.
        """
        if tag == "random" and weights is None:
            return cls._random(seed=0)
        path = resolve_weights(cls.address, cls.sha256) if weights is None else weights
        network = cls._build()
        cls._fill(network, load_weights(path), path)
        return cls(network, cls._card_of(network, path))

    def redrawn(self, seed: int) -> Self | None:
        """Return a control with weights of another seed (0: that of the tag); None for trained weights."""
        return self._random(seed) if self.drawn else None

    def to(self, device: torch.device) -> Self:
        """Move the network."""
        place(self.network, device)
        return self

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Predict ab at the input's size, computed at 256 x 256 as in the authors' demo."""
        return ColorPrediction(ab=_enlarged(self.colorize(demo_lightness(inputs.lightness)), inputs.lightness))

    def export_form(self) -> ExportForm:
        """Return the network for the ONNX export."""
        return ExportForm(self.network, self.colorize, WORKING_SIZE, "pillow-bicubic", "bilinear")

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H, W); H and W multiples of 8."""
        raise NotImplementedError

    @classmethod
    def _random(cls, seed: int) -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls._build()
        title = f"{cls.card.title.partition(':')[0]}: random initialization, a control"
        control = cls(network, cls.card.model_copy(update={"title": title, "training_data": None, "notes": None}))
        control.drawn = True
        return control

    @classmethod
    def _build(cls) -> nn.Module:
        """Return the network with torch's own initialization."""
        raise NotImplementedError

    @classmethod
    def _fill(cls, network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
        """Load an official state dict into the network."""
        raise NotImplementedError

    @classmethod
    def _card_of(cls, network: nn.Module, path: Path) -> ModelCard:
        """Return the card of weights that were loaded from ``path``."""
        sha256 = file_sha256(path)
        if sha256 == cls.sha256:
            return cls.card.model_copy(update={"weights_sha256": sha256, "notes": cls._note(network)})
        title = f"{cls.card.title.partition(':')[0]}: weights of {path.name}, not the released file"
        return cls.card.model_copy(update={"title": title, "training_data": None, "weights_sha256": sha256})

    @classmethod
    def _note(cls, network: nn.Module) -> str | None:
        """Return the notes for the card of the released file."""
        return None


class ECCV16(ReleasedColorizer):
    """The released network of CIC (colorization_release_v2), with the decoder of the file."""

    address = f"{ADDRESS}colorization_release_v2-9b330a0b.pth"
    sha256 = "9b330a0bae53f4ded77b1e23defbf78beaa09c10ebc4c4999e8e4f4a160b93f9"
    card = ModelCard(
        title="ECCV 2016 network of the authors: released weights",
        paper="Zhang, Isola, Efros: Colorful Image Colorization. ECCV 2016, arXiv:1603.08511",
        license="BSD-2-Clause",
        working_size=WORKING_SIZE,
        parameters=32_236_011,
        training_data="ImageNet (ILSVRC2012) training images, 1.28 million",
    )
    network: DecodingNetwork
    method: Decoding = "mean"
    temperature: float = TEMPERATURE

    @property
    def decoding(self) -> dict[str, str | float]:
        """Decoding for the record; ``mean``, as in the demo, uses the softmax without temperature."""
        if self.method == "annealed-mean":
            return {"decode": self.method, "temperature": self.temperature}
        return {"decode": self.method}

    def with_decoding(self, method: Decoding | None, temperature: float | None) -> Self:
        """Return the same network with another decoding; None leaves a setting unchanged."""
        other = copy(self)
        other.method = self.method if method is None else method
        other.temperature = self.temperature if temperature is None else temperature
        return other

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H', W'), sides rounded up to multiples of 8."""
        logits = self._logits(lightness)
        if self.method == "mean":
            ab = conv2d(logits.softmax(dim=1), self.network.decoder)
        else:
            ab = decode(logits, self.method, self.temperature)
        return interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)

    def distribution(self, lightness: Tensor) -> Tensor:
        """Predict log-probabilities of the 313 bins: (N, 1, H, W) L in 0..100 -> (N, 313, H/4, W/4)."""
        return torch.log_softmax(self._logits(lightness), dim=1)

    def sample(self, inputs: ColorizerInput, seeds: Sequence[tuple[int, ...]]) -> list[ColorPrediction]:
        """Draw colorizations from the distribution that the decoding takes the mean of, as ``zoo/cic`` does."""
        if self.method == "mode":
            return [self.colorize_batch(inputs)] * len(seeds)
        logits = sampled_logits(self._logits, demo_lightness(inputs.lightness), self.method, self.temperature)
        drawn = (drawn_colors(logits, draw) for draw in seeds)
        ab = (interpolate(one, scale_factor=4, mode="bilinear", align_corners=False) for one in drawn)
        return [ColorPrediction(ab=_enlarged(one, inputs.lightness)) for one in ab]

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the maps after every convolution's ReLU; ``conv1`` .. ``conv8`` close blocks."""
        return layer_maps(self.network.trunk, scale_lightness(lightness))

    @classmethod
    def _build(cls) -> DecodingNetwork:
        return DecodingNetwork()

    @classmethod
    def _fill(cls, network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
        own = network.state_dict()
        names = {_official_name(key): key for key in own}
        state = _checked_state(state, {name: own[key] for name, key in names.items()}, path)
        decoder = state["model_out.weight"].float() * AB_SCALE  # the file's last layer gives ab / 110
        apart = float((decoder[:, :, 0, 0].T - ab_bins()).abs().max())
        if apart > BIN_TOLERANCE:
            what = f"the decoder (model_out.weight) does not have the 313 bins in order: up to {apart:.2f} apart in ab"
            raise UserError(what, where=str(path), hint="give colorization_release_v2, or weights in its format")
        network.load_state_dict({key: state[name].float() for name, key in names.items()} | {"decoder": decoder})

    @classmethod
    def _note(cls, network: nn.Module) -> str | None:
        return temperature_note(network, cls.sha256)

    def _logits(self, lightness: Tensor) -> Tensor:
        out: Tensor = self.network(in_fast_order(lightness))
        return out.float()


class Siggraph17(ReleasedColorizer):
    """The released network for user-guided colorization: automatic, or with hints."""

    address = f"{ADDRESS}siggraph17-df00044c.pth"
    sha256 = "df00044c0a4d7c3edcecf6f75437ce346a66e7a42612d9b968e1a7e17dbc6f66"
    card = ModelCard(
        title="SIGGRAPH 2017 network of the authors, automatic or with hints: released weights",
        paper="Zhang et al.: Real-Time User-Guided Image Colorization with Learned Deep Priors. SIGGRAPH 2017",
        license="BSD-2-Clause",
        working_size=WORKING_SIZE,
        parameters=34_187_027,
        training_data="ImageNet (ILSVRC2012) training images, 1.28 million",
    )
    network: Siggraph17Network

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab without any hint: (N, 1, H, W) L in 0..100 -> (N, 2, H, W); H and W multiples of 8."""
        out: Tensor = self.network(in_fast_order(scale_lightness(lightness)))
        return AB_SCALE * out.float()

    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        """Predict ab with hints; each is shown to the network as a square of its color at 256 x 256."""
        shown = demo_lightness(inputs.lightness)
        height, width = inputs.lightness.shape[-2:]
        ab, mask = revealed.resized((height, width), (WORKING_SIZE, WORKING_SIZE)).maps((WORKING_SIZE, WORKING_SIZE))
        out: Tensor = self.network(scale_lightness(shown), ab / AB_SCALE, mask)
        return ColorPrediction(ab=_enlarged(AB_SCALE * out.float(), inputs.lightness))

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the maps after each block, ``conv1`` .. ``conv10``; sides are cropped to multiples of 8."""
        height, width = (side // MULTIPLE * MULTIPLE for side in lightness.shape[-2:])
        return self.network.blocks(scale_lightness(lightness[..., :height, :width]))

    @classmethod
    def _build(cls) -> Siggraph17Network:
        return Siggraph17Network()

    @classmethod
    def _fill(cls, network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
        network.load_state_dict(_checked_state(state, network.state_dict(), path))


class DecodingNetwork(Network):
    """The paper's network at width 1 with the 1x1 decoder of the released file, (2, 313, 1, 1) in ab."""

    def __init__(self) -> None:
        super().__init__(1.0)
        # A parameter as in the released network, so that both have the same number.
        self.decoder = nn.Parameter(ab_bins().T[:, :, None, None].clone(), requires_grad=False)


def _enlarged(ab: Tensor, lightness: Tensor) -> Tensor:
    """Return ab at the size of the lightness: bilinear without antialias, as in the demo."""
    size = lightness.shape[-2:]
    return ab if ab.shape[-2:] == size else interpolate(ab, size=size, mode="bilinear", align_corners=False)


def _checked_state(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return a checked state dict, with BatchNorm's counters added if an old file lacks them.

    Raises:
        UserError: for missing, unknown or misshapen tensors, or a value that is not finite.
    """
    counters = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    state = {**counters, **state}
    check_shapes(state, wanted, path)
    for name, value in state.items():
        if not bool(value.isfinite().all()):
            raise UserError(f"the weights hold NaN or infinity: {name}", where=str(path), hint="get the file again")
    return state


def _official_name(key: str) -> str:
    """Return the released file's name of one of our tensors: ``trunk.conv3.2.weight`` -> ``model3.2.weight``.

    The head is the seventh layer of the authors' eighth block.
    """
    if key == "decoder":
        return "model_out.weight"
    if key.startswith("head."):
        return key.replace("head", "model8.6", 1)
    return key.replace("trunk.conv", "model", 1)
