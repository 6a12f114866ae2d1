"""Reference models that use the ground truth, to show the best possible scores and the cost of small deviations."""

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
    """The ground truth as the prediction."""

    thread_safe = True
    card = ModelCard(
        title="ground truth",
        role="reference",
        license=LICENSE,
        notes="The best possible score of every metric of similarity.",
    )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Return the ground truth unchanged."""
        return ColorPrediction(rgb8=_truth_of(inputs))


class GroundTruthJpeg95:
    """The ground truth after JPEG compression of quality 95."""

    thread_safe = True
    card = ModelCard(
        title=f"ground truth, recompressed as JPEG {JPEG_QUALITY}",
        role="reference",
        license=LICENSE,
        notes=f"Pillow, quality {JPEG_QUALITY}, chroma 4:2:0: the cost of storing predictions as JPEG.",
    )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Compress and decompress each image separately."""
        images = [_jpeg_round_trip(image) for image in _truth_of(inputs).cpu()]
        return ColorPrediction(rgb8=torch.stack(images).to(inputs.lightness.device))


class HalfChroma:
    """The ground truth with half of its chroma."""

    thread_safe = True
    card = ModelCard(
        title="ground truth at half chroma",
        role="reference",
        license=LICENSE,
        notes="ab / 2: correct but desaturated colors. Shows how much a metric penalizes desaturation.",
    )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Return ab of the ground truth, halved."""
        return ColorPrediction(ab=rgb_to_lab(_truth_of(inputs))[:, 1:] / 2)


def _truth_of(inputs: ColorizerInput) -> Tensor:
    """Return the ground truth, (N, 3, H, W) uint8.

    Raises:
        UserError: if no ground truth is given, as when a black-and-white image is colorized.
    """
    if inputs.truth is None:
        raise UserError(
            "this model returns the true colors, and none are known here", hint="choose a model that colorizes"
        )
    return inputs.truth


def _jpeg_round_trip(image: Tensor) -> Tensor:
    """Encode an image as JPEG and decode it: (3, H, W) uint8 -> the same."""
    file = io.BytesIO()
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
