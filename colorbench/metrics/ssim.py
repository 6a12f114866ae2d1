"""Structural similarity (SSIM) on 8-bit sRGB, computed per channel.

Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
IEEE TIP 13 (4), 2004. SSIM compares local luminance, contrast and structure. In colorization the lightness is given and
nearly determines all three, so SSIM says little about color.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from colorbench.color.compiled.jit import exact_dtype
from colorbench.metrics.psnr import check_pair

Window = Literal["gaussian", "uniform7"]
"""Weights of the local means: a Gaussian of 11 x 11 pixels, or 7 x 7 equal ones."""

K1, K2 = 0.01, 0.03
SIGMA = 1.5
_CENTER = 128.0  # subtracted before squaring, to limit cancellation where squares are subtracted


def ssim(rgb8_a: Tensor, rgb8_b: Tensor, *, window: Window = "gaussian", data_range: float = 255.0) -> Tensor:
    """Compute the SSIM of each image: the mean over the three channels and over all windows within the image.

    Args:
        rgb8_a: (N, 3, H, W) uint8.
        rgb8_b: (N, 3, H, W) uint8.
        window: ``gaussian`` is Wang's (11 x 11, sigma 1.5, moments of the population). ``uniform7`` is what
            scikit-image computes by default (7 x 7, equal weights, sample covariance).
        data_range: range of the values, in 8-bit steps; the stabilizing constants are (0.01 R)^2 and (0.03 R)^2.

    Returns:
        (N,) float64, -1..1; higher is better. NaN for an image smaller than the window.

    Raises:
        ValueError: for unequal shapes, another number of channels, a dtype other than uint8, or a range of 0.
    """
    check_pair(rgb8_a, rgb8_b)
    if not data_range > 0:
        raise ValueError(f"the data range must be positive, got {data_range}")
    of_image = _compiled if rgb8_a.device.type == "cpu" else _by_tensors
    # One image at a time: matrix products of other sizes may be rounded differently.
    values = [of_image(a, b, window, data_range) for a, b in zip(rgb8_a, rgb8_b, strict=True)]
    return torch.stack(values) if values else torch.empty(0, dtype=torch.float64, device=rgb8_a.device)


def _compiled(a: Tensor, b: Tensor, window: Window, data_range: float) -> Tensor:
    """Compute the SSIM of one image on the CPU: (3, H, W) uint8 each -> () float64."""
    from colorbench.color.compiled import windows

    if min(a.shape[1:]) < (11 if window == "gaussian" else 7):
        return torch.tensor(math.nan, dtype=torch.float64)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    channels = zip(a.contiguous().numpy(), b.contiguous().numpy(), strict=True)
    if window == "gaussian":
        half = _gaussian()[:6].numpy()
        found = [windows.gaussian_ssim(one, other, half, c1, c2) for one, other in channels]
    else:
        found = [windows.uniform_ssim(one, other, c1, c2) for one, other in channels]
    return torch.tensor(found, dtype=torch.float64).mean()


def _by_tensors(a: Tensor, b: Tensor, window: Window, data_range: float) -> Tensor:
    """Compute the SSIM of one image on any device: (3, H, W) uint8 each -> () float64."""
    taps = _gaussian() if window == "gaussian" else torch.full((7,), 1 / 7, dtype=torch.float64)
    if min(a.shape[1:]) < len(taps):
        return torch.full((), math.nan, dtype=torch.float64, device=a.device)
    dtype = exact_dtype(a.device)
    sample = 1.0 if window == "gaussian" else 49 / 48
    x, y = a.to(dtype).sub_(_CENTER), b.to(dtype).sub_(_CENTER)
    moments = torch.cat([x, y, x * x + y * y, x * y])  # (12, H, W)
    across, down = (_band(taps, side, moments) for side in (a.shape[2], a.shape[1]))
    means = down.T @ (moments @ across)  # (12, h, w)
    x, y, squares, product = (means[start : start + 3] for start in range(0, 12, 3))
    variances, covariance = sample * (squares - x * x - y * y), sample * (product - x * y)
    x, y = x + _CENTER, y + _CENTER
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    similarity = (2 * x * y + c1) * (2 * covariance + c2) / ((x * x + y * y + c1) * (variances + c2))
    return similarity.mean(dtype=torch.float64)


def _gaussian() -> Tensor:
    """Return the Gaussian window, (11,) float64, with sum 1."""
    weights = torch.arange(-5, 6, dtype=torch.float64).square().div(-2 * SIGMA**2).exp()
    return weights / weights.sum()


def _band(taps: Tensor, side: int, like: Tensor) -> Tensor:
    """Return the filter along one axis as a matrix (side, side - taps + 1), which is faster than a convolution here."""
    count = side - len(taps) + 1
    matrix = torch.zeros(side, count, dtype=torch.float64)
    for i, tap in enumerate(taps):
        matrix[torch.arange(count) + i, torch.arange(count)] = tap
    return matrix.to(like)
