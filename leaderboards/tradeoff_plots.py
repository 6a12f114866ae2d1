"""Draw perceptual distance against fidelity: one point per model, with an interval on both axes.

A model can be near the true colors and look dull, or far from them and look real: one number does not show both.
"""

from __future__ import annotations

from dataclasses import replace

from colorbench.reporting import SHAPES, Axis, Mark, Plot, plot
from leaderboards.board_plots import color_of, drawable
from leaderboards.board_schema import Board, Cell, Column, Group, Row
from leaderboards.untrusted_text import arrow, figure, span

ACROSS, UP = "Fidelity", "Distribution"
"""Categories whose headlines are the axes."""
MOST = 6
"""Maximum number of figures on a page."""
HEIGHT = 3.6
FAR = 1.5
"""An oracle is drawn unless it is farther than this multiple of the models' range from it."""


def tradeoffs(board: Board) -> list[Plot]:
    """Plot the tradeoff of each pair of a fidelity and a distribution headline of the same images.

    Groups differ in backend, preprocessing or parameters; each pair of groups has its own figure, so that no axis mixes
    numbers that must not be compared. A pair without two models on both axes has none.
    """
    headlines = {column.group: column for column in board.columns if column.headline}
    pairs = [
        (across, up)
        for up in _groups(board, UP, headlines)
        for across in _groups(board, ACROSS, headlines)
        if (across.fingerprint, across.gray_policy) == (up.fingerprint, up.gray_policy)
    ]
    drawn = (_tradeoff(board, headlines[across.number], headlines[up.number]) for across, up in pairs)
    return [one for one in drawn if one is not None][:MOST]


def _groups(board: Board, category: str, headlines: dict[int, Column]) -> list[Group]:
    return [
        group
        for group in board.groups
        if group.category == category
        and group.number in headlines
        and headlines[group.number].higher_is_better is not None
        and headlines[group.number].compared
    ]


def _tradeoff(board: Board, across: Column, up: Column) -> Plot | None:
    having = [
        (row, board.cells[row.id][across.id], board.cells[row.id][up.id])
        for row in board.rows
        if drawable(board.cells[row.id][across.id].value) and drawable(board.cells[row.id][up.id].value)
    ]
    models = [one for one in having if one[0].kind == "competitor"]
    if len(models) < 2:
        return None
    near = [(x, y) for row, x, y in having if row.role != "reference"]
    shown = [
        (row, x, y)
        for row, x, y in having
        if _reaches(x, [other for other, _ in near]) and _reaches(y, [other for _, other in near])
    ]
    group = board.groups[up.group]
    title = f"{up.title} against {across.title}, {group.n} images of {group.dataset}"
    marks = [_mark(board, *one, across, up) for one in shown]
    drawn = plot(title, _axis(across), _axis(up), marks=marks, height=HEIGHT, labeled=True)
    return replace(drawn, groups=(across.group, up.group))


def _reaches(cell: Cell, others: list[Cell]) -> bool:
    values = [other.value or 0.0 for other in others]
    low, high = min(values), max(values)
    room = FAR * ((high - low) or abs(high) or 1.0)
    return low - room <= (cell.value or 0.0) <= high + room


def _axis(column: Column) -> Axis:
    return Axis(" ".join(f"{column.title} {column.unit} {arrow(column.higher_is_better)}".split()))


def _mark(board: Board, row: Row, x: Cell, y: Cell, across: Column, up: Column) -> Mark:
    notes = [
        f"{column.title} {figure(cell.value, column.unit)} {span(cell.ci_low, cell.ci_high, column.unit)}".strip()
        for column, cell in ((across, x), (up, y))
    ]
    color = color_of(board, row)
    return Mark(
        row.label,
        x.value or 0.0,
        y.value or 0.0,
        *_interval(y),
        color=color,
        note=f"{row.label}: {', '.join(notes)}",
        x_low=_interval(x)[0],
        x_high=_interval(x)[1],
        shape="o" if row.kind == "competitor" else SHAPES[color_of(board, row)],
    )


def _interval(cell: Cell) -> tuple[float | None, float | None]:
    ends = drawable(cell.ci_low, cell.ci_high)
    return (ends[0], ends[1]) if len(ends) == 2 else (None, None)
