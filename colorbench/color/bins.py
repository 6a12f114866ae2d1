"""The Q = 313 quantized ab values: construction, soft encoding, decoding (paper, section 2.2).

The paper's authors never released their construction. This one gives exactly their set, in their order: the multiples
of 10 within a Chebyshev distance of 10 of the convex hull of all sRGB colours in ab.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch import Tensor

from colorbench.color.lab import rgb_to_lab
from colorbench.color.neighbours import neighbour_patterns

GRID = 10
NEIGHBOURS = 10  # The released code; the paper's text prints 5, "a typo" (richzhang/colorization issue 59).
SIGMA = 5.0
TEMPERATURE = 0.38

Decoding = Literal["annealed-mean", "mean", "mode"]

# The bins' grid is kept as a dense map with a margin, so that neighbourhoods never fall off it.
_LOW, _SIDE = -200, 41
_CELLS = 320  # places per grid step of the table of neighbour patterns
_REACH = 3  # grid steps that are looked around
_INSIDE = -_LOW / GRID - _REACH  # grid steps from the origin within which all that is looked at lies on the map
_BLOCK = 1 << 14  # pixels at a time: what is made for them stays in the processor's cache


class SoftCode(NamedTuple):
    """Soft encoding of ab, sparse: K bins a pixel."""

    indices: Tensor
    """(..., H, W, K) int64, bins."""
    weights: Tensor
    """(..., H, W, K), summing to 1 over K."""

    def dense(self) -> Tensor:
        """(..., H, W, 313): the weights in their places, 0 elsewhere."""
        dense = self.weights.new_zeros(*self.weights.shape[:-1], len(ab_bins()))
        return dense.scatter_(-1, self.indices, self.weights)


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # what is kept must serve training later, too
def ab_bins() -> Tensor:
    """The bins' ab values, (313, 2) float32, sorted by a, then b; (0, 0) is bin 120. Do not write into it."""
    # The hull needs only a coarse cube: 5 values a channel already give the same 313 as 101 do.
    axis = torch.linspace(0, 1, 17, dtype=torch.float64)
    cube = torch.cartesian_prod(axis, axis, axis).T[:, None]  # (3, 1, 17^3)
    ab = rgb_to_lab(cube)[1:, 0].T.numpy()
    # Chebyshev distance <= 10 of a convex set: inside the hull of the set moved to the corners of that square.
    corners = np.array([(-GRID, -GRID), (-GRID, GRID), (GRID, -GRID), (GRID, GRID)])
    hull = ConvexHull((ab[:, None] + corners).reshape(-1, 2))
    ticks = np.arange(_LOW, -_LOW + 1, GRID)
    points = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = (points @ hull.equations[:, :2].T + hull.equations[:, 2] <= 1e-9).all(axis=1)
    return torch.from_numpy(points[inside].astype(np.float32))


def nearest_bin(ab: Tensor) -> Tensor:
    """Index of the nearest bin; of several at one distance the lowest.

    Args:
        ab: (..., 2, H, W) floating.

    Returns:
        (..., H, W) int64. Half of the bins' outermost ring is the nearest of no sRGB colour (52 of 313).
    """
    a, b = ab.unbind(-3)
    # Rounding halves down takes the lower grid point, whose index is the lower one too.
    row, column = ((torch.ceil(x / GRID - 0.5).clamp(_LOW // GRID, -_LOW // GRID)).int() - _LOW // GRID for x in (a, b))
    index = _grid_index(ab.device)[(row * _SIDE + column).long()]
    outside = index < 0
    if bool(outside.any()):
        # The grid point is no bin: only colours outside the sRGB gamut come here.
        index[outside] = _nearest(torch.stack([a[outside], b[outside]], dim=-1), 1).indices[:, 0]
    return index


def soft_encode(ab: Tensor, neighbours: int = NEIGHBOURS, sigma: float = SIGMA) -> SoftCode:
    """Gaussian weights on the K nearest bins, normalized over the K (NNEncode of the released code).

    Bins at equal distance enter in the order of their index. The K of a pixel are in no particular order.

    Args:
        ab: (..., 2, H, W) floating.
        neighbours: K, 1 to 313.
        sigma: standard deviation in ab units.

    Raises:
        ValueError: for K outside 1..313 or sigma not positive.
    """
    if not 1 <= neighbours <= len(ab_bins()) or sigma <= 0:
        raise ValueError(f"neighbours must be 1..{len(ab_bins())} and sigma positive, got {neighbours} and {sigma}")
    points = ab.movedim(-3, -1)  # (..., H, W, 2)
    shape = points.shape[:-1]
    points = points.reshape(-1, 2)
    if neighbours > 12 or ab.dtype == torch.float64:
        code = _weigh(_nearest(points, neighbours), sigma, ab.dtype)
    else:
        code = _encode_by_pattern(points, neighbours, sigma)
    return SoftCode(code.indices.reshape(*shape, neighbours), code.weights.reshape(*shape, neighbours))


def decode(log_probabilities: Tensor, method: Decoding = "annealed-mean", temperature: float = TEMPERATURE) -> Tensor:
    """A point estimate of ab from a distribution over the bins (paper, equation 5).

    Args:
        log_probabilities: (N, 313, H, W); logits do as well, since every method is invariant to a constant.
        method: ``mean`` (T = 1), ``mode`` (the most probable bin) or ``annealed-mean``: the mean of softmax(log z / T).
        temperature: T of the annealed mean, positive.

    Returns:
        (N, 2, H, W) ab.

    Raises:
        ValueError: for an unknown method or a temperature that is not positive.
    """
    if method not in get_args(Decoding):
        raise ValueError(f"unknown decoding {method!r}: choose from {', '.join(get_args(Decoding))}")
    bins = ab_bins().to(log_probabilities)
    if method == "mode":
        return bins[log_probabilities.argmax(dim=1)].movedim(-1, 1)
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}; T towards 0 is the mode")
    scaled = log_probabilities if method == "mean" else log_probabilities / temperature
    return torch.einsum("nqhw,qc->nchw", scaled.softmax(dim=1), bins)


class _Neighbours(NamedTuple):
    indices: Tensor  # (n, K)
    squared: Tensor  # (n, K) squared distances


def _nearest(points: Tensor, count: int) -> _Neighbours:
    """The plain way, for any K and any place: all 313 distances, sorted stably so that ties go by index."""
    # In float64: far out, squared distances in float32 would lose the differences that the weights are made of.
    bins = ab_bins().to(points.device).double()
    squared = ((points.double()[:, None] - bins) ** 2).sum(-1)  # (n, 313)
    squared, indices = squared.sort(dim=1, stable=True)
    return _Neighbours(indices[:, :count], squared[:, :count])


def _weigh(neighbours: _Neighbours, sigma: float, dtype: torch.dtype) -> SoftCode:
    # Differences from the nearest keep the exponential in range; squared distances come in rising order.
    weights = ((neighbours.squared - neighbours.squared[:, :1]) / (-2 * sigma * sigma)).exp()
    return SoftCode(neighbours.indices, (weights / weights.sum(dim=1, keepdim=True)).to(dtype))


def _encode_by_pattern(points: Tensor, count: int, sigma: float) -> SoftCode:
    """The fast way: on an endless grid, the K nearest depend only on the place within a grid cell.

    A table over 321 x 321 places of a cell tells the pattern of offsets, or which borders between patterns run through
    the place: then the sides on which a pixel lies tell. Another table says which bins a pattern means in a cell. What
    is left, at junctions of many borders and where a pattern reaches beyond the edge of the bins, is searched; so the
    answer is exact.
    """
    table = _patterns(count, sigma, points.device)
    indices = points.new_empty((len(points), count), dtype=torch.int64)
    weights = torch.empty_like(indices, dtype=torch.float32)
    ones = weights.new_ones(count)
    for start in range(0, len(points), _BLOCK):
        part = slice(start, start + _BLOCK)
        scaled = points[part].T.contiguous().float() / GRID  # (2, n): long rows are what torch is fast at
        corner = scaled.floor()  # lower grid point
        place = scaled - corner  # in 0..1
        grid = corner.clamp_(_LOW // GRID + _REACH, -_LOW // GRID - _REACH).int().sub_(_LOW // GRID)
        flat = grid[0] * _SIDE + grid[1]
        # Rounding gives grid points, where gray pixels lie by the thousand, the middle of a place.
        nearest = (place * _CELLS).round_().int()
        node = table.node.index_select(0, nearest[0] * (_CELLS + 1) + nearest[1])
        offset, da, db = table.borders.index_select(1, node).view(3, 2, -1)  # (2, n) each
        side = torch.addcmul(offset, place[0], da).addcmul_(place[1], db) > 0
        pattern = table.outcome.index_select(0, node * 4 + side[0] * 2 + side[1])
        row = flat * len(table.offsets) + pattern
        torch.index_select(table.indices, 0, row, out=indices[part])
        # exp of -|place - offset|^2 without its part |place|^2, which is common to the K; it stays within float32.
        norm, da, db = table.offsets.index_select(0, pattern).chunk(3, dim=1)
        a, b = place[0][:, None], place[1][:, None]
        some = torch.addcmul(norm, a, da, out=weights[part]).addcmul_(b, db).exp_()
        some /= (some @ ones)[:, None]
        rest = table.incomplete.index_select(0, row).nonzero()[:, 0]
        if len(rest):
            found = _search_around(place[:, rest], flat[rest].long(), count, table.grid_index)
            code = _weigh(found, sigma, weights.dtype)
            indices[part][rest], some[rest] = code.indices, code.weights
            # A grid point that was not looked at is at least 3 grid steps away; beyond the map the corner was moved.
            far = (found.squared[:, -1] >= (_REACH * GRID) ** 2) | (scaled[:, rest].abs() >= _INSIDE).any(dim=0)
            if bool(far.any()):
                rest = rest[far]
                plain = _weigh(_nearest(points[part][rest], count), sigma, weights.dtype)
                indices[part][rest], some[rest] = plain.indices, plain.weights
    return SoftCode(indices, weights.to(points.dtype))


def _search_around(place: Tensor, flat: Tensor, count: int, grid_index: Tensor) -> _Neighbours:
    """The K nearest of the 36 grid points around; of (2, n) places in cells whose flat numbers are (n,)."""
    offsets = _offsets(place.device)  # (36, 2)
    steps = (offsets[:, 0] * _SIDE + offsets[:, 1]).long()
    around = grid_index[flat[:, None] + steps]  # (n, 36)
    difference = place.T.double()[:, None] - offsets  # (n, 36, 2)
    squared = difference.square_().sum(-1).masked_fill_(around < 0, torch.inf)
    squared, order = squared.sort(dim=1, stable=True)
    return _Neighbours(around.gather(1, order[:, :count]), squared[:, :count] * GRID**2)


class _Patterns(NamedTuple):
    node: Tensor  # ((cells + 1)^2,) int32: what is known of each place
    borders: Tensor  # (6, nodes) float32: constant, factor in a, factor in b of two borders; positive on one side
    outcome: Tensor  # (4 nodes,) int32: pattern on either side of the two; the last pattern: to be searched
    offsets: Tensor  # (patterns, 3K) float32: the exponent's constant, its factors of the place in a and in b
    indices: Tensor  # (side^2 patterns, K) int64: bins of each pattern in each cell, -1 where there is none
    incomplete: Tensor  # (side^2 patterns,) bool: not all K are known
    grid_index: Tensor  # (side^2,) int64, -1 where the grid point is no bin


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training later, too
def _offsets(device: torch.device) -> Tensor:
    """(36, 2) grid steps from the lower corner of a cell to the points around it, in the order of their indices."""
    reach = torch.arange(-_REACH + 1, _REACH + 1, dtype=torch.float32)
    return torch.cartesian_prod(reach, reach).to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept must serve training later, too
def _patterns(count: int, sigma: float, device: torch.device) -> _Patterns:
    offsets = _offsets(torch.device("cpu")).double().numpy()  # (36, 2)
    plan = neighbour_patterns(offsets, count, _CELLS)
    at = offsets[plan.members]  # (patterns, K, 2)
    scale = GRID * GRID / (2 * sigma * sigma)
    factors = [-scale * (at**2).sum(-1), 2 * scale * at[..., 0], 2 * scale * at[..., 1]]
    steps = (at[..., 0] * _SIDE + at[..., 1]).astype(np.int64)
    grid_index = _grid_index(torch.device("cpu")).numpy()
    cells = np.arange(_SIDE * _SIDE)[:, None, None]
    # Steps off the map are taken from its margin, where there is no bin either.
    indices = grid_index[(cells + steps).clip(0, _SIDE * _SIDE - 1)]  # (side^2, patterns, K)
    incomplete = (indices < 0).any(-1)
    incomplete[:, -1] = True
    return _Patterns(
        torch.from_numpy(plan.node).to(device),
        torch.from_numpy(plan.borders).to(device),
        torch.from_numpy(plan.outcome).to(device),
        torch.from_numpy(np.concatenate(factors, axis=1).astype(np.float32)).to(device),
        torch.from_numpy(indices.reshape(-1, count)).to(device),
        torch.from_numpy(incomplete.reshape(-1)).to(device),
        _grid_index(device),
    )


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training later, too
def _grid_index(device: torch.device) -> Tensor:
    """(41 * 41,) int64: grid point -> bin, -1 where there is none."""
    index = torch.full((_SIDE * _SIDE,), -1)
    at = ((ab_bins() - _LOW) / GRID).long()
    index[at[:, 0] * _SIDE + at[:, 1]] = torch.arange(len(at))
    return index.to(device)
