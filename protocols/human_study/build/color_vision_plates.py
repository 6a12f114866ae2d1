"""Color-vision plates: dots of many sizes and lightnesses, with a digit that differs only in hue.

The plates are drawn here in the style of pseudoisochromatic plates. They are for screening only: neither screens nor
plates are calibrated, so they exclude nobody. The digit of the first plate also differs in lightness, so that everybody
sees it.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from colorbench.color import lab_to_rgb8

SIDE = 320
_SCALE = 3
"""Drawn larger and downscaled, for smooth edges."""
LARGEST = 10.5
"""Radius of the largest dots in pixels."""


def _arc(x: float, y: float, radius: float, start: float, end: float) -> list[tuple[float, float]]:
    """Return points of an arc; angles in degrees, clockwise from the right."""
    angles = np.deg2rad(np.linspace(start, end, 16))
    return [(float(x + radius * np.cos(angle)), float(y + radius * np.sin(angle))) for angle in angles]


_Line = list[tuple[float, float]]
STROKES: dict[str, list[_Line]] = {
    "2": [[*_arc(160, 122, 62, 190, 395), (102, 260), (226, 260)]],
    "3": [_arc(152, 111, 51, 205, 450), [(122, 162), (152, 162)], _arc(152, 213, 51, -90, 155)],
    "4": [[(186, 264), (186, 58), (82, 206), (234, 206)]],
    "5": [[(214, 62), (118, 62), (112, 152), *_arc(154, 195, 62, -130, 125)]],
    "7": [[(98, 62), (222, 62), (142, 262)]],
}
"""Digit -> lines through its middle, in pixels. They are wide open: in a usual font the lower left of a 5 is so narrow
that a few dots make it a 6."""
STROKE_WIDTH = 36
DIGITS = "".join(STROKES)
"""Digits that are easy to distinguish: 6, 8 and 9 are similar, and so are 1 and 7."""
PAIRS = (((38.0, 42.0), (-22.0, 38.0)), ((34.0, 14.0), (-24.0, 8.0)))
"""(a, b) of digit and background: they differ along the axis that red-green deficiencies confuse."""


def draw_plate(digit: str, number: int, seed: int) -> np.ndarray:
    """Draw a color-vision plate, (320, 320, 3) uint8; number 0 is visible to everybody."""
    rng = np.random.default_rng([seed, number])
    mask = _digit(digit)
    figure, ground = PAIRS[number % 2]
    canvas = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    dots = _dots(rng)
    inside = np.array([_share(mask, x, y, radius) > 0.5 for x, y, radius in dots])
    lightness = rng.uniform(48, 74, len(dots))
    if number == 0:
        lightness = np.where(inside, rng.uniform(34, 46, len(dots)), rng.uniform(70, 84, len(dots)))
    ab = np.where(inside[:, None], figure, ground) + rng.normal(0, 3, (len(dots), 2))
    lab = np.concatenate([lightness[:, None], ab], axis=1).astype(np.float32)
    colors = lab_to_rgb8(torch.from_numpy(lab).reshape(1, -1, 1, 3).permute(0, 3, 1, 2))[0, :, :, 0].T.numpy()
    for (x, y, radius), color in zip(dots, colors, strict=True):
        box = [(x - radius) * _SCALE, (y - radius) * _SCALE, (x + radius) * _SCALE, (y + radius) * _SCALE]
        draw.ellipse(box, fill=tuple(int(value) for value in color))
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def digit_mask(digit: str) -> np.ndarray:
    """Return the mask of the digit on a color-vision plate, (320, 320) bool."""
    return _digit(digit)


def _digit(digit: str) -> np.ndarray:
    image = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(image)
    for points in STROKES[digit]:
        draw.line(points, 255, STROKE_WIDTH, joint="curve")
    return np.asarray(image) > 127


def _dots(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Draw (x, y, radius) in pixels of dots within a disc that do not touch, the large ones first."""
    found, count = np.empty((4000, 3)), 0
    for radius, tries in ((LARGEST, 400), (8.0, 700), (6.0, 1500), (4.2, 2500), (3.0, 2500)):
        angle, distance = rng.uniform(0, 2 * np.pi, tries), np.sqrt(rng.uniform(0, 1, tries))
        reach = distance * (SIDE / 2 - radius - 2)
        for x, y in zip(SIDE / 2 + reach * np.cos(angle), SIDE / 2 + reach * np.sin(angle), strict=True):
            placed = found[:count]
            if ((placed[:, 0] - x) ** 2 + (placed[:, 1] - y) ** 2 > (placed[:, 2] + radius + 1) ** 2).all():
                found[count] = x, y, radius
                count += 1
    return [(float(x), float(y), float(radius)) for x, y, radius in found[:count]]


def _share(mask: np.ndarray, x: float, y: float, radius: float) -> float:
    """Return the share of a dot that is inside the digit."""
    r = max(1, round(radius))
    patch = mask[max(0, round(y) - r) : round(y) + r + 1, max(0, round(x) - r) : round(x) + r + 1]
    return float(patch.mean()) if patch.size else 0.0
