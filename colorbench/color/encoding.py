"""Soft encoding of ab colors on their K nearest bins (paper, section 2.2), exact and sparse."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from colorbench.color.bins import squared_distances
from colorbench.color.compiled.jit import exact_dtype, pixels_of
from colorbench.color.compiled.neighbor_table import neighbor_patterns
from colorbench.color.grid import GRID, INSIDE, MAP_EDGE, MAP_SIDE, REACH, ab_bins, bin_of_grid_point

if TYPE_CHECKING:
    from colorbench.color.compiled.bins import Tables

NEIGHBORS = 10  # As in the released code; the paper's text says 5, "a typo" (richzhang/colorization issue 59).
SIGMA = 5.0

_FAST = 12  # largest K of the fast paths


class SoftCode(NamedTuple):
    """Sparse soft encoding of ab: K bins and weights per pixel."""

    indices: Tensor
    """(..., H, W, K) int64, bins."""
    weights: Tensor
    """(..., H, W, K), summing to 1 over K."""

    def dense(self) -> Tensor:
        """Return the dense form, (..., H, W, 313): the weights at their bins, 0 elsewhere."""
        dense = self.weights.new_zeros(*self.weights.shape[:-1], len(ab_bins()))
        return dense.scatter_(-1, self.indices, self.weights)


def soft_encode(ab: Tensor, neighbors: int = NEIGHBORS, sigma: float = SIGMA) -> SoftCode:
    """Compute the soft encoding: Gaussian weights on the K nearest bins, normalized over K (released code: NNEncode).

    Of bins at equal distance the one with the lower index is taken. The K bins of a pixel are in no particular order.

    Args:
        ab: (..., 2, H, W) floating.
        neighbors: K, 1 to 313.
        sigma: standard deviation in ab units.

    Raises:
        ValueError: for K outside 1..313 or sigma not positive.
    """
    if not 1 <= neighbors <= len(ab_bins()) or sigma <= 0:
        raise ValueError(f"neighbors must be 1..{len(ab_bins())} and sigma positive, got {neighbors} and {sigma}")
    # Below sigma 1, weights exceed the range of float32.
    plain = neighbors > _FAST or ab.dtype == torch.float64 or sigma < 1
    if not plain and ab.device.type == "cpu":
        return _encode_on_cpu(ab, neighbors, sigma)
    a, b = (channel.reshape(-1) for channel in ab.unbind(-3))
    code = _weigh(_nearest(a, b, neighbors), sigma) if plain else _encode_by_search(a, b, neighbors, sigma)
    shape = _shape(ab, neighbors)
    return SoftCode(code.indices.view(shape), code.weights.to(ab.dtype).view(shape))


def _shape(ab: Tensor, count: int) -> tuple[int, ...]:
    """Return the shape of the code of (..., 2, H, W)."""
    *leading, _, height, width = ab.shape
    return (*leading, height, width, count)


class _Neighbors(NamedTuple):
    indices: Tensor  # (n, K)
    squared: Tensor  # (n, K) squared distances


def _weigh(neighbors: _Neighbors, sigma: float) -> SoftCode:
    # Subtracting the nearest distance keeps the exponential in range; squared distances are in ascending order.
    weights = ((neighbors.squared - neighbors.squared[:, :1]) / (-2 * sigma * sigma)).exp()
    return SoftCode(neighbors.indices, weights / weights.sum(dim=1, keepdim=True))


def _nearest(a: Tensor, b: Tensor, count: int) -> _Neighbors:
    """Find the nearest bins by all 313 distances, for any K and color; the sort is stable, so that ties go by index."""
    squared, indices = squared_distances(a, b).sort(dim=1, stable=True)
    return _Neighbors(indices[:, :count], squared[:, :count])


def _encode_by_search(a: Tensor, b: Tensor, count: int, sigma: float) -> SoftCode:
    """Encode on any device, K <= 12: search the 36 grid points around a color where these are certain to be enough."""
    scaled = torch.stack([a, b]).to(exact_dtype(a.device)) / GRID  # (2, n)
    inside = (scaled.abs() < INSIDE).all(dim=0)
    corner = torch.where(inside, scaled, 0).floor()  # lower grid point
    row, column = (corner.long() + MAP_EDGE).unbind()
    offsets = _offsets().to(scaled)  # (36, 2)
    steps = (offsets[:, 0] * MAP_SIDE + offsets[:, 1]).long()
    around = bin_of_grid_point(a.device)[(row * MAP_SIDE + column)[:, None] + steps]  # (n, 36)
    squared = ((scaled - corner).T[:, None] - offsets).square_().sum(-1).masked_fill_(around < 0, torch.inf)
    squared, order = squared.sort(dim=1, stable=True)
    code = _weigh(_Neighbors(around.gather(1, order[:, :count]), squared[:, :count] * GRID**2), sigma)
    # A grid point that was not looked at is at least that far away.
    far = ((squared[:, count - 1] >= REACH**2) | ~inside).nonzero()[:, 0]
    if len(far):
        _fill_plainly(code, far, a[far], b[far], sigma)
    return code


def _encode_on_cpu(ab: Tensor, count: int, sigma: float) -> SoftCode:
    """Encode on a CPU in float32, K <= 12.

    On an infinite grid, the K nearest points depend only on the position within a grid cell. A table of 81 x 81
    positions gives the pattern of offsets, or the borders between patterns that cross the position; then the side of
    the border on which a pixel lies decides. Pixels at junctions of many borders, and those whose pattern extends
    beyond the edge of the bins, are searched, so the result is exact.
    """
    from colorbench.color.compiled.bins import encode

    maps, shape = pixels_of(ab.float()), _shape(ab, count)
    # For a single map, the time of each torch call matters.
    indices, weights = np.empty(shape, np.int64), np.empty(shape, np.float32)
    rows = indices.reshape(-1, count), weights.reshape(-1, count)
    scale = np.float32(GRID * GRID / (2 * sigma * sigma) * math.log2(math.e))
    if encode(maps, _tables(count), scale, *rows):
        flat = SoftCode(*map(torch.from_numpy, rows))
        rest = (flat.indices[:, 0] < 0).nonzero()[:, 0]
        a, b = (torch.from_numpy(maps[:, channel].reshape(-1))[rest] for channel in (0, 1))
        _fill_plainly(flat, rest, a, b, sigma)
    code = SoftCode(torch.from_numpy(indices), torch.from_numpy(weights))
    return code if ab.dtype == torch.float32 else code._replace(weights=code.weights.to(ab.dtype))


def _fill_plainly(code: SoftCode, rows: Tensor, a: Tensor, b: Tensor, sigma: float) -> None:
    """Encode the pixels ``rows`` by comparing all bins; ``a`` and ``b`` are (rows,)."""
    plain = _weigh(_nearest(a, b, code.indices.shape[1]), sigma)
    code.indices[rows], code.weights[rows] = plain.indices, plain.weights.to(code.weights.dtype)


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # the cached tensor must be usable in training
def _offsets() -> Tensor:
    """Return (36, 2) grid steps from the lower corner of a cell to the points around it, in order of index."""
    reach = torch.arange(1 - REACH, REACH + 1, dtype=torch.float64)
    return torch.cartesian_prod(reach, reach)


@lru_cache(maxsize=16)
def _tables(count: int) -> Tables:
    from colorbench.color.compiled.bins import PADDED, Tables

    offsets = _offsets().numpy()  # (36, 2)
    plan = neighbor_patterns(offsets, count)
    at = offsets[plan.members]  # (patterns, K, 2)
    exponents = np.zeros((len(at), 3, PADDED), np.float32)
    exponents[:, 0] = -np.inf
    exponents[:, :, :count] = np.stack([-(at**2).sum(-1), 2 * at[..., 0], 2 * at[..., 1]], axis=1)
    steps = np.zeros((len(at), PADDED), np.int32)
    steps[:, :count] = at[..., 0] * MAP_SIDE + at[..., 1]
    return Tables(
        plan.node,
        plan.borders,
        plan.outcome,
        exponents.reshape(-1),
        steps.reshape(-1),
        (0,) * count,
        bin_of_grid_point(torch.device("cpu")).numpy().astype(np.int16),
    )
