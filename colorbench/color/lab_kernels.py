"""sRGB <-> Lab, compiled (see ``colorbench/compiled.py``): in blocks that stay in the first cache.

All arithmetic is in float64: the Lab is exact to float32's rounding, and rounding to 8 bits finds what the Lab says.
Each loop writes one array: only then is it known not to write into what it reads, and done for many pixels at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from colorbench.compiled import compiled, f32, f64, i32

_BLOCK = 1024
_THIRD = f32(1 / 3)
_CUBE_ROOT_BITS = i32(709958130)  # of a float's bits over 3: what makes them those of about its cube root
_ROUNDER = 1.5 * 2.0**52  # adding and taking it away rounds to whole numbers, halves to even


@compiled
def cube_root(x: Any) -> Any:
    """Of a float64 of 1e-3 to 2, to 1e-15: three of Halley's steps, two of them in float32."""
    given, x = x, f32(x)
    y = i32(f32(x.view(np.int32)) * _THIRD + f32(_CUBE_ROOT_BITS)).view(np.float32)  # to 4 %
    cubed = y * y * y
    y = y * ((cubed + (x + x)) / ((cubed + cubed) + x))  # to 3e-5
    cubed = y * y * y
    root = f64(y + y * ((x - cubed) / ((cubed + cubed) + x)))
    cube = root * root * root
    return root + root * ((given - cube) / ((cube + cube) + given))


@compiled
def _looked_up(values: Any, table: Any, out: Any) -> None:
    for k in range(values.size):
        out[k] = table[values[k]]


@compiled
def _f(x: Any, y: Any, z: Any, row: Any, out: Any) -> None:
    """CIE's f of one row of the matrix times linear light."""
    i, j, k = row[0], row[1], row[2]
    for p in range(out.size):
        t = (x[p] * i + y[p] * j) + z[p] * k
        root = cube_root(max(t, 0.008856))
        out[p] = root if t > 0.008856 else t * 7.787 + 16 / 116


@compiled
def _scaled(f: Any, scale: Any, shift: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = f[p] * scale + shift


@compiled
def _difference(f: Any, g: Any, scale: Any, out: Any) -> None:
    for p in range(out.size):
        out[p] = (f[p] - g[p]) * scale


@compiled
def rgb8_to_lab(rgb8: Any, linear: Any, matrix: Any, lab: Any) -> None:
    """Lab of 8-bit sRGB.

    Args:
        rgb8: (N, 3, n) uint8.
        linear: (256,) float64, linear light of each value.
        matrix: (3, 3) float64, XYZ over the white point from linear light.
        lab: (N, 3, n) float32, filled.
    """
    r, g, b = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    fx, fy, fz = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for image in range(rgb8.shape[0]):
        for start in range(0, rgb8.shape[2], _BLOCK):
            stop = min(start + _BLOCK, rgb8.shape[2])
            n = stop - start
            _looked_up(rgb8[image, 0, start:stop], linear, r[:n])
            _looked_up(rgb8[image, 1, start:stop], linear, g[:n])
            _looked_up(rgb8[image, 2, start:stop], linear, b[:n])
            _f(r[:n], g[:n], b[:n], matrix[0], fx[:n])
            _f(r[:n], g[:n], b[:n], matrix[1], fy[:n])
            _f(r[:n], g[:n], b[:n], matrix[2], fz[:n])
            _scaled(fy[:n], 116.0, -16.0, lab[image, 0, start:stop])
            _difference(fx[:n], fy[:n], 500.0, lab[image, 1, start:stop])
            _difference(fy[:n], fz[:n], 200.0, lab[image, 2, start:stop])


@compiled
def _light(lightness: Any, other: Any, scale: Any, out: Any) -> None:
    """XYZ over the white point: CIE's f inverted, of (L + 16) / 116 + other scale; never below f = 0."""
    for p in range(out.size):
        f = (f64(lightness[p]) + 16.0) / 116.0 + f64(other[p]) * scale
        f = max(f, 0.0)
        out[p] = (f * f) * f if f > 0.2068966 else (f - 16 / 116) / 7.787


@compiled
def _shown(x: Any, y: Any, z: Any, row: Any, out: Any) -> None:
    """One channel of sRGB, 0..255 rounded, from light."""
    i, j, k = row[0], row[1], row[2]
    for p in range(out.size):
        t = (x[p] * i + y[p] * j) + z[p] * k
        t = min(max(t, 0.0), 1.0)
        above = max(t, 0.0031308)
        root = cube_root(above)
        # t^(1 / 2.4) = (t t^(2/3))^(1/4)
        curve = np.sqrt(np.sqrt(above * (root * root))) * 1.055 - 0.055
        value = (curve if t > 0.0031308 else t * 12.92) * 255.0
        out[p] = (value + _ROUNDER) - _ROUNDER


@compiled
def lab_to_rgb8(lab: Any, matrix: Any, rgb8: Any) -> None:
    """8-bit sRGB of Lab, clipped channel by channel.

    Args:
        lab: (N, 3, n) float32.
        matrix: (3, 3) float64, linear light from XYZ over the white point.
        rgb8: (N, 3, n) uint8, filled.
    """
    x, y, z, value = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for image in range(lab.shape[0]):
        for start in range(0, lab.shape[2], _BLOCK):
            stop = min(start + _BLOCK, lab.shape[2])
            n = stop - start
            lightness = lab[image, 0, start:stop]
            _light(lightness, lab[image, 1, start:stop], 1 / 500, x[:n])
            _light(lightness, lightness, 0.0, y[:n])
            _light(lightness, lab[image, 2, start:stop], -1 / 200, z[:n])
            for channel in range(3):
                _shown(x[:n], y[:n], z[:n], matrix[channel], value[:n])
                out = rgb8[image, channel, start:stop]
                for p in range(n):
                    out[p] = np.uint8(value[p])
