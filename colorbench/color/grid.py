"""Construction of the 313 ab bins of CIC, and the grid that contains them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from colorbench.color.lab import rgb_to_lab

GRID = 10

# The grid of bins is a dense map with a margin, so that neighborhoods never leave it.
MAP_EDGE = 20
"""Grid steps from the origin to the edges of the dense map."""
MAP_SIDE = 2 * MAP_EDGE + 1
"""Points per side of the dense map."""
REACH = 3
"""Grid steps around a cell that are searched for neighbors; all other bins are at least this far away."""
INSIDE = MAP_EDGE - REACH
"""Grid steps from the origin within which all accessed cells are on the map."""


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # the cached tensor must be usable in training
def ab_bins() -> Tensor:
    """Return the ab values of the bins on the grid, (313, 2) float32, sorted by a, then b; (0, 0) is bin 120.

    The result is shared: do not write into it.
    """
    from scipy.spatial import ConvexHull  # takes a quarter of a second to import, and is needed only here

    # A coarse color cube is enough for the hull: 5 values per channel give the same 313 bins as 101.
    axis = torch.linspace(0, 1, 17, dtype=torch.float64)
    cube = torch.cartesian_prod(axis, axis, axis).T[:, None]  # (3, 1, 17^3)
    ab = rgb_to_lab(cube)[1:, 0].T.numpy()
    # Within a Chebyshev distance of 10 of a convex set: inside the hull of the set shifted to the corners of that
    # square.
    corners = np.array([(-GRID, -GRID), (-GRID, GRID), (GRID, -GRID), (GRID, GRID)])
    hull = ConvexHull((ab[:, None] + corners).reshape(-1, 2))
    ticks = GRID * np.arange(-MAP_EDGE, MAP_EDGE + 1)
    points = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = (points @ hull.equations[:, :2].T + hull.equations[:, 2] <= 1e-9).all(axis=1)
    return torch.from_numpy(points[inside].astype(np.float32))


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # the cached tensor must be usable in training
def bin_of_grid_point(device: torch.device) -> Tensor:
    """Return the bin of each point of the dense map, (41 * 41,) int64, -1 for none. Do not write into it."""
    index = torch.full((MAP_SIDE * MAP_SIDE,), -1)
    at = (ab_bins() / GRID).long() + MAP_EDGE
    index[at[:, 0] * MAP_SIDE + at[:, 1]] = torch.arange(len(at))
    return index.to(device)
