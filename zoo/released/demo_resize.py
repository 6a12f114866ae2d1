"""The lightness that the authors' demo gives to the networks (``colorizers/util.py``)."""

from __future__ import annotations

from torch import Tensor

from colorbench.models import pillow_resized

WORKING_SIZE = 256


def demo_lightness(lightness: Tensor) -> Tensor:
    """Return L at 256 x 256 as the demo makes it from a gray image: (N, 1, H, W) -> (N, 1, 256, 256).

    The demo resizes 8-bit RGB by Pillow's bicubic and then converts to Lab. Here, too: L becomes an 8-bit gray image
    first. At 256 x 256 (preprocessing ``squash256``) L is what the demo has, and passes unchanged.
    """
    if lightness.shape[-2:] == (WORKING_SIZE, WORKING_SIZE):
        return lightness
    return pillow_resized(lightness, (WORKING_SIZE, WORKING_SIZE), "bicubic")
