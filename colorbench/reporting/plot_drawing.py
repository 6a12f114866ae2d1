"""Functions for all static plots (matplotlib): lines, forest plots, panels, squares.

matplotlib draws; it is imported only when something is drawn. What comes out is a ``Plot`` (``plot_files.py``): markup
for a page, or a file for a paper. This module imports nothing of colorbench but ``storage``, so that every package may
use it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from colorbench.reporting.plot_files import COLORS, Plot, one_line, style
from colorbench.reporting.plot_labels import Point, write_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = ("s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7")
"""Colors of models, in the order of the rows."""
FURTHER = ("reference", "reference1", "reference2", "reference3")
"""Colors of baselines and references beyond gray, constant and truth: nearly equal, but dashes and shapes differ."""
DASHES = {
    "gray": (0, (5, 3)),
    "constant": (0, (1.5, 2)),
    "truth": (0, (6, 2, 1.5, 2)),
    "reference": (0, (9, 3)),
    "reference1": (0, (1.5, 1.5, 1.5, 4)),
    "reference2": (0, (9, 2, 1.5, 2, 1.5, 2)),
    "reference3": (0, (3, 1.5)),
}
"""Baselines and references can be distinguished from models without color, too."""
SHAPES = {
    "gray": "s",
    "constant": "^",
    "truth": "D",
    "reference": "X",
    "reference1": "P",
    "reference2": "v",
    "reference3": "p",
}
"""Markers of baselines and references; models have dots."""
SMALL, MEDIUM = 9.0, 9.5
"""Text sizes in points; a plot is 331 points wide, about the width of a phone."""
WIDTH, HEIGHT = 4.6, 3.0
LARGEST = 1e12
"""Largest value; larger ones are left out, since they would flatten all others."""
MAX_LEGEND = 14
FEW_LINES = 5
"""With more lines their bands are fainter, since they overlap."""


@dataclass(frozen=True)
class Line:
    """A line through points; ``low`` and ``high`` draw a band around it."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str = "s0"
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    markers: bool = False
    note: str = ""
    """Text on hover; the label if empty."""


@dataclass(frozen=True)
class Mark:
    """A point with an interval, along y in ``plot`` and along x in ``forest_plot``."""

    label: str
    x: float
    y: float = 0.0
    low: float | None = None
    high: float | None = None
    color: str = "s0"
    note: str = ""
    text: str = ""
    """Text at the end of the row in a forest plot."""
    before: float | None = None
    """An earlier value, drawn as a ring in a forest plot."""
    x_low: float | None = None
    x_high: float | None = None
    """An interval along x in ``plot``."""
    shape: str = "o"
    """A marker of matplotlib; ``SHAPES`` has those of baselines."""


@dataclass(frozen=True)
class Level:
    """A straight line across the plot, such as the value of a baseline."""

    label: str
    value: float
    color: str = "reference"


@dataclass(frozen=True)
class Bars:
    """A histogram; ``edges`` has one value more than ``heights``."""

    label: str
    edges: Sequence[float]
    heights: Sequence[float]
    color: str = "gray"


@dataclass(frozen=True)
class Axis:
    """An axis: its label, ends (None: fitted to the data) and scale."""

    label: str = ""
    low: float | None = None
    high: float | None = None
    log: bool = False


def plot(
    title: str,
    x: Axis,
    y: Axis,
    *,
    lines: Sequence[Line] = (),
    marks: Sequence[Mark] = (),
    levels: Sequence[Level] = (),
    bars: Sequence[Bars] = (),
    height: float = HEIGHT,
    labeled: bool = False,
    legend: bool = True,
) -> Plot:
    """Draw a plot of lines, points with intervals along y, levels across and histograms.

    Args:
        title: for screen readers; pages write it above the plot.
        x: the horizontal axis.
        y: the vertical axis.
        lines: the first is drawn on top.
        marks: points; those with a label are in the legend.
        levels: horizontal lines.
        bars: drawn below the lines.
        height: in inches, without the legend.
        labeled: write the labels of marks beside them, where they cover nothing, and not in the legend.
        legend: draw the legend below the axes; otherwise ``keys`` of the plot has the lines, for the page.
    """
    with style():
        shown = _Drawing(title, (WIDTH, height))
        axes = shown.axes(x, y)
        shown.lines(axes, lines)
        for one in bars:
            heights, edges = _numbers(one.heights), _numbers(one.edges)
            drawn = axes.stairs(heights, edges, fill=True, color=COLORS[one.color][0], alpha=0.45)
            shown.add(drawn, one.label, one.label)
        for mark in marks:
            shown.mark(axes, replace(mark, label="", note=mark.note or mark.label) if labeled else mark, vertical=True)
        for level in levels:
            line = axes.axhline(level.value, **_pen(level.color, 1.3))
            shown.add(line, level.label, level.label)
        _limit(axes, x, y)
        if not legend:
            shown.plot.keys = {one_line(line.label, 40): line.color for line in lines}
            return shown.plot
        finished = shown.finish()
        if labeled:
            points = [_labeled(mark) for mark in marks]
            write_labels(shown.plot.figure, axes, points, SMALL, COLORS["ink"][0], [one.value for one in levels])
        return finished


def swatch(color: str) -> str:
    """Return SVG markup of a short line in a color and its dashes, for a legend of the page."""
    dashes = DASHES.get(color)
    pattern = "" if dashes is None else f' stroke-dasharray="{" ".join(str(2 * length) for length in dashes[1])}"'
    line = f'<line x2="36" y1="4" y2="4" stroke="var(--{color})" stroke-width="2.5"{pattern}/>'
    return f'<svg class="swatch" viewBox="0 0 36 8" width="36" height="8" aria-hidden="true">{line}</svg>'


def equal_legends(plots: Sequence[Sequence[Line]]) -> bool:
    """Return whether several plots have the same lines, so that one legend serves all of them."""
    legends = [{line.label: line.color for line in lines} for lines in plots]
    return len(legends) > 1 and all(legend == legends[0] for legend in legends)


def forest_plot(title: str, x: Axis, rows: Sequence[Mark], *, levels: Sequence[Level] = ()) -> Plot:
    """Draw a plot of one row per mark: name on the left, point and interval along x, text on the right.

    Args:
        title: for screen readers; pages write it above the plot.
        x: the axis of values.
        rows: from top to bottom.
        levels: vertical lines, such as baselines.
    """
    with style():
        shown = _Drawing(title, (WIDTH, 0.6 + 0.27 * max(len(rows), 1)))
        y = Axis(low=0.4 - len(rows), high=0.6)
        axes = shown.axes(x, y)
        axes.grid(visible=False, axis="y")
        axes.set_yticks([-place for place in range(len(rows))], [one_line(row.label, 24) for row in rows])
        for place, row in enumerate(rows):
            y_at = float(-place)
            shown.mark(axes, Mark("", row.x, y_at, row.low, row.high, row.color, row.note or row.label), vertical=False)
            if row.before is not None:
                axes.plot([row.before], [y_at], "o", markersize=10, fillstyle="none", color=COLORS["gray"][0])
            where: dict[str, Any] = {
                "xycoords": ("axes fraction", "data"),
                "textcoords": "offset points",
                "va": "center_baseline",
            }
            axes.annotate(one_line(row.text, 24), (1, y_at), (6, 0), fontsize=SMALL, color=COLORS["ink"][0], **where)
        for level in levels:
            shown.add(axes.axvline(level.value, **_pen(level.color, 1.3)), level.label, level.label)
        _limit(axes, x, y)
        return shown.finish(always=True)


def panels(title: str, x: Axis, parts: Mapping[str, Sequence[Line]]) -> Plot:
    """Draw line plots side by side with one legend, such as the curves of a training.

    Args:
        title: for screen readers.
        x: the common horizontal axis.
        parts: heading of a panel -> its lines.
    """
    with style():
        shown = _Drawing(title, (3.4 * max(len(parts), 1), HEIGHT))
        for place, (heading, lines) in enumerate(parts.items()):
            axes = shown.axes(x, Axis(), (1, len(parts), place + 1))
            axes.set_title(one_line(heading, 40), fontsize=MEDIUM, color=COLORS["ink"][0])
            shown.lines(axes, lines)
            _limit(axes, x, Axis())
        return shown.finish(always=True)


def squares(title: str, x: Axis, y: Axis, cells: Sequence[tuple[float, float, float, str]]) -> Plot:
    """Draw a plot of colored squares in a plane of equal scales.

    Args:
        title: above the plot.
        x: the horizontal axis.
        y: the vertical axis.
        cells: (x, y, side, color as ``#rrggbb``) of each.
    """
    from matplotlib.patches import Rectangle

    with style():
        shown = _Drawing(title, (WIDTH, WIDTH))
        axes = shown.axes(x, y)
        axes.set_title(shown.plot.title, fontsize=MEDIUM, color=COLORS["ink"][0])
        axes.set_aspect("equal")
        for across, up, side, color in cells:
            axes.add_patch(Rectangle((across - side / 2, up - side / 2), side, side, facecolor=color, linewidth=0))
        axes.autoscale_view()
        return shown.finish()


class _Drawing:
    """A figure while it is drawn, with the texts of its legend and hover texts."""

    def __init__(self, title: str, size: tuple[float, float]) -> None:
        # Not pyplot, which has global state and is not safe in threads.
        from matplotlib.figure import Figure

        self.plot = Plot(one_line(title, 200), Figure(figsize=size, layout="constrained"))
        self.legend: dict[str, Any] = {}

    def axes(self, x: Axis, y: Axis, place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
        from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

        axes = self.plot.figure.add_subplot(*place)
        ink = COLORS["ink"][0]
        axes.set_facecolor("none")
        axes.grid(visible=True, color=COLORS["line"][0], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", colors=ink, labelsize=SMALL, length=0, pad=5)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel(one_line(x.label, 70), fontsize=SMALL, color=ink)
        axes.set_ylabel("\n".join(textwrap.wrap(one_line(y.label, 76), 38)), fontsize=SMALL, color=ink)
        if not x.log:
            axes.locator_params(axis="x", nbins=6)
        else:
            axes.set_xscale("log")
            # Costs of models are often within one power of ten; with 1, 2 and 5 every axis has labels.
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_minor_formatter(NullFormatter())
        return axes

    def lines(self, axes: Axes, lines: Sequence[Line]) -> None:
        for place, line in enumerate(lines):
            above = 3 - place / len(lines)  # the first is drawn on top
            x, y = _numbers(line.x), _numbers(line.y)
            if line.low is not None and line.high is not None:
                low, high = _numbers(line.low), _numbers(line.high)
                alpha = 0.15 if len(lines) <= FEW_LINES else 0.09
                axes.fill_between(x, low, high, color=COLORS[line.color][0], alpha=alpha, linewidth=0)
                self.plot.banded = True
            marker: dict[str, Any] = {"marker": "o", "markersize": 4.5} if line.markers or len(x) == 1 else {}
            (drawn,) = axes.plot(x, y, zorder=above, **_pen(line.color, 2.0), **marker)
            self.add(drawn, line.label, line.note or line.label)

    def mark(self, axes: Axes, mark: Mark, *, vertical: bool) -> None:
        color = COLORS[mark.color][0]
        # Intervals along both axes cross those of other points: thinner, so that the points stay visible.
        both = mark.x_low is not None and mark.x_high is not None
        pen: dict[str, Any] = {"color": color, "linewidth": 1.2 if both else 2, "solid_capstyle": "butt"}
        if mark.low is not None and mark.high is not None:
            ends = ([mark.x, mark.x], [mark.low, mark.high]) if vertical else ([mark.low, mark.high], [mark.y, mark.y])
            axes.plot(*ends, **pen)
        if mark.x_low is not None and mark.x_high is not None:
            axes.plot([mark.x_low, mark.x_high], [mark.y, mark.y], **pen)
        point: dict[str, Any] = {"markersize": 6 if mark.shape == "o" else 7.5, "markeredgewidth": 0, "clip_on": False}
        (drawn,) = axes.plot([mark.x], [mark.y], mark.shape, color=color, **point)
        self.add(drawn, mark.label, mark.note or mark.label)

    def add(self, drawn: Any, label: str, note: str) -> None:
        """Add a drawn element to the legend, with its hover text."""
        if label:
            self.legend.setdefault(one_line(label, 40), drawn)
        if note:
            drawn.set_gid(f"note-{len(self.plot.notes)}")
            self.plot.notes[f"note-{len(self.plot.notes)}"] = one_line(note, 200)

    def finish(self, *, always: bool = False) -> Plot:
        """Add the legend below the axes if there are several entries, or ``always``; return the plot."""
        from matplotlib.lines import Line2D

        named = list(self.legend.items())
        if len(named) > 1 or (always and named):
            if len(named) > MAX_LEGEND:
                more = Line2D([], [], linewidth=0)
                named = [*named[:MAX_LEGEND], (f"and {len(named) - MAX_LEGEND} more", more)]
            wide, longest = self.plot.figure.get_figwidth(), max(len(label) for label, _ in named)
            columns = max(1, min(len(named), int(wide * 13 / (longest + 6))))
            self.plot.figure.set_figheight(self.plot.figure.get_figheight() + 0.19 * math.ceil(len(named) / columns))
            self.plot.figure.legend(
                [drawn for _, drawn in named],
                # matplotlib would leave out a label that begins with "_".
                ["\u200b" + label if label.startswith("_") else label for label, _ in named],
                loc="outside lower center",
                ncols=columns,
                frameon=False,
                fontsize=SMALL,
                labelcolor=COLORS["ink"][0],
                handlelength=3.4,
            )
        return self.plot


def _labeled(mark: Mark) -> Point:
    spans = ((mark.x_low, mark.x_high), (mark.low, mark.high))
    across, up = ((low, high) if low is not None and high is not None else None for low, high in spans)
    return Point(one_line(mark.label, 28), mark.x, mark.y, across, up)


def _limit(axes: Axes, x: Axis, y: Axis) -> None:
    """Set the limits of the axes, after the data are drawn, since free limits are fitted to them."""
    if (x.low, x.high) != (None, None):
        axes.set_xlim(x.low, x.high)
    if (y.low, y.high) != (None, None):
        axes.set_ylim(y.low, y.high)


def _pen(color: str, width: float) -> dict[str, Any]:
    return {"color": COLORS[color][0], "linewidth": width, "linestyle": DASHES.get(color, "solid")}


def _numbers(values: Sequence[float]) -> list[float]:
    """Round values to six digits, so that 100.0000001 ends an axis at 100; NaN for values that cannot be drawn."""
    return [float(f"{value:.6g}") if abs(value) < LARGEST else math.nan for value in values]
