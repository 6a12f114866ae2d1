"""sRGB <-> CIE Lab (D65, 2 degree observer), as scikit-image defines it.

The matrix, white point and break points are scikit-image's, the conversion behind the paper's released code; the tests
hold both directions against it in float64. Tensors are channel-first and may have any leading dimensions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# IEC 61966-2-1 primaries with the rounded matrix of skimage.color (xyz_from_rgb).
XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Lab of sRGB.

    Args:
        rgb: (..., 3, H, W), uint8 in 0..255 or floating in 0..1.

    Returns:
        (..., 3, H, W) L in 0..100 and ab in about -108..99; float32 for uint8, else the dtype given.

    Raises:
        ValueError: if the third dimension from the end is not 3 or the dtype is neither uint8 nor floating.
    """
    _check(rgb)
    if rgb.dtype == torch.uint8:
        linear = _linear_of_8bit(rgb)
    elif rgb.is_floating_point():
        linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp_min(0) ** 2.4, rgb / 12.92)
    else:
        raise ValueError(f"sRGB must be uint8 or floating, not {rgb.dtype}")
    # The rows are divided by the white point, so that white has f = 1 in all three.
    r, g, b = linear.unbind(-3)
    m = (XYZ_FROM_RGB / WHITE_D65[:, None]).tolist()
    xyz = [r * row[0] + g * row[1] + b * row[2] for row in m]
    fx, fy, fz = (torch.where(t > 0.008856, _power(t, 1 / 3), t * 7.787 + 16 / 116) for t in xyz)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """sRGB of Lab, clipped to the gamut channel by channel, as scikit-image clips.

    Args:
        lab: (..., 3, H, W) floating.

    Returns:
        (..., 3, H, W) in 0..1, the dtype given.
    """
    _check(lab)
    lightness, a, b = lab.unbind(-3)
    fy = (lightness + 16) / 116
    xyz = [_from_f(f) for f in (fy + a / 500, fy, (fy - b / 200).clamp_min(0))]
    m = (RGB_FROM_XYZ * WHITE_D65[None]).tolist()
    linear = torch.stack([xyz[0] * row[0] + xyz[1] * row[1] + xyz[2] * row[2] for row in m], dim=-3)
    # Clipping first keeps negative values out of the power; the curve is monotonic, so the answer is the same.
    linear = linear.clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * _power(linear, 1 / 2.4) - 0.055, linear * 12.92)


def lab_to_rgb8(lab: Tensor) -> Tensor:
    """What is seen: ``lab_to_rgb`` rounded to 8 bits, (..., 3, H, W) uint8."""
    return (lab_to_rgb(lab) * 255).round_().to(torch.uint8)


def _power(x: Tensor, exponent: float) -> Tensor:
    # torch's own power rounds the last elements of a tensor by another routine, so that a pixel's Lab would depend on
    # its place in the batch; exp and log do not. At 0 the answer is 0, and callers hide negative x.
    return (x.log() * exponent).exp()


def _from_f(f: Tensor) -> Tensor:
    return torch.where(f > 0.2068966, f * f * f, (f - 16 / 116) / 7.787)


def _linear_of_8bit(rgb: Tensor) -> Tensor:
    table = _linear_table()
    if rgb.device.type == "cpu":
        # numpy's take with 8-bit indices is many times faster than an index tensor, which would be int64.
        return torch.from_numpy(table.take(rgb.numpy()))
    return torch.from_numpy(table).to(rgb.device)[rgb.int()]


@lru_cache(maxsize=1)
def _linear_table() -> np.ndarray:
    """(256,) float32 linear light of every 8-bit value, rounded from float64."""
    v = np.arange(256) / 255
    return np.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92).astype(np.float32)


def _check(image: Tensor) -> None:
    if image.dim() < 3 or image.shape[-3] != 3:
        raise ValueError(f"expected (..., 3, H, W), got {tuple(image.shape)}")
