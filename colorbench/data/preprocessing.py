"""From a decoded image to the pixels that are evaluated. The preprocessing's name is part of every result."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from colorbench.errors import UserError

_LARGEST_RESIZED = 1 << 24
"""Pixels of a resized image of which only the center is wanted: up to here it is made whole, and then cropped."""
_NAME = re.compile(r"(squash|center)([1-9]\d{0,4})")


@dataclass(frozen=True)
class Preprocessing:
    """A named transform of uint8 sRGB."""

    name: str
    kind: Literal["squash", "center", "native"]
    size: int = 0

    @property
    def mixed_sizes(self) -> bool:
        """Whether its images differ in size, so that not all of them can be batched."""
        return self.kind == "native"

    @property
    def description(self) -> str:
        """In words, for the record's reader."""
        if self.kind == "native":
            return "the image at its own size"
        if self.kind == "center":
            return (
                f"short side to {self.size} by Pillow's bicubic (antialiased), center crop of {self.size} x {self.size}"
            )
        return f"squashed to {self.size} x {self.size} by Pillow's bicubic (antialiased)"

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """Apply the preprocessing: (H, W, 3) uint8 -> (h, w, 3) uint8."""
        if self.kind == "native":
            return rgb
        height, width = rgb.shape[:2]
        if self.kind == "squash":
            return _resized(rgb, self.size, self.size)
        scale = self.size / min(height, width)
        height, width = (max(self.size, round(side * scale)) for side in (height, width))
        top, left = (height - self.size) // 2, (width - self.size) // 2
        if height * width > _LARGEST_RESIZED:
            return _resized_center(rgb, height, width, self.size)
        return _resized(rgb, height, width)[top : top + self.size, left : left + self.size]


def get_preprocessing(name: str) -> Preprocessing:
    """Return the preprocessing of a name: ``squash256``, ``center256`` (any number of pixels) or ``native``.

    Raises:
        UserError: for another name.
    """
    if name == "native":
        return Preprocessing(name, "native")
    if match := _NAME.fullmatch(name):
        kind: Literal["squash", "center"] = "squash" if match[1] == "squash" else "center"
        return Preprocessing(name, kind, int(match[2]))
    raise UserError(
        f"unknown preprocessing {name!r}", hint="choose squash256, center256 (any number of pixels) or native"
    )


def _resized(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))


def _resized_center(rgb: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """Compute the ``size`` x ``size`` center of what ``_resized`` gives, from the pixels that it depends on alone.

    An image of 1 x 60000 would be enlarged to 256 x 15 million before it is cropped. Pillow resizes one axis after the
    other, rounding between them, in an order that depends on the sizes: some pixels may differ by a few of 255.
    """
    rows, columns = (_depends_on(*sides, size) for sides in ((rgb.shape[0], height), (rgb.shape[1], width)))
    part = np.ascontiguousarray(rgb[rows.first : rows.last, columns.first : columns.last])
    box = (columns.low, rows.low, columns.high, rows.high)
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC, box=box))


class _Window(NamedTuple):
    """Along one axis: the pixels first..last that are cut out, and where in them the resized center begins and ends."""

    first: int
    last: int
    low: float
    high: float


def _depends_on(given: int, resized: int, size: int) -> _Window:
    scale = given / resized
    start = (resized - size) // 2
    low, high = start * scale, (start + size) * scale
    reach = 2 * max(scale, 1.0) + 1  # bicubic reaches 2 pixels, of the result where that is smaller
    first, last = max(0, math.floor(low - reach)), min(given, math.ceil(high + reach))
    return _Window(first, last, low - first, min(high - first, last - first))
