"""The network of "Colorful Image Colorization" (Zhang, Isola, Efros, ECCV 2016), figure 2 and the released code.

Eight blocks of 3x3 convolutions without pooling, each convolution followed by ReLU and each of the blocks 1-7 by
BatchNorm; blocks 5 and 6 have dilation 2. A width factor scales all widths, rounded to multiples of 8. Width 1 has
32,236,011 parameters with its decoder.
"""

from __future__ import annotations

from torch import Tensor, nn

# (name, input width, output widths of its convolutions, stride of the last, dilation); width 1.
BLOCKS = (
    ("conv1", 1, (64, 64), 2, 1),
    ("conv2", 64, (128, 128), 2, 1),
    ("conv3", 128, (256, 256, 256), 2, 1),
    ("conv4", 256, (512, 512, 512), 1, 1),
    ("conv5", 512, (512, 512, 512), 1, 2),
    ("conv6", 512, (512, 512, 512), 1, 2),
    ("conv7", 512, (512, 512, 512), 1, 1),
)
STRIDE = 4  # of the output against the input


def scaled(channels: int, width: float) -> int:
    """Return the channels of the network at a width factor: the nearest multiple of 8, at least 8; 1 stays 1."""
    return 1 if channels == 1 else max(8, int(channels * width / 8 + 0.5) * 8)


class Trunk(nn.Module):
    """Blocks 1 to 8: scaled lightness (N, 1, H, W) to (N, 256 width, H/4, W/4)."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        for name, channels, outputs, stride, dilation in BLOCKS:
            layers: list[nn.Module] = []
            channels = scaled(channels, width)
            for number, output in enumerate(outputs):
                output = scaled(output, width)
                step = stride if number == len(outputs) - 1 else 1
                layers += [nn.Conv2d(channels, output, 3, step, dilation, dilation), nn.ReLU(inplace=True)]
                channels = output
            self.add_module(name, nn.Sequential(*layers, nn.BatchNorm2d(channels)))
        middle = scaled(256, width)
        self.conv8 = nn.Sequential(
            nn.ConvTranspose2d(channels, middle, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, 3, 1, 1),
            nn.ReLU(inplace=True),
        )
        self.channels = middle

    def forward(self, x: Tensor) -> Tensor:
        """Compute the maps of the last block: (N, 1, H, W) -> (N, 256 width, H/4, W/4)."""
        for block in self.children():
            x = block(x)
        return x  # (N, 256 width, H/4, W/4)


class Network(nn.Module):
    """Trunk and a 1x1 convolution to ``outputs`` maps: 313 logits, or ab for the regression models."""

    def __init__(self, width: float = 1.0, outputs: int = 313) -> None:
        super().__init__()
        self.width = width
        self.trunk = Trunk(width)
        self.head = nn.Conv2d(self.trunk.channels, outputs, 1)

    @property
    def parameter_count(self) -> int:
        """Number of weights, without the fixed decoder."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, lightness: Tensor) -> Tensor:
        """Compute the outputs: (N, 1, H, W) L in 0..100 -> (N, outputs, H/4, W/4); H and W multiples of 8."""
        maps: Tensor = self.trunk(scale_lightness(lightness))
        out: Tensor = self.head(maps)
        return out


def scale_lightness(lightness: Tensor) -> Tensor:
    """Convert L in 0..100 to the network's input, (L - 50) / 100, as the released PyTorch code does."""
    return (lightness - 50) / 100


def layer_maps(trunk: Trunk, x: Tensor) -> dict[str, Tensor]:
    """Return the network's maps of every convolution after its ReLU (``conv3_1`` ...) and of every block (``conv3``).

    Block maps are those after BatchNorm.
    """
    maps = {}
    for name, block in trunk.named_children():
        number = 0
        for layer in block.children():
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                number += 1
                maps[f"{name}_{number}"] = x.clone()
        maps[name] = x
    return maps
