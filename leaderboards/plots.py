"""Plots as coordinates: strips of values with intervals, curves, and quality against cost.

They are driven by what the records hold (metrics and curves), not by which protocol made them. Points are rounded for
the drawing; the page's script shows the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from colorbench.models import BASELINES
from colorbench.reporting.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks
from colorbench.results import CurvePart
from leaderboards.entries import Entry
from leaderboards.formatting import clean, figure, span
from leaderboards.schema import Board, Column, Group, Row

COLORS = 8
"""Competitors with a color of their own: the best by the headline; the others are drawn thin."""
LARGEST = 1e9
"""A number beyond this is not drawn: it would flatten all others."""
MOST_POINTS = 400
MINIMUM_COST, MOST_COST = 1e-3, 1e12
"""Images per second and parameters that a model can have."""
MOST_BESIDE = 4
"""Other lines that one record's curve may bring."""
BEYOND = 10.0
"""A curve so many times as high as the median curve leaves the drawing at the top instead of flattening all others."""
MARKED = 16
"""A curve of so few points shows each."""
STRIPS = 6
"""Metrics of a group that are drawn as strips."""
STRIP_WIDTH = 1000
MOST_MATRIX = 14


def color_of(board: Board, row: Row) -> str:
    """Return the class of a row's color: its position among the competitors, or its role."""
    if row.kind == "reference":
        return BASELINES.get(row.name, "reference")
    position = [one.id for one in board.competitors].index(row.id)
    return f"s{position}" if position < COLORS else "sx"


def strips(board: Board, group: Group) -> list[dict[str, Any]]:
    """Return the group's directed metrics: models as dots with intervals, baselines as lines across."""
    columns = [column for column in board.of_group(group.number) if column.higher_is_better is not None]
    columns.sort(key=lambda column: (not column.headline, not column.compared))
    return [drawn for column in columns[:STRIPS] if (drawn := _strip(board, column)) is not None]


def _strip(board: Board, column: Column) -> dict[str, Any] | None:
    shown = [(row, board.cells[row.id][column.id]) for row in board.rows]
    shown = [(row, cell) for row, cell in shown if cell.value is not None and abs(cell.value) < LARGEST]
    competitors = [(row, cell) for row, cell in shown if row.kind == "competitor"]
    references = [(row, cell) for row, cell in shown if row.kind == "reference"]
    dots = competitors or references
    if not dots:
        return None
    sign = 1 if column.higher_is_better is False else -1
    dots = sorted(dots, key=lambda one: (sign * (one[1].value or 0.0), one[0].label))
    ends = [
        x for _, cell in dots for x in (cell.value, cell.ci_low, cell.ci_high) if x is not None and abs(x) < LARGEST
    ]
    # Baselines always fit in; a reference only where it does not squeeze all else into a corner.
    ends += [cell.value for row, cell in references if row.role == "baseline" and cell.value is not None]
    low, high = min(ends), max(ends)
    room = (high - low) or abs(high) or 1.0
    near = [cell.value for row, cell in references if row.role == "reference" and cell.value is not None]
    near = [value for value in near if low - 1.5 * room <= value <= high + 1.5 * room]
    low, high = min([low, *near]), max([high, *near])
    # To the next round numbers, so that the ends of the scale have names.
    marks = ticks(low, high, 6)
    step = marks[1] - marks[0] if len(marks) > 1 else room
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    high = high if high > low else low + step

    def across(x: float) -> float:
        return round(STRIP_WIDTH * (min(max(x, low), high) - low) / (high - low), 1)

    lines = [
        {
            "label": row.label,
            "value": figure(cell.value, column.unit),
            "color": BASELINES.get(row.name, "reference"),
            "at": across(cell.value or 0.0),
            "inside": low <= (cell.value or 0.0) <= high,
        }
        for row, cell in references
    ]
    return {
        "title": column.title,
        "metric": column.metric,
        "unit": column.unit,
        "better": column.higher_is_better,
        "width": STRIP_WIDTH,
        "dots": [
            {
                "row": row.id,
                "label": row.label,
                "color": color_of(board, row),
                "at": across(cell.value or 0.0),
                "low": None if cell.ci_low is None else across(cell.ci_low),
                "high": None if cell.ci_high is None else across(cell.ci_high),
                "value": figure(cell.value, column.unit),
                "interval": span(cell.ci_low, cell.ci_high, column.unit),
            }
            for row, cell in dots
        ],
        "references": lines,
        "ticks": [{"at": across(x), "label": f"{x:g}".replace("-", "−")} for x in ticks(low, high, 6)],
    }


def curves(board: Board, group: Group, entries: Mapping[str, Mapping[int, Entry]]) -> list[dict[str, Any]]:
    """Return every curve that the group's records hold, all models in one drawing."""
    found: dict[tuple[str, ...], list[tuple[Row, CurvePart]]] = {}
    for row in board.rows:
        entry = entries[row.id].get(group.number)
        for curve in entry.record.curves if entry else ():
            if _drawable(curve):
                # What the axes mean is part of what a curve is: no record decides it for another.
                key = (curve.name, curve.title, curve.x_label, curve.y_label)
                found.setdefault(key, []).append((row, curve))
    order = {column.metric: position for position, column in enumerate(board.of_group(group.number))}

    def position(key: tuple[str, ...]) -> tuple[int, int, tuple[str, ...]]:
        return (order.get(key[0], len(order)), -len(found[key]), key)

    return [_curves(board, found[key]) for key in sorted(found, key=position)]


def _drawable(curve: CurvePart) -> bool:
    return 0 < len(curve.x) == len(curve.y) and all(abs(value) < LARGEST for value in (*curve.x, *curve.y))


def _curves(board: Board, parts: Sequence[tuple[Row, CurvePart]]) -> dict[str, Any]:
    first = parts[0][1]
    lines = [(row.label, color_of(board, row), curve.x, curve.y) for row, curve in parts]
    beside: dict[tuple[str, tuple[float, ...]], None] = {}
    for _, curve in parts:
        for label, ys in list(curve.beside.items())[:MOST_BESIDE]:
            line = (clean(label, 60), tuple(ys))
            drawable = len(ys) == len(curve.x) and all(abs(y) < LARGEST for y in ys)
            if drawable and line not in beside and len(beside) < 3 * COLORS:
                beside[line] = None
                lines.append((line[0], "reference", curve.x, ys))
    lines = [(label, color, *_thinned(xs, ys)) for label, color, xs, ys in lines]
    xs = [x for line in lines for x in line[2]]
    return _drawing(
        title=clean(first.title, 120),
        x_label=clean(first.x_label, 60),
        y_label=clean(first.y_label, 60),
        x_range=(min(xs), max(xs)),
        y_range=_range([(min(ys), max(ys)) for *_, ys in lines]),
        lines=lines,
        points=[],
    )


def _range(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the range of y that holds 0 and all curves but those far beyond the others."""
    sizes = sorted(max(abs(low), abs(high)) for low, high in ends)
    limit = BEYOND * (sizes[(len(sizes) - 1) // 2] or sizes[-1])
    near = [end for end in ends if max(map(abs, end)) <= limit]
    return min(0.0, *(low for low, _ in near)), max(high for _, high in near)


def _thinned(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return at most 400 points, the first and the last among them."""
    if len(xs) <= MOST_POINTS:
        return list(xs), list(ys)
    positions = sorted({round(i * (len(xs) - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)})
    return [xs[i] for i in positions], [ys[i] for i in positions]


def costs(board: Board, group: Group) -> list[dict[str, Any]]:
    """Return the headline against speed and number of parameters, where these are known of at least two models."""
    column = next((one for one in board.of_group(group.number) if one.headline), None)
    if column is None or column.higher_is_better is None:
        return []
    speeds = {
        row.id: next((s.images_per_second for s in row.sources if s.group == group.number), 0.0) for row in board.rows
    }
    sizes = {row.id: float(row.parameters or 0) for row in board.rows}
    drawn = [
        _scatter(board, column, speeds, "Quality against speed", "images a second, decoding and scoring included"),
        _scatter(board, column, sizes, "Quality against size", "parameters"),
    ]
    return [one for one in drawn if one is not None]


def _scatter(
    board: Board, column: Column, costs: Mapping[str, float], title: str, x_label: str
) -> dict[str, Any] | None:
    points = []
    for row in board.competitors:
        cell, cost = board.cells[row.id][column.id], costs.get(row.id, 0.0)
        if cell.value is not None and abs(cell.value) < LARGEST and MINIMUM_COST < cost < MOST_COST:
            points.append((row, cell, math.log10(cost)))
    if len(points) < 2:
        return None
    ys = [
        y
        for _, cell, _ in points
        for y in (cell.value, cell.ci_low, cell.ci_high)
        if y is not None and abs(y) < LARGEST
    ]
    levels = []
    for row in board.references:
        value = board.cells[row.id][column.id].value
        if row.role == "baseline" and value is not None and abs(value) < LARGEST and row.name in BASELINES:
            levels.append((row, value))
            ys.append(value)
    low, high = min(x for *_, x in points), max(x for *_, x in points)
    spread = max(high - low, 0.3)
    x_range = (low - 0.15 * spread, high + 0.15 * spread)
    margin = 0.06 * ((max(ys) - min(ys)) or 1.0)
    return _drawing(
        title=title,
        x_label=x_label,
        y_label=f"{column.title} {column.unit}".strip(),
        x_range=x_range,
        y_range=(min(ys) - margin, max(ys) + margin),
        lines=[(row.label, color_of(board, row), list(x_range), [value, value]) for row, value in levels],
        points=[
            (row.label, color_of(board, row), x, cell.value or 0.0, cell.ci_low, cell.ci_high, costs[row.id])
            for row, cell, x in points
        ],
        logarithmic=True,
    )


def _drawing(
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    lines: Sequence[tuple[str, str, Sequence[float], Sequence[float]]],
    points: Sequence[tuple[str, str, float, float, float | None, float | None, float]],
    logarithmic: bool = False,
) -> dict[str, Any]:
    (x_low, x_high), (y_low, y_high) = x_range, y_range
    x_high = x_high if x_high > x_low else x_low + 1
    y_ticks = ticks(y_low, y_high)
    if not points and len(y_ticks) > 1 and y_ticks[-1] < y_high - 1e-6 * (y_high - y_low):
        y_ticks.append(2 * y_ticks[-1] - y_ticks[-2])
        y_high = y_ticks[-1]
    y_high = y_high if y_high > y_low else y_low + 1

    def across(x: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (x - x_low) / (x_high - x_low), 1)

    def up(y: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (min(max(y, y_low), y_high) - y_low) / (y_high - y_low), 1)

    marks = _powers(x_low, x_high) if logarithmic else [(x, f"{x:g}") for x in ticks(x_low, x_high)]
    return {
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "x_ticks": [{"at": across(x), "label": label.replace("-", "−")} for x, label in marks],
        "y_ticks": [{"at": up(y), "label": f"{y:g}".replace("-", "−")} for y in y_ticks],
        "lines": [
            {
                "label": label,
                "color": color,
                "points": " ".join(f"{across(x)},{up(y)}" for x, y in zip(xs, ys, strict=True)),
                "marks": [(across(x), up(y)) for x, y in zip(xs, ys, strict=True)] if _marked(xs, points) else [],
            }
            for label, color, xs, ys in lines
        ],
        "points": [
            {
                "label": label,
                "color": color,
                "x": across(x),
                "y": up(y),
                "low": None if low is None else up(low),
                "high": None if high is None else up(high),
                "value": figure(y, " "),
                "interval": span(low, high, " "),
                "cost": f"{cost:,.4g}"
                if cost < 1e4
                else f"{cost / 1e6:,.3g} million"
                if cost >= 1e6
                else f"{cost:,.0f}",
            }
            for label, color, x, y, low, high, cost in points
        ],
        # What the script shows on hover; a scatter's points say it themselves.
        "data": None
        if points
        else {
            "left": LEFT,
            "right": RIGHT,
            "xLow": x_low,
            "xHigh": x_high,
            "xLabel": x_label,
            "lines": [
                {"label": label, "color": color, "x": _short(xs), "y": _short(ys)} for label, color, xs, ys in lines
            ],
        },
    }


def _marked(xs: Sequence[float], points: Sequence[Any]) -> bool:
    return not points and len(xs) <= MARKED


def _short(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    """Return values and labels of 1, 2, 5 times powers of ten between two logarithms; at most about seven."""
    steps = (1, 2, 5) if high - low < 2.2 else (1,)
    found = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for step in steps:
            at = power + math.log10(step)
            if low <= at <= high:
                value = step * 10.0**power
                found.append(
                    (
                        at,
                        f"{value / 1e6:g} M"
                        if value >= 1e6
                        else f"{value / 1e3:g} k"
                        if value >= 1e4
                        else f"{value:g}",
                    )
                )
    return found[:: max(1, math.ceil(len(found) / 7))]


def matrix(board: Board, group: Group) -> dict[str, Any] | None:
    """Return which model is significantly better than which, by the headline; None for one model or very many."""
    column = next((one for one in board.of_group(group.number) if one.headline), None)
    if column is None or not 2 <= column.ranked <= MOST_MATRIX:
        return None
    rows = [row for row in board.competitors if row.id in column.beats]
    sign = 1 if column.higher_is_better is False else -1
    rows.sort(key=lambda row: (sign * (board.cells[row.id][column.id].value or 0.0), row.label))
    return {
        "title": column.title,
        "rows": rows,
        "better": [[other.id in column.beats[row.id] for other in rows] for row in rows],
        "worse": [[row.id in column.beats[other.id] for other in rows] for row in rows],
    }
