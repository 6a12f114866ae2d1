"""Nearest bins and soft encoding, compiled (see ``colorbench/color/compiled/jit.py``)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from colorbench.color.compiled.jit import compiled, f32, f64, i32, i64, u32, u64
from colorbench.color.compiled.neighbor_table import CELLS
from colorbench.color.grid import GRID, INSIDE, MAP_EDGE, MAP_SIDE, REACH

PADDED = 16
"""Exponents per pattern, padded with unused ones to fill whole vector registers."""


_BLOCK = 64
_STRETCH = 1024
_STEP, _FINE, _INSIDE, _EDGE = f32(GRID), f32(CELLS), f32(INSIDE), f32(MAP_EDGE)
_SIDE, _POSITIONS = i32(MAP_SIDE), i32(CELLS + 1)
_ZERO, _HALF, _ONE = f32(0), f32(0.5), f32(1)
_INFINITE = f32(np.inf)
_LOWEST = f32(-126)  # of float32's exponents
_ROUNDER = f32(1.5 * 2**23)  # adding and subtracting it rounds to whole numbers
# 2^x for x in -0.5..0.5: the polynomial of degree 5 with the least largest relative error, 9.2e-8.
_P5, _P4, _P3 = f32(0.0013264727), f32(0.0096715127), f32(0.0555073374)
_P2, _P1 = f32(0.2402224208), f32(0.6931469776)


class Tables(NamedTuple):
    """Lookup tables of the soft encoding for one K: contiguous, and small enough for the first-level caches."""

    node: np.ndarray
    """((CELLS + 1)^2,) uint16: flags of each position in a cell."""
    borders: np.ndarray
    """(nodes, 6) float32: constant, factor in a, factor in b of two borders; positive on one side."""
    outcome: np.ndarray
    """(4 nodes,) int32: pattern for each combination of sides; the last index means "no pattern, search"."""
    exponents: np.ndarray
    """(patterns * 3 * PADDED,) float32: per pattern, -|offset|^2 and the factors of the position in a and in b."""
    steps: np.ndarray
    """(patterns * PADDED,) int32: from a cell's lower grid point to each pattern's K points on the dense map."""
    neighbors: tuple[int, ...]
    """K zeros; the length of a tuple is known at compile time, so that loops over it are unrolled."""
    bin_of_grid_point: np.ndarray
    """(MAP_SIDE^2,) int16: bin of each grid point of the dense map, -1 for none."""


@compiled
def _search(x: Any, y: Any, cell: Any, grid: Any, scale: Any, indices: Any, weights: Any) -> bool:
    """Find the K nearest bins of one pixel by all distances; return False if the searched points may be too few.

    Args:
        x: position in its grid cell along a, 0..1, float64.
        y: position along b.
        cell: number of its lower grid point on the dense map.
        grid: ``Tables.bin_of_grid_point``.
        scale: see ``encode``.
        indices: (K,) int64, filled with bins in order of distance, ties in order of index.
        weights: (K,) float32, filled.
    """
    count = indices.size
    squared = np.empty(count, np.float64)
    filled = 0
    for da in range(1 - REACH, REACH + 1):
        for db in range(1 - REACH, REACH + 1):
            one = grid[cell + da * MAP_SIDE + db]
            distance = (x - da) ** 2 + (y - db) ** 2
            if one < 0 or (filled == count and distance >= squared[count - 1]):
                continue
            at = min(filled, count - 1)
            while at > 0 and squared[at - 1] > distance:
                squared[at], indices[at] = squared[at - 1], indices[at - 1]
                at -= 1
            squared[at], indices[at] = distance, one
            filled = min(filled + 1, count)
    # Every grid point outside the searched ones is at least this far away.
    if filled < count or squared[count - 1] >= REACH * REACH:
        return False
    total = 0.0
    nearest = squared[0]
    for k in range(count):
        squared[k] = 2.0 ** (scale * (nearest - squared[k]))
        total += squared[k]
    for k in range(count):
        weights[k] = squared[k] / total
    return True


@compiled
def _grid_points(a: Any, b: Any, points: Any) -> Any:
    """Find the nearest point of the dense map for each color; return how many colors are not finite."""
    infinite = i32(0)
    for p in range(points.size):
        infinite += i32(not (abs(a[p]) < _INFINITE and abs(b[p]) < _INFINITE))
        # Rounding halves down takes the lower grid point, whose index is the lower one too.
        row = min(max(np.ceil(a[p] / _STEP - _HALF), -_EDGE), _EDGE) + _EDGE
        column = min(max(np.ceil(b[p] / _STEP - _HALF), -_EDGE), _EDGE) + _EDGE
        points[p] = i32(row) * _SIDE + i32(column)
    return infinite


@compiled
def _bins_at(points: Any, grid: Any, out: Any) -> Any:
    """Look up the bin of each point; return whether any point has none."""
    none = i64(0)
    for p in range(points.size):
        found = i64(grid[u32(points[p])])
        none |= found
        out[p] = found
    return none < 0


@compiled
def _nearest_by_distance(a: Any, b: Any, bins: Any, out: Any) -> None:
    """Fill in the nearest bins of colors whose grid point has no bin (outside the sRGB gamut)."""
    for p in range(out.size):
        if out[p] < 0:
            minimum = np.inf
            for k in range(bins.shape[0]):
                squared = (f64(a[p]) - f64(bins[k, 0])) ** 2 + (f64(b[p]) - f64(bins[k, 1])) ** 2
                if squared < minimum:
                    minimum, out[p] = squared, k


@compiled
def nearest(ab: Any, grid: Any, bins: Any, out: Any) -> bool:
    """Write the index of the nearest color bin of each pixel in a compiled loop, at ties the lowest.

    Returns False at a NaN or infinity; the output is then incomplete.

    Args:
        ab: (N, 2, n) float32.
        grid: (MAP_SIDE^2,) int64, bin of each point of the dense map.
        bins: (313, 2) float32.
        out: (N, n) int64, filled.
    """
    points = np.empty(_STRETCH, np.int32)
    for image in range(ab.shape[0]):
        for start in range(0, ab.shape[2], _STRETCH):
            stop = min(start + _STRETCH, ab.shape[2])
            a, b, found = ab[image, 0, start:stop], ab[image, 1, start:stop], out[image, start:stop]
            if _grid_points(a, b, points[: stop - start]):
                return False
            if _bins_at(points[: stop - start], grid, found):
                _nearest_by_distance(a, b, bins, found)
    return True


@compiled
def encode(ab: Any, table: Any, scale: Any, indices: Any, weights: Any) -> int:
    """Write the soft encoding of ab on the nearest bins in a compiled loop, K <= 12.

    Pixels are processed in blocks by three loops: find the cell, compute the powers, write the result. No loop reads
    what was just written, which would take half as much time again.

    Args:
        ab: (N, 2, n) float32.
        table: ``Tables`` for K.
        scale: float32; a weight is 2^(-scale d^2) with d in grid steps; at most 100.
        indices: (N n, K) int64, filled with bins; -1 in the first column where a pixel is left undone.
        weights: (N n, K) float32, filled, summing to 1 over K.

    Returns:
        The number of pixels left undone: those far from all bins, and those that are not finite.
    """
    node, borders, outcome, exponents, steps, neighbors, grid = table
    count, total = len(neighbors), u64(ab.shape[2])
    blocks = u32((ab.shape[2] + _BLOCK - 1) // _BLOCK)
    unknown = u32(steps.size // PADDED - 1)
    nowhere = unknown + u32(1)
    xs, ys = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    cells, found = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.uint32)
    powers = np.empty(_BLOCK * PADDED, np.float32)
    undone = 0
    for block in range(u32(ab.shape[0]) * blocks):
        image, start = u64(block // blocks), u64(block % blocks) * u64(_BLOCK)
        first_row = image * total + start
        size = min(total - start, u64(_BLOCK))
        for pixel in range(size):
            t = u64(pixel)
            x, y = ab[image, u32(0), start + t] / _STEP, ab[image, u32(1), start + t] / _STEP
            found[t] = nowhere
            # Also false for NaN.
            if not (abs(x) < _INSIDE and abs(y) < _INSIDE):
                continue
            corner_x, corner_y = np.floor(x), np.floor(y)
            x -= corner_x
            y -= corner_y
            # Rounding puts exact grid points (common: all gray pixels) in the middle of a table position.
            n = u32(node[u32(i32(x * _FINE + _HALF) * _POSITIONS + i32(y * _FINE + _HALF))])
            first = borders[n, u32(0)] + borders[n, u32(1)] * x + borders[n, u32(2)] * y > _ZERO
            second = borders[n, u32(3)] + borders[n, u32(4)] * x + borders[n, u32(5)] * y > _ZERO
            xs[t], ys[t] = x, y
            cells[t] = i32(corner_x + _EDGE) * _SIDE + i32(corner_y + _EDGE)
            found[t] = u32(outcome[u32(4) * n + u32(2) * u32(first) + u32(second)])
        for pixel in range(size):
            t = u64(pixel)
            if found[t] >= unknown:
                continue
            x, y = xs[t], ys[t]
            common = x * x + y * y
            base, at = u64(found[t]) * u64(3 * PADDED), t * u64(PADDED)
            for entry in range(PADDED):
                k = u64(entry)
                z = exponents[base + k] + x * exponents[base + u64(PADDED) + k]
                z = scale * (z + y * exponents[base + u64(2 * PADDED) + k] - common)
                z = max(z, _LOWEST)
                integer = z + _ROUNDER
                z -= integer - _ROUNDER
                power = ((((_P5 * z + _P4) * z + _P3) * z + _P2) * z + _P1) * z + _ONE
                powers[at + k] = power * i32((f32(integer).view(np.int32) + i32(127)) << i32(23)).view(np.float32)
        for pixel in range(size):
            t = u64(pixel)
            i = first_row + t
            lowest = -1
            if found[t] < unknown:
                at, base = t * u64(PADDED), u64(found[t]) * u64(PADDED)
                p = powers[at : at + u64(PADDED)]
                low = ((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]))
                share = _ONE / (low + ((p[8] + p[9]) + (p[10] + p[11])))
                lowest = 0
                for k in range(count):
                    one = i64(grid[u32(cells[t] + steps[base + u64(k)])])
                    lowest |= one
                    indices[i, u32(k)] = one
                    weights[i, u32(k)] = p[u32(k)] * share
            if lowest < 0 and (
                found[t] == nowhere
                or not _search(f64(xs[t]), f64(ys[t]), cells[t], grid, f64(scale), indices[i], weights[i])
            ):
                indices[i, u32(0)] = -1
                undone += 1
    return undone
