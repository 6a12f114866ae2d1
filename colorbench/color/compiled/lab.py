"""sRGB <-> Lab, compiled (see ``colorbench/color/compiled/jit.py``): in blocks that stay in the first cache.

All arithmetic is in float64, so that Lab is exact to float32's rounding and 8-bit values are rounded correctly. Each
loop writes one array: only then can the compiler exclude aliasing and vectorize. Table lookups are separate loops for
the same reason.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from colorbench.color.compiled.jit import compiled, f32, f64, fused_multiply_add, i32, u32

_fused = fused_multiply_add()

_BLOCK = 1024
CELLS = 4096
"""Number of cells of linear light 0..1, so narrow that the 8-bit value changes at most once in each."""
_PARTS = float(CELLS)
_ONE, _THIRD, _TWO_NINTHS = f32(1), f32(1 / 3), f32(2 / 9)
_INVERSE_ROOT_BITS = f32(1419898442)  # first guess of the inverse cube root


class RenderTables(NamedTuple):
    """Tables to convert linear light to 8-bit sRGB."""

    matrix: np.ndarray
    """(3, 3) float64, linear light from XYZ over the white point."""
    levels: np.ndarray
    """(CELLS + 1,) int32, the 8-bit value at the lower end of each cell of linear light."""
    thresholds: np.ndarray
    """(257,) float64, the smallest linear light that is rounded to each value; infinite for 256."""


@compiled
def _cube_root(x: Any) -> Any:
    """Return the cube root that Lab needs in compiled loops, of a float64 in 1e-3..2, to 1e-13.

    For the inverse root y of x, e = 1 - x y^3 is zero, and y (1 - e)^(-1/3) is a better estimate than y. Two steps of
    that series are taken, the first in float32, without any division.
    """
    single = f32(x)
    y = i32(_fused(f32(single.view(np.int32)), -_THIRD, _INVERSE_ROOT_BITS)).view(np.float32)  # e up to 0.1
    e = _fused(-single, y * y * y, _ONE)
    inverse = f64(_fused(y, e * _fused(e, _TWO_NINTHS, _THIRD), y))  # e up to 5e-4
    rest = _fused(-x, inverse * inverse * inverse, 1.0)
    inverse = _fused(inverse, rest * _fused(rest, _fused(rest, 14 / 81, 2 / 9), 1 / 3), inverse)
    return x * (inverse * inverse)


@compiled
def _looked_up(values: Any, table: Any, out: Any) -> None:
    for k in range(values.size):
        out[k] = table[values[k]]


@compiled
def _f(x: Any, y: Any, z: Any, row: Any, out: Any) -> None:
    """Write CIE's f of one row of the matrix times linear light."""
    i, j, k = row[0], row[1], row[2]
    for p in range(out.size):
        t = _fused(z[p], k, _fused(y[p], j, x[p] * i))
        root = _cube_root(max(t, 0.008856))
        out[p] = root if t > 0.008856 else _fused(t, 7.787, 16 / 116)


@compiled
def _scaled(f: Any, scale: Any, shift: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = f[p] * scale + shift


@compiled
def _difference(f: Any, g: Any, scale: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = (f[p] - g[p]) * scale


@compiled
def _lab_of_block(
    rgb8: Any,
    image: int,
    start: int,
    stop: int,
    linear: Any,
    matrix: Any,
    scratch: Any,
    lightness: Any,
    ab: Any,
    first: int,
) -> None:
    n = stop - start
    r, g, b = scratch[0, :n], scratch[1, :n], scratch[2, :n]
    fx, fy, fz = scratch[3, :n], scratch[4, :n], scratch[5, :n]
    _looked_up(rgb8[image, 0, start:stop], linear, r)
    _looked_up(rgb8[image, 1, start:stop], linear, g)
    _looked_up(rgb8[image, 2, start:stop], linear, b)
    _f(r, g, b, matrix[0], fx)
    _f(r, g, b, matrix[1], fy)
    _f(r, g, b, matrix[2], fz)
    _scaled(fy, 116.0, -16.0, lightness[image, 0, start:stop])
    _difference(fx, fy, 500.0, ab[image, first, start:stop])
    _difference(fy, fz, 200.0, ab[image, first + 1, start:stop])


@compiled
def rgb8_to_lab(rgb8: Any, linear: Any, matrix: Any, lightness: Any, ab: Any, first: int) -> None:
    """Convert 8-bit sRGB to Lab in a compiled loop.

    Args:
        rgb8: (N, 3, n) uint8.
        linear: (256,) float64, linear light of each value.
        matrix: (3, 3) float64, XYZ over the white point from linear light.
        lightness: (N, any, n) float32; its first channel is filled.
        ab: (N, any, n) float32; two of its channels are filled. May be the same array as ``lightness``.
        first: index of the channel of a; b follows it.
    """
    scratch = np.empty((6, _BLOCK))
    for image in range(rgb8.shape[0]):
        for start in range(0, rgb8.shape[2], _BLOCK):
            stop = min(start + _BLOCK, rgb8.shape[2])
            _lab_of_block(rgb8, image, start, stop, linear, matrix, scratch, lightness, ab, first)


@compiled
def _light(lightness: Any, other: Any, scale: Any, out: Any) -> None:
    """Write XYZ relative to the white point: CIE's f inverted at (L + 16) / 116 + other scale, never below f = 0."""
    for p in range(out.size):
        f = (f64(lightness[p]) + 16.0) * (1 / 116) + f64(other[p]) * scale
        f = max(f, 0.0)
        out[p] = (f * f) * f if f > 0.2068966 else (f - 16 / 116) * (1 / 7.787)


@compiled
def _channel(x: Any, y: Any, z: Any, row: Any, out: Any) -> None:
    """Return one channel of linear light, 0..1, from XYZ relative to the white point."""
    i, j, k = row[0], row[1], row[2]
    for p in range(out.size):
        t = (x[p] * i + y[p] * j) + z[p] * k
        t = t if t > 0.0 else 0.0  # NaN becomes 0, too, since it must index a cell
        out[p] = t if t < 1.0 else 1.0


@compiled
def _cells(linear: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = i32(linear[p] * _PARTS)


@compiled
def _levels(linear: Any, cells: Any, first: Any, thresholds: Any, out: Any) -> None:
    """Write the 8-bit value of each pixel: that of the lower end of its cell, or the next one."""
    for p in range(out.size):
        level = first[u32(cells[p])]
        out[p] = np.uint8(level + i32(linear[p] >= thresholds[u32(level) + u32(1)]))


@compiled
def _rgb8_of_block(
    lightness: Any,
    ab: Any,
    first: int,
    image: int,
    start: int,
    stop: int,
    shown: RenderTables,
    scratch: Any,
    cells: Any,
    rgb8: Any,
) -> None:
    n = stop - start
    x, y, z, linear, cell = scratch[0, :n], scratch[1, :n], scratch[2, :n], scratch[3, :n], cells[:n]
    light = lightness[image, 0, start:stop]
    _light(light, ab[image, first, start:stop], 1 / 500, x)
    _light(light, light, 0.0, y)
    _light(light, ab[image, first + 1, start:stop], -1 / 200, z)
    for channel in range(3):
        _channel(x, y, z, shown.matrix[channel], linear)
        _cells(linear, cell)
        _levels(linear, cell, shown.levels, shown.thresholds, rgb8[image, channel, start:stop])


@compiled
def lab_to_rgb8(lab: Any, shown: RenderTables, rgb8: Any) -> None:
    """Convert Lab to 8-bit sRGB in a compiled loop, clipped channel by channel.

    Args:
        lab: (N, 3, n) float32.
        shown: conversion tables.
        rgb8: (N, 3, n) uint8, filled.
    """
    scratch, cells = np.empty((6, _BLOCK)), np.empty(_BLOCK, np.int32)
    for image in range(lab.shape[0]):
        for start in range(0, lab.shape[2], _BLOCK):
            stop = min(start + _BLOCK, lab.shape[2])
            _rgb8_of_block(lab, lab, 1, image, start, stop, shown, scratch, cells, rgb8)


@compiled
def rendered(
    lightness: Any,
    ab: Any,
    shown: RenderTables,
    linear: Any,
    matrix: Any,
    rgb8: Any,
    rendered_lightness: Any,
    rendered_ab: Any,
) -> None:
    """Render ab on an image's lightness in a compiled loop: write 8-bit sRGB and the Lab of the result.

    Args:
        lightness: (N, 1, n) float32.
        ab: (N, 2, n) float32.
        shown: see ``lab_to_rgb8``.
        linear: see ``rgb8_to_lab``.
        matrix: see ``rgb8_to_lab``.
        rgb8: (N, 3, n) uint8, filled.
        rendered_lightness: (N, 1, n) float32, filled.
        rendered_ab: (N, 2, n) float32, filled.
    """
    scratch, cells = np.empty((6, _BLOCK)), np.empty(_BLOCK, np.int32)
    for image in range(ab.shape[0]):
        for start in range(0, ab.shape[2], _BLOCK):
            stop = min(start + _BLOCK, ab.shape[2])
            _rgb8_of_block(lightness, ab, 0, image, start, stop, shown, scratch, cells, rgb8)
            _lab_of_block(rgb8, image, start, stop, linear, matrix, scratch, rendered_lightness, rendered_ab, 0)
