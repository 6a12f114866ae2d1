"""Resizing for models with their own working size, and resizing of lightness and feature maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from colorbench.color import lab_to_rgb8, rgb_to_lab


def at_working_size(model: Callable[[Tensor], Tensor], lightness: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Run a model at its working size: resize its input and its prediction.

    The lightness is resized to it (bicubic, antialiased), and the predicted ab, of any size, is resized back
    (bilinear).

    Args:
        model: (N, 1, h, w) L in 0..100 -> (N, 2, any, any) ab.
        lightness: (N, 1, H, W).
        size: (h, w), or one number for a square.

    Returns:
        (N, 2, H, W) ab.
    """
    working = (size, size) if isinstance(size, int) else size
    given = (lightness.shape[-2], lightness.shape[-1])
    # The bicubic kernel overshoots at edges; L is limited to 0..100.
    shown = lightness if given == working else resized(lightness, working, "bicubic").clamp(0, 100)
    return resized(model(shown), given, "bilinear")


def resized(maps: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize maps: (N, C, h, w) -> (N, C, *size).

    Shrinking is antialiased. Half precision is computed in float32.
    """
    maps = maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps
    if maps.shape[-2:] == size:
        return maps
    # Antialiasing also when enlarging: only with it torch's bicubic kernel equals Pillow's (a = -0.5, not -0.75).
    return interpolate(maps.contiguous(), size, mode=mode, align_corners=False, antialias=True)


def pillow_resized(lightness: Tensor, size: tuple[int, int], kernel: str) -> Tensor:
    """Resize lightness as an 8-bit gray image with Pillow, as many programs do: (N, 1, H, W) L -> (N, 1, *size) L.

    Args:
        lightness: converted to an 8-bit gray image first.
        size: (h, w).
        kernel: ``bicubic`` or ``bilinear``, Pillow's with antialias.
    """
    neutral = torch.cat([lightness, torch.zeros_like(lightness), torch.zeros_like(lightness)], dim=1)
    gray = lab_to_rgb8(neutral.float())[:, 0].cpu().numpy()  # (N, H, W): all three channels are equal
    method = Image.Resampling[kernel.upper()]
    small = np.stack([np.asarray(Image.fromarray(image).resize(size[::-1], method)) for image in gray])
    rgb = torch.from_numpy(small)[:, None].expand(-1, 3, -1, -1).contiguous().to(lightness.device)
    return rgb_to_lab(rgb)[:, :1].contiguous()
