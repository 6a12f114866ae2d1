"""What a number can reach at most, and what it costs to fall a little short: models that are shown the truth."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorbench.color.lab import rgb_to_lab
from colorbench.errors import UserError
from colorbench.models.card import ModelCard
from colorbench.models.interfaces import Colors, Inputs

LICENCE = "BSD-2-Clause"
JPEG_QUALITY = 95


class GroundTruth:
    """The photograph itself."""

    card = ModelCard(
        title="truth: the photograph itself",
        role="reference",
        licence=LICENCE,
        notes="The top of every scale that measures closeness; also what a human study must not be able to beat.",
    )

    def colorize_batch(self, inputs: Inputs) -> Colors:
        """The truth, untouched."""
        return Colors(rgb8=truth_of(inputs))


class GroundTruthJpeg95:
    """The photograph after one more JPEG compression."""

    card = ModelCard(
        title="truth, saved as JPEG once more",
        role="reference",
        licence=LICENCE,
        notes=f"Pillow, quality {JPEG_QUALITY}, chroma 4:2:0: what storing answers as JPEG costs.",
    )

    def colorize_batch(self, inputs: Inputs) -> Colors:
        """Each picture by itself through an encoder and a decoder."""
        pictures = [jpeg_round_trip(picture) for picture in truth_of(inputs).cpu()]
        return Colors(rgb8=torch.stack(pictures).to(inputs.lightness.device))


class HalfChroma:
    """The photograph's own colours, half as strong."""

    card = ModelCard(
        title="truth at half its chroma",
        role="reference",
        licence=LICENCE,
        notes="ab / 2: the right colours, timid. What a measure forgives a desaturated answer.",
    )

    def colorize_batch(self, inputs: Inputs) -> Colors:
        """ab of the truth, halved."""
        return Colors(ab=rgb_to_lab(truth_of(inputs))[:, 1:] / 2)


def truth_of(inputs: Inputs) -> Tensor:
    """(N, 3, H, W) uint8.

    Raises:
        UserError: where no truth is given, as when a black-and-white photograph is colorized.
    """
    if inputs.truth is None:
        raise UserError(
            "a reference shows the true colours, and none are known here", mend="choose a model that colorizes"
        )
    return inputs.truth


def jpeg_round_trip(picture: Tensor) -> Tensor:
    """(3, H, W) uint8 -> the same after JPEG."""
    file = io.BytesIO()
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
