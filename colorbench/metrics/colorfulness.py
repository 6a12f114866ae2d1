"""Colorfulness of an image, in the two forms that are published under this name.

Both use two opponent channels of 8-bit sRGB, rg = R - G and yb = (R + G) / 2 - B, and compute ``sqrt(std_rg^2 +
std_yb^2) + 0.3 sqrt(mean_rg^2 + mean_yb^2)`` with the population's standard deviation:

- ``cf_hs``, the published one, on the signed channels. D. Hasler, S. Suesstrunk, "Measuring colourfulness in natural
  images", SPIE 5007, 2003: the metric M^(3). About 15 is slightly, 33 moderately, 59 quite, 109 extremely colorful.
- ``cf_abs`` takes absolute values of both channels first. It came from a tutorial (PyImageSearch, "Computing image
  colorfulness") into the evaluation code of CT2, ColorFormer and DDColor, whose tables report it.

On 500 ImageNet images the means are 39.3 and 36.2: a value without the name of the form says little.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cf_hs(rgb8: Tensor) -> Tensor:
    """Compute the colorfulness of each image after Hasler and Suesstrunk; 0 for gray, neither direction is better.

    Args:
        rgb8: (N, 3, H, W) uint8.

    Returns:
        (N,) float64.

    Raises:
        ValueError: for another shape or dtype, or an image without pixels.

    Example:
        >>> red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> cf_hs(red)  # nothing deviates: 0.3 * sqrt(255^2 + 127.5^2)
        tensor([85.5296], dtype=torch.float64)
    """
    return _of_channels(*_opponents(rgb8))


def cf_abs(rgb8: Tensor) -> Tensor:
    """Compute the colorfulness of each image with absolute opponent channels, as the code of several papers does.

    The sign of a hue is lost, so that deviations shrink and means grow: red beside green does not deviate at all.

    Args:
        rgb8: (N, 3, H, W) uint8 sRGB.

    Returns:
        (N,) float64, at least 0; 0 for gray, neither direction is better.

    Raises:
        ValueError: for another shape or dtype, or images without pixels.
    """
    rg, yb2 = _opponents(rgb8)
    return _of_channels(rg.abs_(), yb2.abs_())


def _opponents(rgb8: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, P) rg and (N, P) 2 yb as integers, so that every sum of them is exact."""
    if rgb8.dtype != torch.uint8 or rgb8.dim() != 4 or rgb8.shape[1] != 3 or rgb8.shape[2] * rgb8.shape[3] == 0:
        raise ValueError(f"expected (N, 3, H, W) uint8, got {tuple(rgb8.shape)} {rgb8.dtype}")
    r, g, b = rgb8.flatten(2).float().unbind(1)
    return r - g, r + g - 2 * b


def _of_channels(rg: Tensor, yb2: Tensor) -> Tensor:
    rg_mean, rg_variance = _moments(rg)
    yb_mean, yb_variance = (moment / scale for moment, scale in zip(_moments(yb2), (2, 4), strict=True))
    return (rg_variance + yb_variance).sqrt() + 0.3 * (rg_mean * rg_mean + yb_mean * yb_mean).sqrt()


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and population variance of each row, (N,) float64, from exact sums of integers."""
    n = x.shape[1]
    mean = x.sum(dim=1, dtype=torch.float64) / n
    # |x| <= 510, so squares are exact in float32 and their sum is below 2^53 for any image.
    return mean, ((x * x).sum(dim=1, dtype=torch.float64) / n - mean * mean).clamp_min(0)
