"""Metrics for networks that work in square patches: error at the boundaries, and its variance between patches.

Source: Yun, Lee, Park and Choo, "iColoriT: Towards propagating local hints to the right region in interactive
colorization by leveraging vision transformer", WACV 2023 (B-PSNR and PEV).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def boundary_error(rgb8_a: Tensor, rgb8_b: Tensor, patch: int) -> Tensor:
    """Compute the mean squared error of the two lines of pixels along every boundary between patches.

    Args:
        rgb8_a: (N, 3, H, W) uint8.
        rgb8_b: (N, 3, H, W) uint8.
        patch: side of a patch in pixels, at least 1.

    Returns:
        (N,) float64 in squared 8-bit steps; NaN for sizes that are not a multiple of the patch, or a single patch.
    """
    if not _in_patches(rgb8_a, patch):
        return _undefined(rgb8_a)
    height, width = rgb8_a.shape[2:]
    inner = (_beside_boundary(height, patch)[:, None] | _beside_boundary(width, patch)).to(rgb8_a.device)
    return _squared_error(rgb8_a, rgb8_b)[:, inner].mean(dim=1)


def patch_error_variance(rgb8_a: Tensor, rgb8_b: Tensor, patch: int) -> Tensor:
    """Compute the variance over patches of the root mean square error in a patch.

    Args as in ``boundary_error``.

    Returns:
        (N,) float64 in squared 8-bit steps, 0 or more (divided by the number of patches less 1); NaN for sizes that are
        not a multiple of the patch, or a single patch.
    """
    if not _in_patches(rgb8_a, patch):
        return _undefined(rgb8_a)
    height, width = rgb8_a.shape[2:]
    errors = _squared_error(rgb8_a, rgb8_b).reshape(len(rgb8_a), height // patch, patch, width // patch, patch)
    return errors.mean(dim=(2, 4)).sqrt().flatten(1).var(dim=1)


def _in_patches(rgb8: Tensor, patch: int) -> bool:
    """Return whether images are made of at least two whole patches."""
    height, width = rgb8.shape[2:]
    return height % patch == 0 and width % patch == 0 and height * width > patch * patch


def _squared_error(rgb8_a: Tensor, rgb8_b: Tensor) -> Tensor:
    """Return the squared error (N, H, W) float64, averaged over channels."""
    return (rgb8_a.double() - rgb8_b.double()).square().mean(dim=1)


def _beside_boundary(side: int, patch: int) -> Tensor:
    """Return (side,) bool: pixels on either side of a boundary between patches."""
    position = torch.arange(side)
    after, before = position % patch == 0, position % patch == patch - 1
    return (after & (position > 0)) | (before & (position < side - 1))


def _undefined(rgb8: Tensor) -> Tensor:
    return torch.full((len(rgb8),), math.nan, dtype=torch.float64, device=rgb8.device)
