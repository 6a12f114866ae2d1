"""CIEDE2000, the color difference of the CIE (CIE 142-2001), as Sharma, Wu and Dalal (2005) made it unambiguous.

It corrects the Euclidean distance in Lab for human perception: less weight on chroma differences between saturated
colors, a factor for hue, and a rotation in the blues. About 1 is just noticeable side by side. All three parametric
factors (kL, kC, kH) are 1, as in scikit-image.

Reference: G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary
Test Data, and Mathematical Observations", Color Research and Application 30 (1), 2005. Equation numbers refer
to this paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from colorbench.metrics.pixel_mean import image_mean

_TURN = 2 * math.pi


def ciede2000(lab_a: Tensor, lab_b: Tensor) -> Tensor:
    """Compute the CIEDE2000 difference of every pixel: symmetric, 0 for equal colors, lower is better.

    Args:
        lab_a: (N, 3, H, W) floating Lab; float16 and bfloat16 are compared as float32.
        lab_b: (N, 3, H, W) floating Lab.

    Returns:
        (N, H, W) float32, or float64 where either is.

    Raises:
        ValueError: for unequal shapes, another number of channels, or a dtype that is not floating.

    Example:
        >>> blue = torch.tensor([[50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485]], dtype=torch.float64)
        >>> ciede2000(blue[:1, :, None, None], blue[1:, :, None, None])  # the first of Sharma's pairs
        tensor([[[2.0425]]], dtype=torch.float64)
    """
    for lab in (lab_a, lab_b):
        if not lab.is_floating_point() or lab.dim() != 4 or lab.shape[1] != 3:
            raise ValueError(f"expected (N, 3, H, W) floating Lab, got {tuple(lab.shape)} {lab.dtype}")
    if lab_a.shape != lab_b.shape:
        raise ValueError(f"images of different shapes: {tuple(lab_a.shape)} and {tuple(lab_b.shape)}")
    dtype = torch.promote_types(torch.promote_types(lab_a.dtype, lab_b.dtype), torch.float32)
    a, b = lab_a.to(dtype).contiguous(), lab_b.to(dtype).contiguous()
    if a.device.type != "cpu" or len(a) == 0:
        return _difference(a.movedim(1, 0), b.movedim(1, 0))
    # One image at a time: the intermediate maps stay in the cache, which takes two thirds of the time of a batch.
    return torch.stack([_difference(one, other) for one, other in zip(a, b, strict=True)])


def mean_ciede2000(lab_a: Tensor, lab_b: Tensor) -> Tensor:
    """Compute the mean CIEDE2000 of each image: two (N, 3, H, W) floating Lab -> (N,) float64; see ``ciede2000``."""
    return image_mean(ciede2000(lab_a, lab_b))


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """Compute the difference of two Lab images: (3, ...) and (3, ...) -> (...)."""
    (l1, a1, b1), (l2, a2, b2) = one.unbind(0), other.unbind(0)

    # Chroma and hue, with a stretched where colors are dull (2-7).
    g = 1.5 - 0.5 * _saturation(((a1 * a1 + b1 * b1).sqrt_() + (a2 * a2 + b2 * b2).sqrt_()).mul_(0.5))  # 1 + G
    a1, a2 = a1 * g, a2 * g
    c1, c2 = (a1 * a1 + b1 * b1).sqrt_(), (a2 * a2 + b2 * b2).sqrt_()
    h1, h2 = _hue(a1, b1), _hue(a2, b2)

    # The shorter way between the hues. Opposite hues are exactly half a turn apart, and rounding half to even keeps
    # them so, as (10) requires.
    delta_h = h2 - h1
    delta_h = delta_h - _TURN * (delta_h / _TURN).round_()
    dl, dc = l2 - l1, c2 - c1  # (8, 9)
    dh = 2 * (c1 * c2).sqrt_() * torch.sin(0.5 * delta_h)  # (11)

    # The mean hue halves the shorter way (14). If a color has no hue it should be that of the other, but then dh is 0,
    # and everything that follows from the mean hue is multiplied by it.
    h = h1 + 0.5 * delta_h
    h = h - _TURN * (h / _TURN).floor_()
    l, c = 0.5 * (l1 + l2), 0.5 * (c1 + c2)  # noqa: E741 (the formula's own letters)
    t = 1 - 0.17 * torch.cos(h - math.radians(30)) + 0.24 * torch.cos(2 * h)
    t = t + 0.32 * torch.cos(3 * h + math.radians(6)) - 0.20 * torch.cos(4 * h - math.radians(63))  # (15)
    from_blue = (h - math.radians(275)) / math.radians(25)
    rotation = -2 * _saturation(c) * torch.sin(math.radians(60) * torch.exp(-(from_blue * from_blue)))  # (16, 17, 21)
    l_50 = (l - 50) * (l - 50)
    dl = dl / (1 + 0.015 * l_50 / (20 + l_50).sqrt_())  # (18)
    dc = dc / (1 + 0.045 * c)  # (19)
    dh = dh / (1 + 0.015 * c * t)  # (20)
    # The form is positive definite up to rounding (22).
    return (dl * dl + dc * dc + dh * dh + rotation * dc * dh).clamp_min_(0).sqrt_()


def _saturation(chroma: Tensor) -> Tensor:
    """Return sqrt(C^7 / (C^7 + 25^7)): 0 for dull colors and 1 for vivid ones."""
    squared = chroma * chroma
    c7 = chroma * squared * squared * squared
    return (c7 / (c7 + 25.0**7)).sqrt_()


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """Return the hue angle in 0..2 pi; 0 where there is no color."""
    angle = torch.atan2(b, a)
    return angle + _TURN * (angle < 0).to(angle.dtype)
