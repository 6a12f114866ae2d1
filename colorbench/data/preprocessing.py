"""Named preprocessings (resizing and cropping) from a decoded image to the pixels that are evaluated."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
from PIL import Image

from colorbench.errors import UserError

_LARGEST_RESIZED = 1 << 24
"""Largest resized image, in pixels, that is computed as a whole before its center is cropped."""
_NAME = re.compile(r"(squash|center|cropsquare)([1-9]\d{0,4})(?:-(bilinear-aa|bilinear|area))?")
Kind = Literal["squash", "center", "cropsquare", "native"]
Kernel = Literal["bicubic-aa", "bilinear-aa", "bilinear", "area"]
"""Kernel of resizing: Pillow's bicubic or bilinear (both antialiased; the latter as torchvision for PIL images),
bilinear without antialiasing (as OpenCV and torch), or the mean over the area of a pixel (as TensorFlow)."""
_KERNELS: dict[Kernel, str] = {
    "bicubic-aa": "Pillow's bicubic (antialiased)",
    "bilinear-aa": "Pillow's bilinear (antialiased)",
    "bilinear": "bilinear interpolation without antialiasing",
    "area": "the mean over the covered area",
}
KNOWN = (
    "squash256, center256, cropsquare256 (any number of pixels) or native; also squash256-bilinear-aa, -bilinear, -area"
)
"""The valid names, for hints."""


@dataclass(frozen=True)
class Preprocessing:
    """A named preprocessing of 8-bit sRGB images."""

    name: str
    kind: Kind
    size: int = 0
    kernel: Kernel = "bicubic-aa"

    @property
    def mixed_sizes(self) -> bool:
        """Whether preprocessed images differ in size, so that not all of them can be batched."""
        return self.kind == "native"

    @property
    def crops(self) -> bool:
        """Whether only the center of an image is kept."""
        return self.kind in ("center", "cropsquare")

    @property
    def description(self) -> str:
        """Description for readers of the record."""
        if self.kind == "native":
            return "the image at its own size"
        size, kernel = f"{self.size} x {self.size}", _KERNELS[self.kernel]
        if self.kind == "center":
            return f"short side to {self.size} by {kernel}, center crop of {size}"
        if self.kind == "cropsquare":
            return f"largest central square, resized to {size} by {kernel}"
        return f"squashed to {size} by {kernel}"

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """Apply the preprocessing: (H, W, 3) uint8 -> (h, w, 3) uint8."""
        if self.kind == "native":
            return rgb
        height, width = rgb.shape[:2]
        if self.kind == "squash":
            return _resized(rgb, self.size, self.size, self.kernel)
        if self.kind == "cropsquare":
            side = min(height, width)
            top, left = (round((given - side) / 2) for given in (height, width))  # as torchvision rounds: half to even
            return _resized(rgb[top : top + side, left : left + side], self.size, self.size, self.kernel)
        scale = self.size / min(height, width)
        height, width = (max(self.size, round(side * scale)) for side in (height, width))
        top, left = (height - self.size) // 2, (width - self.size) // 2
        if height * width > _LARGEST_RESIZED:
            return _resized_center(rgb, height, width, self.size)
        return _resized(rgb, height, width)[top : top + self.size, left : left + self.size]


def get_preprocessing(name: str) -> Preprocessing:
    """Return the preprocessing with a name.

    Args:
        name: ``native``, or a kind with any number of pixels: ``squash256`` (the whole image), ``center256`` (resized,
            then cropped), ``cropsquare256`` (cropped, then resized). ``squash`` and ``cropsquare`` may be followed by a
            kernel: ``squash256-bilinear-aa``, ``-bilinear``, ``-area``.

    Raises:
        UserError: for another name.
    """
    if name == "native":
        return Preprocessing(name, "native")
    match = _NAME.fullmatch(name)
    if match is None or (match[1] == "center" and match[3] is not None):
        raise UserError(f"unknown preprocessing {name!r}", hint=f"choose {KNOWN}")
    return Preprocessing(name, cast(Kind, match[1]), int(match[2]), cast(Kernel, match[3] or "bicubic-aa"))


def with_short_side(rgb: np.ndarray, size: int) -> np.ndarray:
    """Reduce an image so that its short side has ``size`` pixels: (H, W, 3) uint8 -> (h, w, 3) uint8.

    The pixels are those that ``center`` crops. Smaller images are returned as they are.
    """
    scale = size / min(rgb.shape[:2])
    if scale >= 1:
        return rgb
    height, width = (max(size, round(side * scale)) for side in rgb.shape[:2])
    return _resized(rgb, height, width)


def _resized(rgb: np.ndarray, height: int, width: int, kernel: Kernel = "bicubic-aa") -> np.ndarray:
    if rgb.shape[:2] == (height, width):
        return rgb
    if kernel in ("bilinear", "area"):
        make = _bilinear_weights if kernel == "bilinear" else _area_weights
        down, across = (make(*sides) for sides in ((rgb.shape[0], height), (rgb.shape[1], width)))
        resized = down @ rgb.transpose(2, 0, 1).astype(np.float64) @ across.T  # (3, height, width)
        return np.ascontiguousarray(resized.round().astype(np.uint8).transpose(1, 2, 0))
    resample = Image.Resampling.BICUBIC if kernel == "bicubic-aa" else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((width, height), resample))


def _bilinear_weights(given: int, wanted: int) -> np.ndarray:
    """Return (wanted, given) weights of bilinear interpolation between the centers of pixels, without antialiasing."""
    position = ((np.arange(wanted) + 0.5) * given / wanted - 0.5).clip(0, given - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[:, None] - np.arange(given))))


def _area_weights(given: int, wanted: int) -> np.ndarray:
    """Return (wanted, given) shares of each given pixel in the interval that a resized pixel covers."""
    edges = np.arange(wanted + 1) * given / wanted
    starts = np.arange(given)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.asarray(np.maximum(0, overlap) * wanted / given)


def _resized_center(rgb: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """Compute the ``size`` x ``size`` center of the result of ``_resized`` from only those pixels that it depends on.

    An image of 1 x 60000 would be enlarged to 256 x 15 million before it is cropped. Pillow resizes one axis after the
    other, rounding between them, in an order that depends on the sizes: some pixels may differ by a few of 255.
    """
    rows, columns = (_depends_on(*sides, size) for sides in ((rgb.shape[0], height), (rgb.shape[1], width)))
    part = np.ascontiguousarray(rgb[rows.first : rows.last, columns.first : columns.last])
    box = (columns.low, rows.low, columns.high, rows.high)
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC, box=box))


class _Window(NamedTuple):
    """A crop along one axis: its first and last pixel, and where the resized center begins and ends in it."""

    first: int
    last: int
    low: float
    high: float


def _depends_on(given: int, resized: int, size: int) -> _Window:
    scale = given / resized
    start = (resized - size) // 2
    low, high = start * scale, (start + size) * scale
    reach = 2 * max(scale, 1.0) + 1  # the bicubic kernel extends over 2 pixels, of the result when shrinking
    first, last = max(0, math.floor(low - reach)), min(given, math.ceil(high + reach))
    return _Window(first, last, low - first, min(high - first, last - first))
