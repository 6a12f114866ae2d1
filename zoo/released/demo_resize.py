"""Resizing of the lightness as in the authors' demo (``colorizers/util.py``)."""

from __future__ import annotations

from torch import Tensor

from colorbench.models import pillow_resized

WORKING_SIZE = 256


def demo_lightness(lightness: Tensor) -> Tensor:
    """Compute L at 256 x 256 as the demo does for a gray image: (N, 1, H, W) -> (N, 1, 256, 256).

    The demo resizes 8-bit RGB by Pillow's bicubic and then converts it to Lab. L is therefore converted to an 8-bit
    gray image first. At 256 x 256 (preprocessing ``squash256``) L is unchanged.
    """
    if lightness.shape[-2:] == (WORKING_SIZE, WORKING_SIZE):
        return lightness
    return pillow_resized(lightness, (WORKING_SIZE, WORKING_SIZE), "bicubic")
