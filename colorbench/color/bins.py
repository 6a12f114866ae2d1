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

GRID = 10
NEIGHBOURS = 10  # The released code; the paper's text prints 5, "a typo" (richzhang/colorization issue 59).
SIGMA = 5.0
TEMPERATURE = 0.38

Decoding = Literal["annealed-mean", "mean", "mode"]

# The bins' grid is kept as a dense map with a margin, so that neighbourhoods never fall off it.
_LOW, _SIDE = -200, 41
_CELLS = 320  # cells per grid step of the table of neighbour patterns
_REACH = 3  # grid steps that are looked around


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

    A table over 320 x 320 places of a cell tells which of a few patterns of offsets holds; it decides wherever all
    K exist. Places through which a border between two patterns runs are searched among the 36 grid points around,
    pixels beyond the edge of the bins among all 313; so the answer is exact.
    """
    table = _patterns(count, points.device)
    scaled = points.T.contiguous() / GRID  # (2, n): long rows are what torch is fast at
    corner = scaled.floor()  # lower grid point
    place = scaled - corner  # in 0..1
    cell = (place * _CELLS).int().clamp_max_(_CELLS - 1)
    grid = corner.clamp_(_LOW // GRID + _REACH, -_LOW // GRID - _REACH).int().sub_(_LOW // GRID)
    flat = (grid[0] * _SIDE + grid[1]).long()
    pattern = table.pattern.index_select(0, cell[0] * _CELLS + cell[1])  # (n,), -1: no single one
    unclear = pattern < 0
    pattern = pattern.clamp_min(0)
    # exp of -|place - offset|^2 without its part |place|^2, which is common to the K; it stays within float32.
    da, db, norm = table.offsets.index_select(0, pattern).chunk(3, dim=1)
    a, b = place[0][:, None], place[1][:, None]
    scale = GRID * GRID / (2 * sigma * sigma)
    weights = torch.addcmul(norm, a, da, value=-2).addcmul_(b, db, value=-2).mul_(-scale).exp_()
    weights /= (weights @ weights.new_ones(count))[:, None]
    indices = table.grid_index.take(table.steps.index_select(0, pattern).add_(flat[:, None]))
    rest = (unclear | ~table.interior[flat]).nonzero()[:, 0]
    if len(rest):
        # Near the edge a pattern still decides where each of its bins exists.
        rest = rest[unclear[rest] | (indices[rest] < 0).any(dim=1)]
        found = _search_around(points[rest], place.T[rest], flat[rest], count, table.grid_index)
        indices[rest], weights[rest] = _weigh(found, sigma, weights.dtype)
    return SoftCode(indices, weights)


def _search_around(points: Tensor, place: Tensor, flat: Tensor, count: int, grid_index: Tensor) -> _Neighbours:
    offsets = _offsets(points.device)  # (36, 2)
    around = grid_index[flat[:, None].long() + (offsets @ offsets.new_tensor([_SIDE, 1.0])).long()]  # (n, 36)
    da, db = (place[:, i : i + 1].double() - offsets[:, i] for i in (0, 1))  # (n, 36)
    squared = (da * da + db * db).masked_fill_(around < 0, torch.inf)
    squared, order = squared.sort(dim=1, stable=True)
    indices, squared = around.gather(1, order[:, :count]), squared[:, :count]
    # A grid point that was not looked at is at least 3 grid steps away.
    outside = (points.abs() >= -_LOW - _REACH * GRID).any(dim=1)  # of the map: its corner was moved
    far = ((squared[:, -1] >= _REACH**2) | outside).nonzero()[:, 0]
    found = _Neighbours(indices, squared * GRID**2)
    if len(far):
        plain = _nearest(points[far], count)
        found.indices[far], found.squared[far] = plain.indices, plain.squared.to(squared.dtype)
    return found


class _Patterns(NamedTuple):
    pattern: Tensor  # (cells^2,) int32: which pattern holds in the whole place, -1 where no single one does
    offsets: Tensor  # (patterns, 3K) float32: offsets in a, in b, their squared norms
    steps: Tensor  # (patterns, K) int64: the offsets as steps in the flat map
    interior: Tensor  # (side^2,) bool: all 36 points around this cell are bins
    grid_index: Tensor  # (side^2,) int64, -1 where the grid point is no bin


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept must serve training later, too
def _offsets(device: torch.device) -> Tensor:
    """(36, 2) grid steps from the lower corner of a cell to the points around it, in the order of their indices."""
    reach = torch.arange(-_REACH + 1, _REACH + 1, dtype=torch.float32)
    return torch.cartesian_prod(reach, reach).to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept must serve training later, too
def _patterns(count: int, device: torch.device) -> _Patterns:
    offsets = _offsets(torch.device("cpu")).double().numpy()  # (36, 2)
    ticks = np.arange(_CELLS + 1) / _CELLS
    nodes = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1)  # (cells + 1, cells + 1, 2)
    squared = ((nodes[..., None, :] - offsets) ** 2).sum(-1)
    order = squared.argsort(axis=-1, kind="stable")
    last = np.take_along_axis(squared, order[..., count - 1 : count + 1], axis=-1)
    clear = last[..., 1] - last[..., 0] > 1e-6
    members = np.sort(order[..., :count], axis=-1)
    # Which of two bins is nearer is linear in the place: a set that is strictly nearest at the four corners of a
    # cell is nearest in all of it.
    corners = [(slice(i, _CELLS + i), slice(j, _CELLS + j)) for i in (0, 1) for j in (0, 1)]
    chosen = members[corners[0]]
    simple = np.logical_and.reduce([clear[c] & (members[c] == chosen).all(-1) for c in corners])
    known, which = np.unique(chosen.reshape(-1, count), axis=0, return_inverse=True)
    pattern = np.where(simple.reshape(-1), which.reshape(-1), -1).astype(np.int32)
    at = offsets[known]  # (patterns, K, 2)
    index = _grid_index(torch.device("cpu")).numpy().reshape(_SIDE, _SIDE)
    interior = np.zeros_like(index, dtype=bool)
    for i, j in np.ndindex(_SIDE - 2 * _REACH, _SIDE - 2 * _REACH):
        interior[i + _REACH, j + _REACH] = (index[i + 1 : i + 2 * _REACH + 1, j + 1 : j + 2 * _REACH + 1] >= 0).all()
    return _Patterns(
        torch.from_numpy(pattern).to(device),
        torch.from_numpy(np.concatenate([at[..., 0], at[..., 1], (at**2).sum(-1)], -1).astype(np.float32)).to(device),
        torch.from_numpy((at[..., 0] * _SIDE + at[..., 1]).astype(np.int64)).to(device),
        torch.from_numpy(interior.reshape(-1)).to(device),
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
