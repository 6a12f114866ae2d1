"""What the tests of probes and transfer share: images in classes, and a small network with features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from colorbench.data import Dataset, open_dataset
from colorbench.evaluation import RunConfig
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard

CLASSES = ("astronaut", "chelsea", "coffee")


def write_classes(folder: Path, count: int, *, first: int = 0, side: int = 32, classes: Any = CLASSES) -> Dataset:
    """``count`` different crops of each of some packaged images, a folder each."""
    import skimage.data

    for name in classes:
        original = Image.fromarray(getattr(skimage.data, name)())
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            left, top = (41 * i) % (original.width - 120), (29 * i) % (original.height - 120)
            original.crop((left, top, left + 120, top + 120)).resize((side, side)).save(folder / name / f"{i:03d}.png")
    return open_dataset(folder)


class Blocks(nn.Module):
    """Two blocks of random convolutions; remembers how many images it was shown."""

    def __init__(self, seed: int = 0, *, random: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 12, 3, 2, 1)
        self.norm1 = nn.BatchNorm2d(6)
        for layer in (self.conv1, self.conv2):
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator) / layer.weight[0].numel() ** 0.5
            assert layer.bias is not None
            layer.bias.data.zero_()
        self.card = ModelCard(title="two random blocks")
        self.random, self.seen, self.spoilt = random, 0, ""

    def redrawn(self, seed: int) -> Blocks | None:
        return Blocks(seed, random=True).eval() if self.random else None

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        n, _, h, w = inputs.lightness.shape
        return ColorPrediction(ab=torch.zeros(n, 2, h, w))

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        self.seen += len(lightness)
        first = self.conv1(lightness / 50 - 1).relu()
        closed = self.norm1(first)
        second = self.conv2(closed).relu()
        maps = {"conv1_1": first, "conv1": closed, "conv2_1": second, "conv2": second * 1}
        if self.spoilt:
            maps[self.spoilt] = maps[self.spoilt] * float("nan")
        return maps


def request(model: Any, protocol: str, train: Dataset, test: Dataset, output: Path, **changes: Any) -> RunConfig:
    """One run on small images."""
    parameters = changes.pop("parameters", {})
    values = {
        "models": [model],
        "protocols": [protocol],
        "data": test,
        "roles": {"train": train},
        "parameters": {protocol.partition("@")[0]: {"preprocessing": "squash32", **parameters}},
        "output": output,
        "device": "cpu",
        "workers": 0,
        "batch_size": 8,
    }
    return RunConfig(**{**values, **changes})
