"""One photograph colorized at its full size: the model's colours on the photograph's own lightness."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from colorbench.color.lab import lab_to_rgb8, rgb_to_lab
from colorbench.evaluation.answers import colorize
from colorbench.evaluation.protocol import Truth
from colorbench.models.loading import LoadedModel

DEFAULT_SIDE = 256
"""What a model without a size of its own is shown, as in the recipe ``squash256``."""


@torch.inference_mode()
def colorize_photograph(
    model: LoadedModel, rgb: np.ndarray, *, id: str, seed: int = 0, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Colours from a small copy, lightness from the photograph itself (as the paper's own demo does).

    The copy is squashed to the model's working size, or 256x256; the ab that the model answers is stretched back
    bilinearly. What falls outside sRGB is clipped, so that a saturated pixel may lose a little of its lightness.

    Args:
        model: any model, its weights on ``device``.
        rgb: (H, W, 3) uint8 sRGB, upright. Only its lightness is used.
        id: seeds stochastic models, and names the photograph in errors.
        seed: of the run.
        device: where the model runs; the large picture stays on the CPU.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        RunError: for a model that fails, or an answer of the wrong shape, or with NaN or infinity.
    """
    height, width = rgb.shape[:2]
    side = model.card.working_size or DEFAULT_SIDE
    small = np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BICUBIC))
    answer = colorize(model, Truth((id,), planes(small).to(device)), ((height, width),), seed)
    ab = answer.ab_float.float().cpu()  # (1, 2, side, side)
    ab = interpolate(ab, size=(height, width), mode="bilinear", align_corners=False)  # (1, 2, H, W)
    lightness = rgb_to_lab(planes(rgb))[:, :1]  # (1, 1, H, W)
    colored = lab_to_rgb8(torch.cat([lightness, ab], dim=1))  # (1, 3, H, W)
    return np.ascontiguousarray(colored[0].permute(1, 2, 0).numpy())


def planes(rgb: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
