"""Plots of a leaderboard: values with intervals, curves, and score against cost.

They depend only on the content of the records (metrics and curves), not on the protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from colorbench.models import BASELINES
from colorbench.reporting import (
    FURTHER,
    SERIES,
    Axis,
    Level,
    Line,
    Mark,
    Plot,
    equal_legends,
    forest_plot,
    plot,
    write_figures,
)
from colorbench.results import CurvePart
from leaderboards.board_schema import Board, Cell, Column, Group, Row
from leaderboards.collected_records import Entry
from leaderboards.untrusted_text import arrow, clean, figure, span

LARGEST = 1e9
"""Larger numbers are not drawn: they would compress the scale."""
MOST_POINTS = 400
MINIMUM_COST, MOST_COST = 1e-3, 1e12
"""Plausible range of images per second and numbers of parameters."""
MOST_BESIDE = 4
"""Additional lines that one curve of a record may have."""
MOST_LINES = 60
"""Maximum number of lines in one plot."""
BEYOND = 10.0
"""A curve that is higher than this multiple of the median curve is cut off, so that the others stay readable."""
ROUNDING = 1e-6
MARKED = 16
"""Curves of at most this many points have a marker at each."""
FORESTS = 6
"""Maximum number of metrics drawn per group."""
MOST_MATRIX = 14


def color_of(board: Board, row: Row) -> str:
    """Return the name of a row's color in the plots of the board.

    It depends on the position among the models, or on the name of the baseline.
    """
    if row.kind == "reference":
        others = [one.id for one in board.references if one.name not in BASELINES]
        return BASELINES.get(row.name) or FURTHER[others.index(row.id) % len(FURTHER)]
    position = [one.id for one in board.competitors].index(row.id)
    return SERIES[position] if position < len(SERIES) else "sx"


def write_plots(board: Board, drawn: Mapping[int, Sequence[Plot]], overview: Sequence[Plot], folder: Path) -> None:
    """Write a board's plots for a paper, as PDF and SVG.

    Args:
        board: whose groups name the files.
        drawn: number of a group -> its plots.
        overview: plots of several groups.
        folder: where they are written.
    """
    names = {
        f"{group.protocol}-{group.dataset}-{group.number}-{place}-{one.title}": one
        for group in board.groups
        for place, one in enumerate(drawn[group.number], start=1)
    }
    names |= {f"overview-{place}-{one.title}": one for place, one in enumerate(overview, start=1)}
    write_figures(names, folder)


def group_plots(
    board: Board, entries: Mapping[str, Mapping[int, Entry]], *, one_legend: bool = False
) -> dict[int, list[Plot]]:
    """Return the plots of every group of the board: metrics, curves, costs.

    Args:
        board: see ``board_building.build``.
        entries: row -> group -> its record.
        one_legend: leave out the legend of each curve where all of a group have the same; the page shows it once.
    """
    return {
        group.number: [*_forests(board, group), *curves(board, group, entries, one_legend), *_costs(board, group)]
        for group in board.groups
    }


def _forests(board: Board, group: Group) -> list[Plot]:
    """Return a plot for each metric with a direction: one row per model, baselines and oracles as lines."""
    columns = [column for column in board.of_group(group.number) if column.higher_is_better is not None]
    columns.sort(key=lambda column: (not column.headline, not column.compared))
    return [drawn for column in columns[:FORESTS] if (drawn := _forest(board, column)) is not None]


def drawable(*values: float | None) -> list[float]:
    """Return the values that fit a plot of the board."""
    return [value for value in values if value is not None and abs(value) < LARGEST]


def _forest(board: Board, column: Column) -> Plot | None:
    cells = [(row, board.cells[row.id][column.id]) for row in board.rows]
    cells = [(row, cell) for row, cell in cells if drawable(cell.value)]
    references = [(row, cell) for row, cell in cells if row.kind == "reference"]
    rows = [(row, cell) for row, cell in cells if row.kind == "competitor"] or references
    if not rows:
        return None
    sign = 1 if column.higher_is_better is False else -1
    rows = sorted(rows, key=lambda one: (sign * (one[1].value or 0.0), one[0].label))
    marks = [
        Mark(
            row.label,
            cell.value or 0.0,
            low=_end(cell.ci_low),
            high=_end(cell.ci_high),
            color=color_of(board, row),
            note=_note(row, cell, column),
            text=figure(cell.value, column.unit),
        )
        for row, cell in rows
    ]
    ends = [end for _, cell in rows for end in drawable(cell.value, cell.ci_low, cell.ci_high)]
    # Baselines are always in range; an oracle only if it does not compress the scale too much.
    ends += [cell.value or 0.0 for row, cell in references if row.role == "baseline"]
    low, high = min(ends), max(ends)
    room = (high - low) or abs(high) or 1.0
    levels = []
    for row, cell in references:
        if low - 1.5 * room <= (cell.value or 0.0) <= high + 1.5 * room:
            label = f"{row.label} {figure(cell.value, column.unit)}"
            levels.append(Level(label, cell.value or 0.0, color_of(board, row)))
    what = " ".join(f"{column.title} {column.unit} {arrow(column.higher_is_better)}".split())
    return forest_plot(column.title, Axis(what), marks, levels=levels)


def _end(value: float | None) -> float | None:
    return next(iter(drawable(value)), None)


def _note(row: Row, cell: Cell, column: Column, more: str = "") -> str:
    note = f"{row.label}: {figure(cell.value, column.unit)} {span(cell.ci_low, cell.ci_high, column.unit)}".strip()
    return f"{note} · {more}" if more else note


def curves(
    board: Board, group: Group, entries: Mapping[str, Mapping[int, Entry]], one_legend: bool = False
) -> list[Plot]:
    """Return a plot for each curve in a board group's records, with all models."""
    found: dict[tuple[str, ...], list[tuple[Row, CurvePart]]] = {}
    for row in board.rows:
        entry = entries[row.id].get(group.number)
        for curve in entry.record.curves if entry else ():
            if 0 < len(curve.x) == len(curve.y) == len(drawable(*curve.x)) == len(drawable(*curve.y)):
                # The meaning of the axes is part of a curve's identity: no record decides it for another.
                key = (curve.name, curve.title, curve.x_label, curve.y_label)
                found.setdefault(key, []).append((row, curve))
    order = {column.metric: position for position, column in enumerate(board.of_group(group.number))}

    def position(key: tuple[str, ...]) -> tuple[int, int, tuple[str, ...]]:
        return (order.get(key[0], len(order)), -len(found[key]), key)

    ordered = [found[key] for key in sorted(found, key=position)]
    drawn = [_lines(board, parts) for parts in ordered]
    legend = not (one_legend and equal_legends(drawn))
    return [_curve_plot(parts[0][1], lines, legend) for parts, lines in zip(ordered, drawn, strict=True)]


def _lines(board: Board, parts: Sequence[tuple[Row, CurvePart]]) -> list[Line]:
    # Bands of baselines would cover those of the models.
    lines = [
        Line(row.label, curve.x, curve.y, color_of(board, row), *(_band(curve) if row.kind == "competitor" else ()))
        for row, curve in parts[:MOST_LINES]
    ]
    beside: dict[tuple[str, tuple[float, ...]], None] = {}
    for _, curve in parts:
        for label, ys in list(curve.beside.items())[:MOST_BESIDE]:
            line = (clean(label, 60), tuple(ys))
            fits = len(ys) == len(curve.x) == len(drawable(*ys))
            if fits and line not in beside and len(beside) < 3 * len(SERIES):
                beside[line] = None
                lines.append(Line(line[0], curve.x, ys, "reference"))
    return [_thinned(line) for line in lines]


def _curve_plot(first: CurvePart, lines: Sequence[Line], legend: bool) -> Plot:
    across = [x for line in lines for x in line.x]
    low, high = _range([(min(line.low or line.y), max(line.high or line.y)) for line in lines])
    return plot(
        clean(first.title, 120),
        Axis(clean(first.x_label, 60), min(across), max(across)),
        Axis(clean(first.y_label, 60), low, high),
        lines=lines,
        legend=legend,
    )


def _band(curve: CurvePart) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Return the intervals of a curve, if there is one at each point and all can be drawn."""
    whole = len(curve.x) == len(drawable(*curve.low)) == len(drawable(*curve.high))
    points = zip(curve.low, curve.y, curve.high, strict=True) if whole else ()
    sound = whole and all(low - ROUNDING <= y <= high + ROUNDING for low, y, high in points)
    return (curve.low, curve.high) if sound else (None, None)


def _range(ends: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Return the range of y: it contains 0 and all curves except outliers; None: as the curves require."""
    sizes = sorted(max(abs(low), abs(high)) for low, high in ends)
    limit = BEYOND * (sizes[(len(sizes) - 1) // 2] or sizes[-1])
    near = [end for end in ends if max(map(abs, end)) <= limit]
    low = min(low for low, _ in near)
    return None if low < 0 else 0.0, max(high for _, high in near) if len(near) < len(ends) else None


def _thinned(line: Line) -> Line:
    """Return a line with at most 400 points, including the first and the last, and with markers if it has few."""
    last = len(line.x) - 1
    if last < MOST_POINTS:
        return replace(line, markers=last < MARKED)
    positions = sorted({round(i * last / (MOST_POINTS - 1)) for i in range(MOST_POINTS)})
    x, y, low, high = (values and [values[i] for i in positions] for values in (line.x, line.y, line.low, line.high))
    return replace(line, x=x or (), y=y or (), low=low, high=high)


def _costs(board: Board, group: Group) -> list[Plot]:
    """Return the headline against speed and number of parameters, each if known for at least two models."""
    column = next((one for one in board.of_group(group.number) if one.headline), None)
    if column is None or column.higher_is_better is None:
        return []
    speeds = {
        row.id: next((s.images_per_second for s in row.sources if s.group == group.number), 0.0) for row in board.rows
    }
    sizes = {row.id: float(row.parameters or 0) for row in board.rows}
    drawn = [
        _scatter(board, column, speeds, f"{column.title} against speed", "images/s, including decoding and scoring"),
        _scatter(board, column, sizes, f"{column.title} against size", "parameters"),
    ]
    return [one for one in drawn if one is not None]


def _scatter(board: Board, column: Column, costs: Mapping[str, float], title: str, x_label: str) -> Plot | None:
    marks = []
    for row in board.competitors:
        cell, cost = board.cells[row.id][column.id], costs.get(row.id, 0.0)
        if drawable(cell.value) and MINIMUM_COST < cost < MOST_COST:
            note = _note(row, cell, column, f"{cost:,.4g}" if cost < 1e4 else f"{cost:,.0f}")
            ends = _end(cell.ci_low), _end(cell.ci_high)
            marks.append(Mark(row.label, cost, cell.value or 0.0, *ends, color=color_of(board, row), note=note))
    if len(marks) < 2:
        return None
    levels = []
    for row in board.references:
        value = board.cells[row.id][column.id].value
        if row.role == "baseline" and row.name in BASELINES and drawable(value):
            levels.append(Level(row.label, value or 0.0, color_of(board, row)))
    y = Axis(f"{column.title} {column.unit}".strip())
    low, high = math.log10(min(mark.x for mark in marks)), math.log10(max(mark.x for mark in marks))
    room = max(0.15 * (high - low), 0.2)  # at least one of 1, 2, 5 is within
    x = Axis(x_label, 10 ** (low - room), 10 ** (high + room), log=True)
    return plot(title, x, y, marks=marks, levels=levels, labeled=True)


def matrix(board: Board, group: Group) -> dict[str, Any] | None:
    """Return the plot of pairwise comparisons by the headline; None for a single model or very many."""
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
