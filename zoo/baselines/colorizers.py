"""Baselines: models that do not use the image (gray, mean color, constant, random image)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from colorbench.models import ColorizerInput, ColorPrediction, ModelCard

DATA = Path(__file__).parent / "data"
"""Written by ``python -m zoo.baselines.build_data``."""
HASHES = "zoo.baselines:data/training_hashes.npy"
LICENSE = "BSD-2-Clause"


class OneColor:
    """The same ab for every pixel."""

    thread_safe = True

    def __init__(self, ab: tuple[float, float], card: ModelCard) -> None:
        self.ab, self.card = ab, card

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Return one value per channel, (N, 2, H, W)."""
        value = inputs.lightness.new_tensor(self.ab, dtype=torch.float32).view(1, 2, 1, 1)
        n, _, h, w = inputs.lightness.shape
        return ColorPrediction(ab=value.expand(n, 2, h, w).clone())


def gray() -> OneColor:
    """Return the grayscale baseline."""
    card = ModelCard(title="grayscale baseline", role="baseline", license=LICENSE, notes="ab = 0 everywhere: no color.")
    return OneColor((0.0, 0.0), card)


def mean_color() -> OneColor:
    """Return the baseline that predicts the mean ab of the training images."""
    data = json.loads((DATA / "mean_color.json").read_text())
    return _stored_color(data, "mean color of the training images")


def constant() -> OneColor:
    """Return the baseline of the constant color that maximizes ``auc_rebalanced_stable`` on the training images."""
    data = json.loads((DATA / "constant.json").read_text())
    return _stored_color(data, "constant-color baseline: the best single color")


class RandomImage:
    """Colors of a training image, chosen by the seed of the image."""

    thread_safe = True

    def __init__(self) -> None:
        with np.load(DATA / "random_ab.npz", allow_pickle=False) as file:
            self.thumbnails = torch.from_numpy(file["ab"])  # (512, 2, 16, 16) int8
            images = int(file["images"])
        self.card = ModelCard(
            title="random baseline: colors of another image",
            role="baseline",
            license=LICENSE,
            stochastic=True,
            training_data=_images(images),
            training_hashes=HASHES,
            notes=f"ab of one of {len(self.thumbnails)} training images at 16 x 16 pixels, chosen by the seed.",
        )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Return one thumbnail per image, stretched over it."""
        chosen = torch.tensor([seed % len(self.thumbnails) for seed in inputs.seeds])
        ab = self.thumbnails[chosen].float().to(inputs.lightness.device)  # (N, 2, 16, 16)
        return ColorPrediction(ab=interpolate(ab, inputs.lightness.shape[-2:], mode="bilinear", align_corners=False))


def _stored_color(data: Mapping[str, Any], title: str) -> OneColor:
    a, b = data["ab"]
    card = ModelCard(
        title=title,
        role="baseline",
        license=LICENSE,
        settings={"a": a, "b": b},
        training_data=_images(data["images"]),
        training_hashes=HASHES,
        scores=data.get("scores", {}),
        notes=data["notes"],
    )
    return OneColor((a, b), card)


def _images(count: int) -> str:
    return f"{count} images of 128 x 128 pixels: objects, indoor and outdoor scenes (ImageNet, scenes, BSDS)"
