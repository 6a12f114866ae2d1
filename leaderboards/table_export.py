"""Export of the leaderboard as tables: CSV (one line per number), Markdown and LaTeX (one table per group)."""

from __future__ import annotations

import csv
import io
import json

import pandas

from leaderboards.board_schema import Board, Cell, Column, Group, Row
from leaderboards.untrusted_text import arrow, figure, markdown, ranks, span, spreadsheet, tex

CSV_COLUMNS = (
    *("model", "role", "protocol", "version", "dataset", "choices", "identity_sha256", "fingerprint", "metric", "unit"),
    *("value", "ci_low", "ci_high", "n", "effective_n", "first_rank", "last_rank"),
    *("minus_gray", "minus_gray_low", "minus_gray_high"),
    *("minus_constant", "minus_constant_low", "minus_constant_high"),
    *("missing", "badges", "record_sha256"),
)


def board_json(board: Board) -> str:
    """Return ``board.json``: everything except curves and images; ASCII only, keys in a fixed order."""
    return json.dumps(board.plain(), indent=1, allow_nan=False) + "\n"


def board_csv(board: Board) -> str:
    """Return the board's table as CSV, one line per model and metric; numbers in full precision.

    Spreadsheets do not evaluate its texts.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    for row in board.rows:
        records = {source.group: source.record_sha256 for source in row.sources}
        for column in board.columns:
            group, cell = board.groups[column.group], board.cells[row.id][column.id]
            apart = "; ".join(f"{choice.name}={choice.value}" for choice in group.choices if choice.apart)
            texts = [row.label, row.role, group.protocol, group.version, group.dataset, apart]
            texts += [group.identity_sha256, group.fingerprint, column.metric, column.unit]
            numbers = [cell.value, cell.ci_low, cell.ci_high, cell.n or None, cell.effective_n or None]
            numbers += [cell.first_rank, cell.last_rank]
            for difference in (cell.over_gray, cell.over_constant):
                numbers += [difference.value, difference.ci_low, difference.ci_high] if difference else [None] * 3
            ends = [cell.missing or "", "; ".join(badge.word for badge in row.badges), records.get(column.group, "")]
            writer.writerow(
                [
                    *map(spreadsheet, texts),
                    *("" if value is None else repr(value) for value in numbers),
                    *map(spreadsheet, ends),
                ]
            )
    return buffer.getvalue()


def board_markdown(board: Board) -> str:
    """Return the board's tables in Markdown, one per group: models, then the baselines and oracles."""
    parts = [f"# {markdown(board.title)}\n"]
    for group in board.groups:
        columns = _columns(board, group)
        parts.append(f"## {markdown(_title(group))}\n\n{markdown(_about(group))}\n")
        heads = ["model", *(f"{c.title} {c.unit} {arrow(c.higher_is_better)}".rstrip() for c in columns)]
        rows = []
        for row in _rows(board, group):
            name = markdown(row.label) if row.kind == "competitor" else f"*{markdown(row.label)}*"
            rows.append([name, *(_markdown_cell(board.cells[row.id][c.id], c, row) for c in columns)])
        table = pandas.DataFrame(rows, columns=[markdown(head) for head in heads])
        sides = ["left", *("right" for _ in columns)]
        parts.append(table.to_markdown(index=False, disable_numparse=True, colalign=sides) + "\n")
    caption = f"\\[low, high\\]: {markdown(intervals)}. " if (intervals := board.meaning_of_intervals) else ""
    ranked = any(cell.first_rank is not None for cells in board.cells.values() for cell in cells.values())
    caption += "In parentheses: simultaneous 95 % rank interval. " if ranked else ""
    parts.append(f"{caption}In italics: baselines and oracles (not ranked).\n")
    return "\n".join(parts)


def _markdown_cell(cell: Cell, column: Column, row: Row) -> str:
    if cell.value is None:
        return "–"
    rank = ranks(cell.first_rank, cell.last_rank)
    limits = span(cell.ci_low, cell.ci_high, column.unit) if row.kind == "competitor" else ""
    message = [figure(cell.value, column.unit), markdown(limits), f"({rank})" if rank else ""]
    return " ".join(word for word in message if word)


def board_latex(board: Board) -> str:
    r"""Return the board's tables in LaTeX, one per group; they need ``\usepackage{booktabs}``."""
    parts = ["% \\usepackage{booktabs}"]
    for group in board.groups:
        columns = _columns(board, group)
        rows = [line for row in _rows(board, group) for line in _latex_rows(board, row, columns)]
        table = pandas.DataFrame(rows, columns=["model", *(_latex_head(column) for column in columns)])
        caption = (
            f"{tex(_title(group))}. {tex(_about(group))} Below each value: 95\\,\\% bootstrap confidence interval over "
            "images. Subscript: simultaneous 95\\,\\% rank interval. In italics: baselines and oracles (not ranked)."
        )
        styled = table.style.hide(axis="index")
        form = f"l{'r' * len(columns)}"
        parts.append(
            styled.to_latex(
                column_format=form, position="t", position_float="centering", hrules=True, caption=caption
            ).rstrip()
        )
    return "\n\n".join(parts) + "\n"


def _latex_head(column: Column) -> str:
    unit = f" ({tex(column.unit)})" if column.unit else ""
    return f"{tex(column.title)}{unit} {tex(arrow(column.higher_is_better))}".rstrip()


def _latex_rows(board: Board, row: Row, columns: list[Column]) -> list[list[str]]:
    """Return the row of values and, if there are any intervals, the row of these."""
    values, intervals = [], []
    for column in columns:
        cell = board.cells[row.id][column.id]
        rank = ranks(cell.first_rank, cell.last_rank)
        index = f"$_{{\\mathrm{{{tex(rank)}}}}}$" if rank else ""
        values.append("--" if cell.value is None else f"{_latex_number(figure(cell.value, column.unit))}{index}")
        limits = span(cell.ci_low, cell.ci_high, column.unit) if row.kind == "competitor" else ""
        intervals.append(f"{{\\scriptsize {_latex_number(limits)}}}" if limits else "")
    # In braces: LaTeX would read a leading [ or * as an argument of the preceding \\.
    name = f"{{{tex(row.label)}}}" if row.kind == "competitor" else f"\\textit{{{tex(row.label)}}}"
    return [[name, *values], *([["", *intervals]] if any(intervals) else [])]


def _latex_number(text: str) -> str:
    return text.replace("−", "$-$")


def _columns(board: Board, group: Group) -> list[Column]:
    """Return the columns that are visible when the page opens: a table in a paper has room for few."""
    return [column for column in board.of_group(group.number) if column.shown]


def _rows(board: Board, group: Group) -> list[Row]:
    """Return the models that were evaluated in this group, the best by its headline first."""
    here = [row for row in board.rows if any(source.group == group.number for source in row.sources)]
    column = next((one for one in board.of_group(group.number) if one.headline), None)
    if column is None:
        return here
    sign = 1 if column.higher_is_better is False else -1

    def position(row: Row) -> tuple[bool, bool, float]:
        value = board.cells[row.id][column.id].value
        return (row.kind != "competitor", value is None, sign * (value or 0.0))

    return sorted(here, key=position)


def _title(group: Group) -> str:
    return f"{group.title} ({group.protocol} v{group.version})"


def _about(group: Group) -> str:
    apart = "".join(f", {choice.name} = {choice.value}" for choice in group.choices if choice.apart)
    also = f" (also named {', '.join(group.also_named)})" if group.also_named else ""
    return f"{group.n} images of {group.dataset}{also}, preprocessing {group.preprocessing}{apart}."
