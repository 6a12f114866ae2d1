"""The lightness that the authors' demo gives to the networks (``colorizers/util.py``)."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorbench.color import lab_to_rgb8, rgb_to_lab

WORKING_SIZE = 256


def demo_lightness(lightness: Tensor) -> Tensor:
    """Return L at 256 x 256 as the demo makes it from a gray image: (N, 1, H, W) -> (N, 1, 256, 256).

    The demo resizes 8-bit RGB by Pillow's bicubic and then converts to Lab. Here, too: L becomes an 8-bit gray image
    first. At 256 x 256 (preprocessing ``squash256``) L is what the demo has, and passes unchanged.
    """
    if lightness.shape[-2:] == (WORKING_SIZE, WORKING_SIZE):
        return lightness
    neutral = torch.cat([lightness, torch.zeros_like(lightness), torch.zeros_like(lightness)], dim=1)
    gray = lab_to_rgb8(neutral.float())[:, 0].cpu().numpy()  # (N, H, W): all three channels are equal
    resized = np.stack([_resized(image) for image in gray])
    rgb = torch.from_numpy(resized)[:, None].expand(-1, 3, -1, -1).contiguous().to(lightness.device)
    return rgb_to_lab(rgb)[:, :1].contiguous()


def _resized(gray: np.ndarray) -> np.ndarray:
    size = (WORKING_SIZE, WORKING_SIZE)
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BICUBIC))
