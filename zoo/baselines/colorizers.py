"""What a colorizer must beat: models that look at no picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from colorbench.models.card import ModelCard
from colorbench.models.interfaces import Colors, Inputs

DATA = Path(__file__).parent / "data"
"""Written by ``python -m zoo.baselines.build_data``."""
HASHES = "zoo.baselines:data/photographs.npy"
LICENCE = "BSD-2-Clause"


class OneColor:
    """The same ab for every pixel."""

    def __init__(self, ab: tuple[float, float], card: ModelCard) -> None:
        self.ab, self.card = ab, card

    def colorize_batch(self, inputs: Inputs) -> Colors:
        """(N, 2, H, W) of one value a channel."""
        value = inputs.lightness.new_tensor(self.ab, dtype=torch.float32).view(1, 2, 1, 1)
        n, _, h, w = inputs.lightness.shape
        return Colors(ab=value.expand(n, 2, h, w).clone())


def gray() -> OneColor:
    """No colour at all."""
    notes = "ab = 0 everywhere: the photograph as it was given."
    return OneColor(
        (0.0, 0.0), ModelCard(title="gray: no colour at all", role="baseline", licence=LICENCE, notes=notes)
    )


def mean_color() -> OneColor:
    """The mean ab of the training photographs."""
    data = json.loads((DATA / "mean_color.json").read_text())
    return _stored_color(data, "the mean colour of the training photographs")


def constant() -> OneColor:
    """The one ab that maximises the stable rebalanced AuC on the training photographs."""
    data = json.loads((DATA / "constant.json").read_text())
    return _stored_color(data, "the best single colour: what no look at the picture can reach")


class RandomPhotograph:
    """The colours of a training photograph that the image's seed chooses."""

    def __init__(self) -> None:
        with np.load(DATA / "random_ab.npz", allow_pickle=False) as file:
            self.thumbnails = torch.from_numpy(file["ab"])  # (512, 2, 16, 16) int8
            photographs = int(file["photographs"])
        self.card = ModelCard(
            title="random: the colours of another photograph",
            role="baseline",
            licence=LICENCE,
            stochastic=True,
            training_data=_photographs(photographs),
            training_hashes=HASHES,
            notes=f"ab of {len(self.thumbnails)} training photographs at 16 x 16; the image's seed chooses one.",
        )

    def colorize_batch(self, inputs: Inputs) -> Colors:
        """One thumbnail an image, stretched over it."""
        chosen = torch.tensor([seed % len(self.thumbnails) for seed in inputs.seeds])
        ab = self.thumbnails[chosen].float().to(inputs.lightness.device)  # (N, 2, 16, 16)
        return Colors(ab=interpolate(ab, inputs.lightness.shape[-2:], mode="bilinear", align_corners=False))


def _stored_color(data: dict, title: str) -> OneColor:
    a, b = data["ab"]
    card = ModelCard(
        title=title,
        role="baseline",
        licence=LICENCE,
        settings={"a": a, "b": b},
        training_data=_photographs(data["photographs"]),
        training_hashes=HASHES,
        scores=data.get("scores", {}),
        notes=data["notes"],
    )
    return OneColor((a, b), card)


def _photographs(count: int) -> str:
    return f"{count} photographs of indoor and outdoor things and scenes, 128 x 128 (ImageNet, scenes, BSDS)"
