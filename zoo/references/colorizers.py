"""What a number can reach at most, and what it costs to fall a little short: models that are shown the truth."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.errors import UserError
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard

LICENSE = "BSD-2-Clause"
JPEG_QUALITY = 95


class GroundTruth:
    """The image itself."""

    card = ModelCard(
        title="truth: the image itself",
        role="reference",
        license=LICENSE,
        notes="The top of every scale that measures closeness; also what a human study must not be able to beat.",
    )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Return the ground truth, untouched."""
        return ColorPrediction(rgb8=truth_of(inputs))


class GroundTruthJpeg95:
    """The image after one more JPEG compression."""

    card = ModelCard(
        title="truth, saved as JPEG once more",
        role="reference",
        license=LICENSE,
        notes=f"Pillow, quality {JPEG_QUALITY}, chroma 4:2:0: what storing answers as JPEG costs.",
    )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Pass each image by itself through an encoder and a decoder."""
        images = [jpeg_round_trip(image) for image in truth_of(inputs).cpu()]
        return ColorPrediction(rgb8=torch.stack(images).to(inputs.lightness.device))


class HalfChroma:
    """The image's own colors, half as strong."""

    card = ModelCard(
        title="truth at half its chroma",
        role="reference",
        license=LICENSE,
        notes="ab / 2: the right colors, timid. What a measure forgives a desaturated answer.",
    )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Return ab of the ground truth, halved."""
        return ColorPrediction(ab=rgb_to_lab(truth_of(inputs))[:, 1:] / 2)


def truth_of(inputs: ColorizerInput) -> Tensor:
    """Return the ground truth, (N, 3, H, W) uint8.

    Raises:
        UserError: where no truth is given, as when a black-and-white image is colorized.
    """
    if inputs.truth is None:
        raise UserError(
            "a reference shows the true colors, and none are known here", hint="choose a model that colorizes"
        )
    return inputs.truth


def jpeg_round_trip(image: Tensor) -> Tensor:
    """Encode an image as JPEG and decode it: (3, H, W) uint8 -> the same."""
    file = io.BytesIO()
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
