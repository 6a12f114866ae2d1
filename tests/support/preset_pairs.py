"""Twenty pairs of an image and a prediction, made by whole numbers from images that installed packages carry.

``tests/protocols/preset_numbers.json`` holds what public evaluation scripts print for them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

N = 20
FACTORS = (0, 3, 4, 5, 6, 7, 9, 12)
"""Eighths of the color that predictions keep."""


@cache
def _sources() -> tuple[np.ndarray, ...]:
    named = (skimage.data.astronaut, skimage.data.chelsea, skimage.data.coffee, skimage.data.rocket)
    return (*(load() for load in named), *(load_sample_image(name) for name in ("china.jpg", "flower.jpg")))


def image(i: int) -> np.ndarray:
    """The i-th image, (H, W, 3) uint8: a crop of 190..286 x 200..310 pixels."""
    source = _sources()[i % 6]
    height, width = 190 + 8 * (5 * i % 13), 200 + 11 * (7 * i % 11)
    top, left = (29 * i % (source.shape[0] - height + 1), 37 * i % (source.shape[1] - width + 1))
    return np.ascontiguousarray(source[top : top + height, left : left + width])


def prediction(i: int, rgb: np.ndarray) -> np.ndarray:
    """The i-th prediction of an image: other saturation and a tint; the last is one step off in one channel."""
    whole = rgb.astype(np.int64)
    if i == N - 1:
        whole[..., 0] += np.where((np.indices(rgb.shape[:2]).sum(0) % 2 == 0) & (whole[..., 0] < 255), 1, 0)
        return whole.astype(np.uint8)
    gray = ((299 * whole[..., 0] + 587 * whole[..., 1] + 114 * whole[..., 2] + 500) // 1000)[..., None]
    tint = np.array([5 * i % 7 - 3, 3 * i % 5 - 2, 4 * i % 9 - 4])
    return (gray + FACTORS[i % 8] * (whole - gray) // 8 + tint).clip(0, 255).astype(np.uint8)


def central_square(rgb: np.ndarray, size: int) -> np.ndarray:
    """The largest central square, resized by Pillow's bilinear kernel, as ``CenterCrop`` and ``Resize`` do it."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = round((height - side) / 2), round((width - side) / 2)
    square = Image.fromarray(rgb[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def squashed(rgb: np.ndarray, size: int) -> np.ndarray:
    """The whole image, resized by torch's bilinear interpolation without antialiasing."""
    planes = torch.from_numpy(rgb).double().movedim(-1, 0)[None]
    resized = torch.nn.functional.interpolate(planes, (size, size), mode="bilinear")[0]
    return resized.round().byte().movedim(0, -1).contiguous().numpy()


def write_pairs(root: Path, cut: Literal["central", "squashed"] | None = None) -> tuple[Path, Path]:
    """Write folders of images and predictions; with ``cut``, predictions of 256 x 256 of what it leaves."""
    images, predictions = root / "images", root / "predictions"
    for folder in (images, predictions):
        folder.mkdir(parents=True)
    for i in range(N):
        rgb = image(i)
        Image.fromarray(rgb).save(images / f"{i:02d}.png", compress_level=1)
        given = {None: lambda rgb, _: rgb, "central": central_square, "squashed": squashed}[cut](rgb, 256)
        Image.fromarray(prediction(i, given)).save(predictions / f"{i:02d}.png", compress_level=1)
    return images, predictions
