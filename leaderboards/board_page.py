"""Rendering of the page: table, plots and images as one self-contained HTML file without network access.

All text passes jinja's escaping; the data for the script is JSON in which no tag can begin. The content security
policy (CSP) permits only the page's own style and script, by hash, and embedded images.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from markupsafe import Markup

from colorbench.models import GRAY_MODEL, TRUTH_MODEL
from colorbench.reporting import DECIDING_SHARE, Plot, page_environment, page_style
from colorbench.verification import PROMISE
from leaderboards import board_plots
from leaderboards.badges import NOT_VERIFIED
from leaderboards.board_rows import sorted_rows
from leaderboards.board_schema import Board, Cell, Column, Group, Row, RowsAndColumns
from leaderboards.collected_records import Entry
from leaderboards.gallery import Gallery
from leaderboards.published_practice import departures
from leaderboards.untrusted_text import arrow, count, counted, difference, figure, ranks, span
from leaderboards.verdicts import QUESTIONS, Verdict, different_winners, smoke_tests, verdict

ENDS = {"gray": GRAY_MODEL, "truth": TRUTH_MODEL}
"""Rows whose images are the first and last of each gallery card."""
HEAD_CHOICES, LONG = 3, 24
"""Largest number of choices in the head of a group of columns, and characters from which on a value is shortened."""


def page(
    board: Board,
    entries: Mapping[str, Mapping[int, Entry]],
    galleries: Sequence[Gallery],
    drawn: Mapping[int, Sequence[Plot]],
    overview: Sequence[Plot] = (),
) -> str:
    """Render the page of the board as text.

    The same records give the same bytes.

    Args:
        board: see ``board_building.build``.
        entries: row -> group -> its record.
        galleries: see ``gallery.galleries``.
        drawn: group -> its plots; see ``board_plots.group_plots``.
        overview: plots of several groups; see ``tradeoff_plots.tradeoffs``.
    """
    environment = page_environment("leaderboards")
    environment.filters |= {"figure": figure, "span": span, "arrow": arrow, "difference": difference}
    environment.filters |= {"count": count, "counted": counted}
    environment.filters["ranks"] = lambda cell: ranks(cell.first_rank, cell.last_rank)
    environment.filters["clearly"] = clearly
    environment.tests["low_effective_n"] = _low_effective_n
    style, script = f"{page_style()}{_asset('board.css')}", _asset("board.js")
    baselines = {word: _end(board, name) for word, name in ENDS.items()}
    data = {
        "columns": {c.id: {"title": c.title, "unit": c.unit, "better": c.higher_is_better} for c in board.columns},
        "rows": {row.id: row.label for row in board.rows},
        "baselines": baselines,
        "competitors": [row.id for row in board.competitors],
        "groups": [{"dataset": _images(group), "protocol": group.protocol} for group in board.groups],
        "galleries": [[{"id": image.id, "scores": image.scores} for image in one.images] for one in galleries],
    }
    return environment.get_template("board.html.jinja").render(
        board=board,
        promise=PROMISE,
        not_verified=NOT_VERIFIED,
        style=Markup(style),
        script=Markup(script),
        style_hash=script_hash(style),
        script_hash=script_hash(script),
        data=Markup(_safe_json(data)),
        baselines=baselines,
        colors={row.id: board_plots.color_of(board, row) for row in board.rows},
        plots=drawn,
        overview=overview,
        verified=any(badge.tone == "good" for row in board.rows for badge in row.badges),
        intervals=board.meaning_of_intervals,
        small_n=sum(any(cells[column.id].warning for cells in board.cells.values()) for column in board.columns),
        tables=[(table, smoke_tests(table.groups), _verdicts(board, table, entries)) for table in tables(board)],
        datasets=_dataset_entries(board.groups),
        introductions=_by_title(board.groups),
        protocol_names=sorted({group.protocol for group in board.groups}),
        matrices={group.number: board_plots.matrix(board, group) for group in board.groups},
        galleries=galleries,
        questions=QUESTIONS,
        signs=_signs(board),
        card_columns={(row.id, s.group): _card_columns(board, row, s.group) for row in board.rows for s in row.sources},
        heads={group.number: _head_choices(group) for group in board.groups},
        told_apart={group.number: _told_apart(board, group) for group in board.groups},
        departures={group.number: _departures(group) for group in board.groups},
        column_n={column.id: _sizes(board, column.id) for column in board.columns},
    )


def _head_choices(group: Group) -> tuple[list[str], int]:
    """Return the choices for the head of a group of columns, as ``name = value``, and how many others there are.

    A column is narrow: only a few are shown, with short values before hashes. The section of the protocol has them all.
    """
    apart = sorted((choice for choice in group.choices if choice.apart), key=lambda choice: len(choice.value) > LONG)
    shown = [
        f"{choice.name} = {choice.value if len(choice.value) <= LONG else f'{choice.value[:12]}…'}"
        for choice in apart[:HEAD_CHOICES]
    ]
    return shown, len(apart) - len(shown)


def _told_apart(board: Board, group: Group) -> str:
    """Return the choices that distinguish a group from others of its protocol, dataset and n; empty without others."""

    def named(one: Group) -> tuple[str, str, int]:
        return one.protocol, one.dataset, one.n

    others = [one for one in board.groups if one is not group and named(one) == named(group)]
    values = [{choice.name: choice.value for choice in one.choices} for one in others]
    return ", ".join(
        f"{choice.name} = {choice.value}"
        for choice in group.choices
        if any(other.get(choice.name) != choice.value for other in values)
    )


@dataclass(frozen=True)
class Table(RowsAndColumns):
    """One table of the page: the overview, or the groups of a category."""

    fragment: str
    """Id of its section."""
    name: str
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    is_overview: bool = False

    def spans(self, group: int) -> int:
        """Return the number of columns of a group that are visible when the page opens."""
        return sum(self.shows(column) for column in self.of_group(group))

    def shows(self, column: Column) -> bool:
        """Return whether a column is visible when the page opens."""
        return column.shown or self.is_overview


def tables(board: Board) -> list[Table]:
    """Return the tables of the board's page: an overview of the headlines, then each category.

    There is no overview for a single category.

    The table of a category has the models with a record in it, sorted by its own headlines.
    """
    made = []
    categories = board.categories
    if len(categories) > 1:
        groups = tuple(group for one in categories for group in one.groups)
        headlines = tuple(c for group in groups for c in board.of_group(group.number) if c.headline)
        made.append(Table("results", "Overview", groups, headlines, board.rows, is_overview=True))
    for one in categories:
        numbers = {group.number for group in one.groups}
        rows = [row for row in board.rows if any(source.group in numbers for source in row.sources)]
        columns = tuple(column for group in one.groups for column in board.of_group(group.number))
        ordered = sorted_rows(rows, one.groups, board.columns, board.cells)
        made.append(Table(one.fragment, one.name, one.groups, columns, tuple(ordered)))
    return made


def _verdicts(board: Board, table: Table, entries: Mapping[str, Mapping[int, Entry]]) -> list[Verdict]:
    """Return what a table shows: the best models of each group, and whether they differ between its metrics."""
    found = [Verdict((group.number,), verdict(board, group, entries)) for group in table.groups]
    shown = [column for column in table.columns if table.shows(column)]
    found.append(Verdict(tuple(group.number for group in table.groups), different_winners(board, shown), True))
    return [one for one in found if one.text]


def _signs(board: Board) -> dict[str, bool]:
    """Return which signs the tables contain: only these are explained, and can be hidden."""
    cells = [cell for row in board.cells.values() for cell in row.values()]
    return {
        "intervals": any(cell.ci_low is not None for cell in cells),
        "ranks": any(cell.first_rank is not None for cell in cells),
        "over": any(cell.over_gray is not None for cell in cells),
        "effective_n": any(cell.value is not None and _low_effective_n(cell) for cell in cells),
        "detectable": any(column.detectable is not None for column in board.columns),
    }


def _card_columns(board: Board, row: Row, group: int) -> set[str]:
    """Return the optional columns of a model's table of one record that have content."""
    cells = [board.cells[row.id][column.id] for column in board.of_group(group)]
    filled = {
        "interval": any(cell.ci_low is not None for cell in cells),
        "gray": any(cell.over_gray is not None for cell in cells),
        "constant": any(cell.over_constant is not None for cell in cells),
        "rank": any(cell.first_rank is not None or cell.unranked for cell in cells),
    }
    return {name for name, any_there in filled.items() if any_there}


def _images(group: Group) -> str:
    """Return a short name of the images of a group, for the address of a view."""
    return f"{group.fingerprint[:8]}-{group.gray_policy}"


def _dataset_entries(groups: Sequence[Group]) -> dict[str, str]:
    """Return the entries of the dataset menu: short name of the images -> text, different for each."""
    texts = {_images(group): f"{group.dataset}, n = {count(group.n)}" for group in groups}
    often = Counter(texts.values())
    return {images: text if often[text] == 1 else f"{text} ({images})" for images, text in texts.items()}


def _by_title(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Return the groups by the title of their protocol."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(group.title, []).append(group)
    return found


def _end(board: Board, name: str) -> str:
    """Return the row whose scores are given below the gray or ground-truth image; empty if such rows disagree."""
    rows = [row.id for row in board.references if row.name == name]
    for column in board.columns:
        values = [value for row in rows if (value := board.cells[row][column.id].value) is not None]
        if values and not all(math.isclose(value, values[0], rel_tol=1e-4, abs_tol=1e-4) for value in values):
            return ""
    return rows[0] if rows else ""


def _low_effective_n(cell: Cell) -> bool:
    """Return whether the effective sample size is much smaller than n."""
    return cell.effective_n < DECIDING_SHARE * cell.n


def clearly(cell: Cell, column: Column, row: Row) -> str:
    """Return the CSS classes of a difference from gray on the board's page: its significance and direction.

    "ahead" requires a significant improvement over the constant-color baseline, too, where that was measured: many
    constant colors beat gray.
    """
    if cell.over_gray is None or not cell.over_gray.clear:
        return ""
    if column.higher_is_better is None or row.kind == "reference":
        return " clear"
    references = [reference for reference in (cell.over_gray, cell.over_constant) if reference is not None]
    if all(reference.shows(column.higher_is_better) == "better" for reference in references):
        return " clear ahead"
    return " clear behind" if cell.over_gray.shows(column.higher_is_better) == "worse" else " clear"


def _safe_json(value: Any) -> str:
    """Return JSON that is safe inside a page: it contains no tag, entity or JavaScript line separator."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _departures(group: Group) -> list[Any]:
    chosen = {choice.name: choice.value for choice in group.choices}
    given = {**chosen, "gray": {"keep": "kept", "drop": "excluded"}.get(group.gray_policy, group.gray_policy)}
    return departures(group.protocol, {**given, "preprocessing": group.preprocessing})


def _sizes(board: Board, column: str) -> str:
    """Return the number of images of a column as text: one number, or a range."""
    sizes = [cells[column].n for cells in board.cells.values() if cells[column].value is not None]
    if not sizes:
        return "0"
    return count(min(sizes)) if min(sizes) == max(sizes) else f"{count(min(sizes))}–{count(max(sizes))}"


def _asset(name: str) -> str:
    return resources.files("leaderboards").joinpath("templates", name).read_text(encoding="utf-8")


def script_hash(text: str) -> str:
    """Return the hash of an embedded style or script, as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
