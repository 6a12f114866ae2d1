"""Nearest bins of ab colors, and decoding of distributions over the 313 bins (paper, section 2.2).

The paper's authors never released their construction. This one gives exactly their set, in their order: the multiples
of 10 within a Chebyshev distance of 10 of the convex hull of all sRGB colors in ab.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from colorbench.color.compiled.jit import compilable, exact_dtype, pixels_of
from colorbench.color.grid import GRID, MAP_EDGE, MAP_SIDE, ab_bins, bin_of_grid_point

TEMPERATURE = 0.38
"""Temperature of the annealed mean (paper, section 2.3)."""
Decoding = Literal["annealed-mean", "mean", "mode"]
"""Method that reduces a distribution over the bins to one color."""


def nearest_bin(ab: Tensor) -> Tensor:
    """Return the index of the color bin nearest to every pixel; ties go to the lowest index.

    Args:
        ab: (..., 2, H, W) floating.

    Returns:
        (..., H, W) int64. 52 of the 313 bins, on the outer edge, are not the nearest bin of any sRGB color.

    Raises:
        ValueError: for NaN or infinity.
    """
    index = _nearest_compiled(ab) if compilable(ab) else _nearest_by_tensors(ab)
    if index is None:
        raise ValueError("ab contains NaN or infinity")
    return index


def _nearest_compiled(ab: Tensor) -> Tensor | None:
    from colorbench.color.compiled.bins import nearest

    index = torch.empty((*ab.shape[:-3], 1, *ab.shape[-2:]), dtype=torch.int64)
    fine = nearest(pixels_of(ab), bin_of_grid_point(ab.device).numpy(), ab_bins().numpy(), pixels_of(index)[:, 0])
    return index.squeeze(-3) if fine else None


def _nearest_by_tensors(ab: Tensor) -> Tensor | None:
    if not bool(ab.isfinite().all()):
        return None
    a, b = ab.unbind(-3)
    # Rounding halves down takes the lower grid point, whose index is the lower one too.
    row, column = (torch.ceil(x / GRID - 0.5).clamp(-MAP_EDGE, MAP_EDGE).int() + MAP_EDGE for x in (a, b))
    index = bin_of_grid_point(ab.device)[(row * MAP_SIDE + column).long()]
    outside = index < 0
    if bool(outside.any()):
        # The nearest grid point has no bin. This happens only for colors outside the sRGB gamut.
        index[outside] = squared_distances(a[outside], b[outside]).argmin(dim=1)
    return index


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances of (n,) a and b to every color bin, (n, 313).

    They are computed in float64: far from the bins, float32 would lose the differences.
    """
    points = torch.stack([a, b], dim=1).to(exact_dtype(a.device))
    return ((points[:, None] - ab_bins().to(points)) ** 2).sum(-1)


def decode(log_probabilities: Tensor, method: Decoding = "annealed-mean", temperature: float = TEMPERATURE) -> Tensor:
    """Return a point estimate of ab from a distribution over the color bins (paper, equation 5).

    Args:
        log_probabilities: (N, 313, H, W); logits may be given instead, since every method is invariant to an added
            constant.
        method: ``mean`` (T = 1), ``mode`` (the most probable bin) or ``annealed-mean``: the mean of softmax(log z / T).
        temperature: T of the annealed mean, positive.

    Returns:
        (N, 2, H, W) ab.

    Raises:
        ValueError: for an unknown method or a temperature that is not positive.
    """
    if method not in get_args(Decoding):
        raise ValueError(f"unknown decoding {method!r}: choose from {', '.join(get_args(Decoding))}")
    if log_probabilities.dtype in (torch.float16, torch.bfloat16):
        log_probabilities = log_probabilities.float()  # half precision has too few digits for the ab of the bins
    bins = ab_bins().to(log_probabilities)
    if method == "mode":
        return bins[log_probabilities.argmax(dim=1)].movedim(-1, 1)
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}; use decode=mode for the limit T -> 0")
    last = log_probabilities.movedim(1, -1)  # (N, H, W, 313); no copy for the output of a channels-last network
    scaled = last if method == "mean" else last / temperature
    with torch.autocast(last.device.type, enabled=False):  # no part of a network
        return (scaled.softmax(dim=-1) @ bins).movedim(-1, 1)
