"""Write labels beside the points of a plot, where they cover no other label or point, and no line if possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DISTANCES = (8.0, 14.0, 22.0, 32.0, 44.0, 58.0)
"""From a point to its label, in points."""
WITH_LINE = 14.0
"""From this distance on, a thin line leads to the label."""
POINT = 5.0
"""Half the side of the square that a point covers, in points."""
DIRECTIONS = tuple((math.cos(math.radians(a)), math.sin(math.radians(a))) for a in range(0, 360, 30))
CROSSED, MISLEADING, FARTHER, NOT_RIGHT = 1.0, 4.0, 0.5, 0.02
"""Costs of a place: per interval or level that the label covers, per line to a label that runs through another label,
per step away from its point, per turn from the right side."""


@dataclass(frozen=True)
class Point:
    """A point with its label and its intervals along x and y, in the units of the axes."""

    label: str
    x: float
    y: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None


class Box(NamedTuple):
    """A rectangle in points of the figure; a segment has no width or no height."""

    left: float
    bottom: float
    right: float
    top: float

    def covers(self, other: Box) -> bool:
        """Return whether the two have an area, or a part of a segment, in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def middle(self) -> tuple[float, float]:
        """Return the center."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def is_crossed(self, start: tuple[float, float], end: tuple[float, float]) -> bool:
        """Return whether a straight line between two positions runs through the inside."""
        first, last = 0.0, 1.0  # the part of the line that is inside, as shares of its length
        for at, to, low, high in zip(start, end, self[:2], self[2:], strict=True):
            if at == to:
                if not low < at < high:
                    return False
                continue
            near, far = sorted(((low - at) / (to - at), (high - at) / (to - at)))
            first, last = max(first, near), min(last, far)
        return first < last

    def within(self, other: Box) -> bool:
        """Return whether the other rectangle contains this one."""
        left, right = other.left <= self.left, self.right <= other.right
        return left and right and other.bottom <= self.bottom and self.top <= other.top


def write_labels(
    figure: Figure, axes: Axes, points: Sequence[Point], size: float, color: str, levels: Sequence[float] = ()
) -> int:
    """Write the labels into a plot, in order of importance, and return how many found no place.

    A label without a place is left out: pages show the name of a point on hover.

    Args:
        figure: laid out here; the labels do not change its layout.
        axes: with all points drawn and the ends set.
        points: the most important first.
        size: of the text, in points.
        color: of the text.
        levels: y of the lines across the plot.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    scale = 72 / figure.dpi
    frame = Box(*(scale * end for end in axes.get_window_extent().extents))

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, y))
        return float(across) * scale, float(up) * scale

    at = [place(one.x, one.y) for one in points]
    taken = [Box(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in at]
    intervals = [
        Box(*place(*start), *place(*end))
        for one in points
        for start, end in (
            *([((one.across[0], one.y), (one.across[1], one.y))] if one.across else []),
            *([((one.x, one.up[0]), (one.x, one.up[1]))] if one.up else []),
        )
    ]
    for level in levels:
        _, up = place(points[0].x if points else 1.0, level)
        intervals.append(Box(frame.left, up, frame.right, up))
    left_out = 0
    labels: list[Box] = []
    leaders: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for own, (one, (x, y)) in enumerate(zip(points, at, strict=True)):

        def crossed(box: Box, distance: float, start: tuple[float, float] = (x, y)) -> float:
            """Return the cost of what a label and the line to it would cross."""
            misled = sum(box.is_crossed(*leader) for leader in leaders)
            if distance >= WITH_LINE:
                misled += sum(label.is_crossed(start, box.middle()) for label in labels)
            return CROSSED * sum(box.covers(other) for other in intervals) + MISLEADING * misled

        found = _best(_places((x, y), _size(one.label, size)), frame, taken[:own] + taken[own + 1 :], crossed)
        if found is None:
            left_out += 1
            continue
        box, distance = found
        taken.append(box)
        labels.append(box)
        if distance >= WITH_LINE:
            leaders.append(((x, y), box.middle()))
        line: dict[str, Any] = {"arrowstyle": "-", "color": color, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        written = axes.annotate(
            one.label,
            (one.x, one.y),
            ((box.left + box.right) / 2 - x, (box.bottom + box.top) / 2 - y),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            color=color,
            arrowprops=line if distance >= WITH_LINE else None,
        )
        written.set_in_layout(False)
    return left_out


def _best(
    places: Iterator[tuple[Box, float, float]],
    frame: Box,
    taken: Sequence[Box],
    crossed: Callable[[Box, float], float],
) -> tuple[Box, float] | None:
    """Return the cheapest place inside the frame that covers nothing that is taken, with its distance; None: no such.

    Args:
        places: (place, distance, cost).
        frame: of the axes.
        taken: points and labels.
        crossed: (place, distance) -> cost of the lines and labels that are crossed.
    """
    found: tuple[float, Box, float] | None = None
    for box, distance, cost in places:
        if found is not None and cost >= found[0]:
            continue
        if not box.within(frame) or any(box.covers(other) for other in taken):
            continue
        cost += crossed(box, distance)
        if found is None or cost < found[0]:
            found = (cost, box, distance)
    return None if found is None else found[1:]


def _places(at: tuple[float, float], size: tuple[float, float]) -> Iterator[tuple[Box, float, float]]:
    wide, high = size
    for step, distance in enumerate(DISTANCES):
        for turn, (across, up) in enumerate(DIRECTIONS):
            # The nearest edge of the label lies at the distance, whatever the direction.
            x = at[0] + across * (distance + wide / 2)
            y = at[1] + up * (distance + high / 2)
            turns = min(turn, len(DIRECTIONS) - turn)
            box = Box(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
            yield box, distance, FARTHER * step + NOT_RIGHT * turns


def _size(label: str, size: float) -> tuple[float, float]:
    """Return width and height of a text in points; matplotlib's font is wider than those of browsers."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    wide, _, _ = text_to_path.get_text_width_height_descent(label or "x", FontProperties(size=size), ismath=False)
    return float(wide) + 2, 1.25 * size
