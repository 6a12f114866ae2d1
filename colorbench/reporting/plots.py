"""Curves as the coordinates of a small drawing (SVG), for the page of a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from colorbench.models.reference_models import BASELINES
from colorbench.results.record import CurvePart, Record

WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 44, 406, 26, 240
COLORS = {name: position for position, name in enumerate(BASELINES, start=1)}
"""Class of a line in the charts; the model's own is 0."""


def chart(curve: CurvePart, record: Record, shown: Sequence[tuple[str, Record]]) -> dict[str, Any]:
    """Return one curve of the model and the same curve of the baselines, in the coordinates of the drawing."""
    lines = [(record.model.name, 0, curve)]
    for head, other in shown:
        same = [candidate for candidate in other.curves if candidate.name == curve.name]
        lines += [(head, COLORS[other.model.name], candidate) for candidate in same]
    lines += [
        (label, 1 + position % 3, curve.model_copy(update={"y": line}))
        for position, (label, line) in enumerate(curve.beside.items())
    ]
    xs = [x for _, _, line in lines for x in line.x] or [0.0, 1.0]
    ys = [y for _, _, line in lines for y in line.y] or [0.0, 1.0]
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = min(0.0, *ys), max(ys)
    labeled = ticks(y_low, y_high)
    # A hair above a label is rounding, not a reason for another.
    if len(labeled) > 1 and labeled[-1] < y_high - 1e-6 * (y_high - y_low):
        # Up to the next label, so that 99.9 stands below 100 and not at an edge without a name.
        labeled.append(2 * labeled[-1] - labeled[-2])
        y_high = labeled[-1]

    def across(x: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (x - x_low) / ((x_high - x_low) or 1), 1)

    def up(y: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (y - y_low) / ((y_high - y_low) or 1), 1)

    return {
        "title": curve.title,
        "x_label": curve.x_label,
        "y_label": curve.y_label,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "x_ticks": [{"at": across(x), "label": f"{x:g}"} for x in ticks(x_low, x_high)],
        "y_ticks": [{"at": up(y), "label": f"{y:g}"} for y in labeled],
        "lines": [
            {
                "label": label,
                "color": color,
                "points": " ".join(f"{across(x)},{up(y)}" for x, y in zip(line.x, line.y, strict=True)),
            }
            for label, color, line in lines
        ],
    }


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers between two values, at most ``most``: multiples of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if span / (m * power) <= most - 1)
    first = -(-low // step)
    return [round((first + i) * step, 10) for i in range(most) if (first + i) * step <= high + 1e-9 * span]
