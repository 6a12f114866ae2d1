"""Plots of the curves of one record, each with the same curve of the baselines."""

from __future__ import annotations

from collections.abc import Sequence

from colorbench.models import BASELINES, display_name
from colorbench.reporting.plot_drawing import SERIES, Axis, Line, equal_legends, plot
from colorbench.reporting.plot_files import Plot
from colorbench.results import CurvePart, Record

FEW_POINTS = 12
"""Curves of at most this many points have a mark at each."""


def record_plots(record: Record, shown: Sequence[tuple[str, Record]], *, one_legend: bool = False) -> dict[str, Plot]:
    """Return file name -> plot for every curve of a record.

    Args:
        record: the record; its curve is drawn on top.
        shown: title -> record of a baseline on the same images.
        one_legend: leave out the legend of each plot where all have the same; the page shows it once.
    """
    run = f"{record.model.name}-{record.protocol.name}-{record.dataset.name}-{record.key[:8]}"
    # A protocol may use one name for several curves.
    names = [f"{run}-{curve.name}-{place}" for place, curve in enumerate(record.curves, start=1)]
    drawn = [_lines(curve, record, shown) for curve in record.curves]
    legend = not (one_legend and equal_legends(drawn))
    return {
        name: _curve_plot(curve, lines, legend) for name, curve, lines in zip(names, record.curves, drawn, strict=True)
    }


def _lines(curve: CurvePart, record: Record, shown: Sequence[tuple[str, Record]]) -> list[Line]:
    lines = [_line(display_name(record.model.name), curve, "s0")]
    for head, other in shown:
        color = BASELINES[other.model.name]
        lines += [_line(head, one, color) for one in other.curves if one.name == curve.name]
    return lines + [
        Line(label, curve.x, values, SERIES[1 + place % (len(SERIES) - 1)])
        for place, (label, values) in enumerate(curve.beside.items())
    ]


def _curve_plot(curve: CurvePart, lines: Sequence[Line], legend: bool) -> Plot:
    across = [x for line in lines for x in line.x] or [0.0, 1.0]
    lowest = min((y for line in lines for y in line.y), default=0.0)
    x = Axis(curve.x_label, min(across), max(across))
    return plot(curve.title, x, Axis(curve.y_label, None if lowest < 0 else 0.0), lines=lines, legend=legend)


def _line(label: str, curve: CurvePart, color: str) -> Line:
    """Return a curve as a line, with its intervals as a band; a mark at each point where there are only a few."""
    banded = 0 < len(curve.x) == len(curve.low) == len(curve.high)
    low, high = (curve.low, curve.high) if banded else (None, None)
    return Line(label, curve.x, curve.y, color, low, high, markers=len(curve.x) <= FEW_POINTS)
