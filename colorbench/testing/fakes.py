"""Small models, datasets and records for tests, equal in every process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from colorbench.color import ab_bins
from colorbench.data import Dataset, open_dataset
from colorbench.data.sources.packaged import SAMPLES
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard, RevealedColors
from colorbench.results import Record
from colorbench.testing.fake_record_values import record_values

LICENSE = "CC0-1.0"
CROP = 120
"""Side in pixels of the crops that ``fake_dataset`` takes of packaged images."""


class FakeColorizer(nn.Module):
    """A small convolutional network with random weights and every capability of a model."""

    def __init__(self, seed: int = 0, scale: float = 30.0, **card: Any) -> None:
        """Draw the weights.

        Args:
            seed: seed of the weights; equal seeds give equal models.
            scale: scale of the predicted ab; 0 predicts gray.
            card: fields of the ``ModelCard``.
        """
        super().__init__()
        self.card = ModelCard(**{"title": "a fake model", "license": LICENSE, **card})
        self.seed, self.scale = seed, scale
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.head, self.bins = nn.Conv2d(8, 2, 1), nn.Conv2d(8, len(ab_bins()), 1)
        generator = torch.Generator().manual_seed(seed)
        for layer in (self.conv1, self.conv2, self.head, self.bins):
            weight = torch.randn(layer.weight.shape, generator=generator) / layer.weight[0].numel() ** 0.5
            layer.weight = nn.Parameter(weight)
            layer.bias = nn.Parameter(torch.zeros_like(weight[:, 0, 0, 0]))
        self.eval()

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H, W), of any size."""
        ab = self.scale * torch.tanh(self.head(self._maps(lightness)["conv2"]))
        return interpolate(ab, lightness.shape[-2:], mode="bilinear", align_corners=False)

    def distribution(self, lightness: Tensor) -> Tensor:
        """Return log-probabilities of the bins: (N, 1, H, W) L in 0..100 -> (N, 313, H/4, W/4)."""
        return torch.log_softmax(self.bins(self._maps(lightness)["conv2"]).float(), dim=1)

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        """Return the feature maps: (N, 1, H, W) L in 0..100 -> {layer: (N, C, h, w)}."""
        return self._maps(lightness)

    def sample(self, inputs: ColorizerInput, seeds: Sequence[tuple[int, ...]]) -> list[ColorPrediction]:
        """Return predictions with random colors that follow from the seeds of each image."""
        ab = self.colorize(inputs.lightness)
        shifts = [
            [torch.randn(2, 1, 1, generator=torch.Generator().manual_seed(seed)) for seed in draw] for draw in seeds
        ]
        return [ColorPrediction(ab=ab + self.scale / 2 * torch.stack(draw).to(ab)) for draw in shifts]

    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        """Predict as ``colorize``, with the revealed colors where they are revealed."""
        ab, mask = revealed.maps((inputs.lightness.shape[-2], inputs.lightness.shape[-1]))
        return ColorPrediction(ab=torch.where(mask > 0, ab, self.colorize(inputs.lightness)))

    def redrawn(self, seed: int) -> FakeColorizer:
        """Return the same network with other weights."""
        return FakeColorizer(seed, self.scale, **self.card.model_dump())

    def _maps(self, lightness: Tensor) -> dict[str, Tensor]:
        first = self.conv1(lightness / 50 - 1).relu()
        return {"conv1": first, "conv2": self.conv2(first).relu()}


def fake_model(seed: int = 0, scale: float = 30.0, **card: Any) -> FakeColorizer:
    """Return a small fake network that passes every check of ``check_colorizer``.

    Args:
        seed: seed of the weights; equal seeds give equal models.
        scale: largest absolute value of the predicted ab; 0 predicts gray.
        card: fields of its ``ModelCard``, such as ``title`` or ``role``.

    Example:
        >>> fake_model().colorize(torch.full((1, 1, 8, 8), 50.0)).shape
        torch.Size([1, 2, 8, 8])
    """
    return FakeColorizer(seed, scale, **card)


def fake_dataset(
    folder: Path | str, count: int = 6, *, size: tuple[int, int] = (64, 64), classes: Sequence[str] = (), first: int = 0
) -> Dataset:
    """Write a fake dataset, crops of real images as PNG files, into a folder and open it.

    The crops are taken from the images included in scikit-image and scikit-learn (``--data samples``); they are all
    different, and equal in every process.

    Args:
        folder: output folder, created if missing.
        count: number of images, per class if there are classes.
        size: (H, W) of each image in pixels.
        classes: names of class folders, at most six; empty for no classes. Images of a class are crops of the same
            image.
        first: number of the first crop; datasets with ``first`` 0 and ``count`` share no image.

    Returns:
        The dataset, sorted by id.
    """
    originals = [Image.open(sample.path).convert("RGB") for sample in open_dataset(SAMPLES).samples]
    root = Path(folder)
    for kind, name in enumerate(classes or ("",)):
        below = root / name
        below.mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            original = originals[(kind if classes else i) % len(originals)]
            left, top = (41 * i) % (original.width - CROP), (29 * i) % (original.height - CROP)
            crop = original.crop((left, top, left + CROP, top + CROP)).resize(size[::-1])
            crop.save(below / f"{i:03d}.png")
    return open_dataset(root)


def make_record(
    model: str = "zoo/cic.small", n: int = 100, scale: float = 1.0, title: str = "A model", **dataset: Any
) -> Record:
    """Return a fake record with two metrics, a difference and a curve, like a record of ``auc``.

    Args:
        model: name of the model; ``zoo/gray`` has no difference from gray.
        n: number of evaluated images.
        scale: factor on the values of the metrics.
        title: title of the model's card.
        dataset: fields of the record's ``dataset``, such as ``name`` or ``preprocessing``.
    """
    return Record.model_validate(record_values(model, n, scale, title, dataset))
