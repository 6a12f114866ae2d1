"""The network of "Real-Time User-Guided Image Colorization with Learned Deep Priors" (Zhang et al., SIGGRAPH 2017).

Ten blocks with shortcuts; inputs are scaled lightness, revealed ab and their mask (zeros for automatic colorization).
Parameters have the names of the authors' released file, so that its state dict can be loaded unchanged: 107 entries,
34,187,027 parameters. ``model_class`` (529 logits) is in the file and is not used for colors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

AB_SCALE = 110.0
"""The output of tanh times this is ab."""
MULTIPLE = 8
"""Height and width must be multiples of it."""


def _block(channels: int, outputs: tuple[int, ...], dilation: int = 1, first_relu: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReLU(inplace=False)] if first_relu else []
    for output in outputs:
        layers += [nn.Conv2d(channels, output, 3, 1, dilation, dilation), nn.ReLU(inplace=False)]
        channels = output
    return nn.Sequential(*layers, nn.BatchNorm2d(channels))


class Siggraph17Network(nn.Module):
    """The network: (N, 4, H, W) scaled lightness, ab and mask -> (N, 2, H, W) in -1..1."""

    def __init__(self) -> None:
        """Build the layers with torch's own initialization."""
        super().__init__()
        self.model1 = _block(4, (64, 64))
        self.model2 = _block(64, (128, 128))
        self.model3 = _block(128, (256, 256, 256))
        self.model4 = _block(256, (512, 512, 512))
        self.model5 = _block(512, (512, 512, 512), 2)
        self.model6 = _block(512, (512, 512, 512), 2)
        self.model7 = _block(512, (512, 512, 512))
        self.model8up = nn.Sequential(nn.ConvTranspose2d(512, 256, 4, 2, 1))
        self.model3short8 = nn.Sequential(nn.Conv2d(256, 256, 3, 1, 1))
        self.model8 = _block(256, (256, 256), first_relu=True)
        self.model9up = nn.Sequential(nn.ConvTranspose2d(256, 128, 4, 2, 1))
        self.model2short9 = nn.Sequential(nn.Conv2d(128, 128, 3, 1, 1))
        self.model9 = _block(128, (128,), first_relu=True)
        self.model10up = nn.Sequential(nn.ConvTranspose2d(128, 128, 4, 2, 1))
        self.model1short10 = nn.Sequential(nn.Conv2d(64, 128, 3, 1, 1))
        self.model10 = nn.Sequential(
            nn.ReLU(inplace=False), nn.Conv2d(128, 128, 3, 1, 1), nn.LeakyReLU(negative_slope=0.2)
        )
        self.model_class = nn.Sequential(nn.Conv2d(256, 529, 1))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def forward(self, lightness: Tensor, ab: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Predict ab from lightness and optional hints.

        Args:
            lightness: (N, 1, H, W) scaled, (L - 50) / 100; H and W multiples of 8.
            ab: (N, 2, H, W) revealed colors over 110, 0 where the mask is 0; default: none.
            mask: (N, 1, H, W) 1 where a color is revealed; default: none.

        Returns:
            (N, 2, H, W) ab over 110.
        """
        blocks = self.blocks(lightness, ab, mask)
        out: Tensor = self.model_out(blocks["conv10"])
        return out

    def blocks(self, lightness: Tensor, ab: Tensor | None = None, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return the maps after each of the ten blocks, ``conv1`` ... ``conv10``."""
        n, _, height, width = lightness.shape
        if height % MULTIPLE or width % MULTIPLE:
            raise ValueError(f"height and width must be multiples of {MULTIPLE}, got {height} x {width}")
        ab = lightness.new_zeros(n, 2, height, width) if ab is None else ab
        mask = lightness.new_zeros(n, 1, height, width) if mask is None else mask
        conv1 = self.model1(torch.cat([lightness, ab, mask], dim=1))
        # Subsampling between blocks, without averaging, as in the released code.
        conv2 = self.model2(conv1[:, :, ::2, ::2])
        conv3 = self.model3(conv2[:, :, ::2, ::2])
        conv4 = self.model4(conv3[:, :, ::2, ::2])
        conv5 = self.model5(conv4)
        conv6 = self.model6(conv5)
        conv7 = self.model7(conv6)
        conv8 = self.model8(self.model8up(conv7) + self.model3short8(conv3))
        conv9 = self.model9(self.model9up(conv8) + self.model2short9(conv2))
        conv10 = self.model10(self.model10up(conv9) + self.model1short10(conv1))
        found = (conv1, conv2, conv3, conv4, conv5, conv6, conv7, conv8, conv9, conv10)
        return {f"conv{number}": maps for number, maps in enumerate(found, start=1)}
