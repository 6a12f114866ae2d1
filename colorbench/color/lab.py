"""Conversion between sRGB and CIE Lab (D65, 2 degree observer), as scikit-image defines it.

Matrix, white point and break points are those of scikit-image, which the paper's released code uses; the tests compare
both directions with it in float64. Tensors are channel-first and may have any leading dimensions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from colorbench.color.compiled.jit import compilable, exact_dtype, pixels_of

if TYPE_CHECKING:
    from colorbench.color.compiled.lab import RenderTables

# IEC 61966-2-1 primaries with the rounded matrix of skimage.color (xyz_from_rgb).
XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
# Divided by the white point, so that white has f = 1 in all three.
_XYZ_MATRIX = XYZ_FROM_RGB / WHITE_D65[:, None]
_LIGHT_MATRIX = RGB_FROM_XYZ * WHITE_D65[None]


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB to Lab.

    Args:
        rgb: (..., 3, H, W), uint8 in 0..255 or floating in 0..1.

    Returns:
        (..., 3, H, W): L in 0..100 and ab in about -108..99; float32 for uint8 input, else the dtype of the input.

    Raises:
        ValueError: if the third dimension from the end is not 3 or the dtype is neither uint8 nor floating.
    """
    _check(rgb)
    if rgb.dtype == torch.uint8:
        return _lab_of_8bit(rgb)
    if not rgb.is_floating_point():
        raise ValueError(f"sRGB must be uint8 or floating, not {rgb.dtype}")
    return _lab_of_linear(torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp_min(0) ** 2.4, rgb / 12.92))


def _lab_of_8bit(rgb8: Tensor) -> Tensor:
    """Convert 8-bit sRGB to Lab in float64 and round once, to float32: exact on every device."""
    if rgb8.device.type != "cpu":
        table = torch.from_numpy(_linear_table()).to(rgb8.device, exact_dtype(rgb8.device))
        return _lab_of_linear(table[rgb8.int()]).float()
    from colorbench.color.compiled import lab as compiled_lab

    lab = torch.empty(rgb8.shape)
    pixels = pixels_of(lab)
    compiled_lab.rgb8_to_lab(pixels_of(rgb8), _linear_table(), _XYZ_MATRIX, pixels, pixels, 1)
    return lab


def lightness_and_ab(rgb8: Tensor) -> tuple[Tensor, Tensor]:
    """Convert sRGB to Lab in two parts: lightness (..., 1, H, W) and ab (..., 2, H, W); see ``rgb_to_lab``.

    Networks use the first and metrics the second; each is contiguous.
    """
    _check(rgb8)
    if rgb8.dtype != torch.uint8 or rgb8.device.type != "cpu":
        lab = rgb_to_lab(rgb8)
        return lab[..., :1, :, :].contiguous(), lab[..., 1:, :, :].contiguous()
    from colorbench.color.compiled import lab as compiled_lab

    lightness, ab = (torch.empty((*rgb8.shape[:-3], n, *rgb8.shape[-2:])) for n in (1, 2))
    compiled_lab.rgb8_to_lab(pixels_of(rgb8), _linear_table(), _XYZ_MATRIX, pixels_of(lightness), pixels_of(ab), 0)
    return lightness, ab


def _lab_of_linear(linear: Tensor) -> Tensor:
    t = _mixed(linear, _XYZ_MATRIX)
    f = torch.where(t > 0.008856, _power(t, 1 / 3), t * 7.787 + 16 / 116)
    fx, fy, fz = f.unbind(-3)
    lab = torch.empty_like(f)
    lab.select(-3, 0).copy_(fy).mul_(116).sub_(16)
    lab.select(-3, 1).copy_(fx).sub_(fy).mul_(500)
    lab.select(-3, 2).copy_(fy).sub_(fz).mul_(200)
    return lab


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert Lab to sRGB, clipped to the gamut channel by channel, as scikit-image clips.

    Args:
        lab: (..., 3, H, W) floating.

    Returns:
        (..., 3, H, W) in 0..1, in the dtype of the input.
    """
    _check(lab)
    lightness, a, b = lab.unbind(-3)
    fy = (lightness + 16) / 116
    f = torch.stack([fy + a / 500, fy, (fy - b / 200).clamp_min_(0)], dim=-3)
    light = torch.where(f > 0.2068966, f * f * f, (f - 16 / 116) / 7.787)
    # Clipping first keeps negative values out of the power; the curve is monotonic, so the result is the same.
    linear = _mixed(light, _LIGHT_MATRIX).clamp_(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * _power(linear, 1 / 2.4) - 0.055, linear * 12.92)


def lab_to_rgb8(lab: Tensor) -> Tensor:
    """Render Lab (..., 3, H, W) as 8-bit sRGB (..., 3, H, W) uint8: ``lab_to_rgb`` in float64, then rounded."""
    _check(lab)
    if not compilable(lab):
        return (lab_to_rgb(lab.to(exact_dtype(lab.device))) * 255).round_().to(torch.uint8)
    from colorbench.color.compiled import lab as compiled_lab

    rgb8 = torch.empty(lab.shape, dtype=torch.uint8)
    compiled_lab.lab_to_rgb8(pixels_of(lab), _shown(), pixels_of(rgb8))
    return rgb8


def rendered(lightness: Tensor, ab: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Render ab on the lightness of an image: join them as Lab, convert and clip to sRGB, and round to 8 bits.

    Args:
        lightness: (..., 1, H, W) floating.
        ab: (..., 2, H, W) floating.

    Returns:
        sRGB (..., 3, H, W) uint8, equal to the result of ``lab_to_rgb8``, and its ``lightness_and_ab``.

    Raises:
        ValueError: for shapes that do not fit one another.
    """
    if lightness.dim() < 3 or lightness.shape[-3] != 1 or ab.shape != (*lightness.shape[:-3], 2, *lightness.shape[-2:]):
        raise ValueError(f"ab of {tuple(ab.shape)} does not fit a lightness of {tuple(lightness.shape)}")
    if not (compilable(lightness) and compilable(ab)):
        rgb8 = lab_to_rgb8(torch.cat([lightness, ab.to(lightness.dtype)], dim=-3))
        return rgb8, *lightness_and_ab(rgb8)
    from colorbench.color.compiled import lab as compiled_lab

    rgb8 = torch.empty((*lightness.shape[:-3], 3, *lightness.shape[-2:]), dtype=torch.uint8)
    rendered_lightness, rendered_ab = torch.empty(lightness.shape), torch.empty(ab.shape)
    compiled_lab.rendered(
        pixels_of(lightness),
        pixels_of(ab),
        _shown(),
        _linear_table(),
        _XYZ_MATRIX,
        pixels_of(rgb8),
        pixels_of(rendered_lightness),
        pixels_of(rendered_ab),
    )
    return rgb8, rendered_lightness, rendered_ab


def _power(x: Tensor, exponent: float) -> Tensor:
    # torch.pow uses another routine for the last elements of a tensor, so that the Lab of a pixel would depend on its
    # position in the batch; exp and log do not. The result at 0 is 0, and callers mask negative x.
    return x.log().mul_(exponent).exp_()


def _mixed(planes: Tensor, matrix: np.ndarray) -> Tensor:
    """Multiply the channels of (..., 3, H, W) by a 3 x 3 matrix, plane by plane, so that pixels are independent."""
    x, y, z = planes.unbind(-3)
    out = torch.empty_like(planes)
    for row, (i, j, k) in enumerate(matrix.tolist()):
        out.select(-3, row).copy_(x).mul_(i).add_(y, alpha=j).add_(z, alpha=k)
    return out


@lru_cache(maxsize=1)
def _linear_table() -> np.ndarray:
    """Return the linear light of every 8-bit value, (256,) float64."""
    return _linear(np.arange(256) / 255)


def _linear(v: np.ndarray) -> np.ndarray:
    """Return the linear light of sRGB values 0..1."""
    return np.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92)


@lru_cache(maxsize=1)
def _shown() -> RenderTables:
    from colorbench.color.compiled.lab import CELLS, RenderTables

    # A value is used from halfway to the one below. (The curve is monotonic, and so is its inverse.)
    v = (np.arange(1, 256) - 0.5) / 255
    thresholds = np.concatenate([[-np.inf], _linear(v), [np.inf]])
    levels = np.searchsorted(thresholds, np.arange(CELLS + 1) / CELLS, side="right") - 1
    return RenderTables(_LIGHT_MATRIX, levels.astype(np.int32), thresholds)


def _check(image: Tensor) -> None:
    if image.dim() < 3 or image.shape[-3] != 3:
        raise ValueError(f"expected (..., 3, H, W), got {tuple(image.shape)}")
