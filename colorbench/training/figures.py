"""Images of a training: curves, a strip of example images, the prior. Pillow is enough for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from colorbench.color.grid import GRID, ab_bins
from colorbench.color.lab import lab_to_rgb8
from colorbench.color.prior import Prior

# Blue and orange are told apart by nearly all eyes, and in print by their lightness.
COLORS = ("#1f6fb4", "#e07b18", "#5a5a5a")
_INK, _FAINT = "#222222", "#dddddd"
_SCALE = 2  # drawn larger, then shrunk: Pillow's lines are not smooth


@dataclass(frozen=True)
class Line:
    """One line of a panel; points without a finite y are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One coordinate system."""

    title: str
    lines: Sequence[Line]


def draw_panels(panels: Sequence[Panel], path: Path, *, x_label: str = "step") -> None:
    """Draw panels side by side, as a PNG."""
    width, height = 420, 300
    image = Image.new("RGB", (width * len(panels) * _SCALE, height * _SCALE), "white")
    draw = ImageDraw.Draw(image)
    for number, panel in enumerate(panels):
        _draw_panel(draw, panel, (number * width, 0, (number + 1) * width, height), x_label)
    _save(image.resize((width * len(panels), height), Image.Resampling.LANCZOS), path)


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Panel, box: tuple[int, int, int, int], x_label: str) -> None:
    left, top, right, bottom = box[0] + 58, box[1] + 52, box[2] - 14, box[3] - 42
    points = [(x, y) for line in panel.lines for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)] or [
        (0.0, 0.0)
    ]
    xs, ys = _ticks([x for x, _ in points]), _ticks([y for _, y in points])

    def position(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - xs[0]) / (xs[-1] - xs[0]) * (right - left),
            bottom - (y - ys[0]) / (ys[-1] - ys[0]) * (bottom - top),
        )

    _text(draw, (left, box[1] + 10), panel.title, size=14)
    for y in ys:
        _line(draw, [position(xs[0], y), position(xs[-1], y)], _FAINT, 1)
        _text(draw, (left - 8, position(xs[0], y)[1]), f"{y:g}", baseline="rm")
    for x in xs:
        _text(draw, (position(x, ys[0])[0], bottom + 6), _short(x), baseline="mt")
    _text(draw, ((left + right) / 2, bottom + 22), x_label, baseline="mt")
    legend = float(left)
    for line in panel.lines:
        path = [position(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        if line.dashed:
            for a, b in _dashes(path):
                _line(draw, [a, b], line.color, 1.5)
        else:
            _line(draw, path, line.color, 2)
        if len(path) == 1:
            x, y = (_SCALE * value for value in path[0])
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=line.color)
        _line(draw, [(legend, box[1] + 38), (legend + 16, box[1] + 38)], line.color, 2)
        _text(draw, (legend + 20, box[1] + 38), line.label, baseline="lm")
        legend += 34 + _font(11).getlength(line.label) / _SCALE


def draw_strip(rows: Sequence[tuple[str, Tensor]], path: Path) -> None:
    """Draw rows of images under one another, as a PNG: (label, (N, 3, H, W) uint8), all of one shape."""
    n, _, height, width = rows[0][1].shape
    gap, margin = 4, 62
    sheet = Image.new("RGB", (margin + n * (width + gap), len(rows) * (height + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, images) in enumerate(rows):
        top = gap + number * (height + gap)
        draw.text((margin - 8, top + height // 2), label, _INK, ImageFont.load_default(13), baseline="rm")
        for column, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
            sheet.paste(Image.fromarray(image), (margin + column * (width + gap), top))
    _save(sheet, path)


def draw_prior(prior: Prior, path: Path, lightness: float = 65.0) -> None:
    """Draw the bins in the ab plane in their own colors, as a PNG.

    The side of a square grows with log probability.
    """
    ab = ab_bins()
    lab = torch.cat([torch.full((len(ab), 1), lightness), ab], dim=1)  # (313, 3)
    colors = lab_to_rgb8(lab.T[:, :, None])[:, :, 0].T.tolist()
    cell, left, top = 18, 52, 54
    low = ab.min(0).values.tolist()
    side = [int((ab[:, i].max() - ab[:, i].min()) / GRID) + 1 for i in (0, 1)]
    image = Image.new("RGB", ((left + side[0] * cell + 16) * _SCALE, (top + side[1] * cell + 46) * _SCALE), "white")
    draw = ImageDraw.Draw(image)
    logs = np.log10(np.maximum(prior.probabilities, 1e-8))
    for (a, b), color, log in zip(ab.tolist(), colors, logs, strict=True):
        x, y = left + ((a - low[0]) / GRID + 0.5) * cell, top + (side[1] - 0.5 - (b - low[1]) / GRID) * cell
        half = 0.5 * cell * max(0.08, 1 + log / 6)  # a probability of 1 fills the cell
        draw.rectangle([_SCALE * v for v in (x - half, y - half, x + half, y + half)], fill=tuple(color))
    for axis, name in enumerate("ab"):
        for value in range(-100, 101, 50):
            at = ((value - low[axis]) / GRID + 0.5) * cell
            if axis == 0 and 0 <= at <= side[0] * cell:
                _text(draw, (left + at, top + side[1] * cell + 6), str(value), baseline="mt")
            elif axis == 1 and 0 <= at <= side[1] * cell:
                _text(draw, (left - 6, top + side[1] * cell - at), str(value), baseline="rm")
        position = (
            (left + side[0] * cell / 2, top + side[1] * cell + 24) if axis == 0 else (14, top + side[1] * cell / 2)
        )
        _text(draw, position, name, baseline="mt")
    images = "" if prior.images is None else f", {prior.images} images"
    _text(draw, (left, 8), f"Prior of the 313 bins: {prior.kind}{images}", size=14)
    entropy = f"side: log probability, 1e-6 to 1; entropy {prior.entropy:.2f} nats"
    _text(draw, (left, 30), f"{entropy}, gray {prior.probabilities[120]:.3f}")
    _save(image.resize((image.width // _SCALE, image.height // _SCALE), Image.Resampling.LANCZOS), path)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return three to seven round numbers that enclose ``values``."""
    low, high = min(values), max(values)
    spread = high - low or max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(spread / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if spread / (power * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def _dashes(path: Sequence[tuple[float, float]]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    pieces = []
    for (x0, y0), (x1, y1) in zip(path, path[1:], strict=False):
        count = max(1, round(math.hypot(x1 - x0, y1 - y0) / 8))
        for i in range(count):
            begin, end = i / count, (i + 0.55) / count
            pieces.append(
                (
                    (x0 + (x1 - x0) * begin, y0 + (y1 - y0) * begin),
                    (x0 + (x1 - x0) * end, y0 + (y1 - y0) * end),
                )
            )
    return pieces


def _line(draw: ImageDraw.ImageDraw, path: Sequence[tuple[float, float]], color: str, width: float) -> None:
    if len(path) > 1:
        scaled = [(_SCALE * x, _SCALE * y) for x, y in path]
        draw.line(scaled, fill=color, width=round(width * _SCALE), joint="curve")


def _text(
    draw: ImageDraw.ImageDraw, position: tuple[float, float], message: str, *, size: int = 11, baseline: str = "la"
) -> None:
    draw.text((position[0] * _SCALE, position[1] * _SCALE), message, _INK, _font(size), baseline=baseline)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)


def _save(image: Image.Image, path: Path) -> None:
    """Save an image completely or not at all: a viewer may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    image.save(partial, "PNG")
    partial.replace(path)
