"""Texts beside a table of the board: which models are best, and which metric to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from colorbench.stats import significance
from leaderboards.board_schema import Board, Column, Group
from leaderboards.collected_records import Entry
from leaderboards.untrusted_text import counted, difference, name_of

QUESTIONS = {
    "Fidelity": "are the colors the true ones?",
    "Distribution": "do the colors look real, the true ones or not?",
    "Semantics": "do the colors help to recognize what is shown?",
    "Representation": "did the network learn features that help other tasks?",
    "People": "do people take the predictions for real?",
}
"""Category -> what its protocols ask."""
NAMED = 6
"""Number of models that a sentence names."""


class Verdict(NamedTuple):
    """A sentence on the results of some groups."""

    groups: tuple[int, ...]
    text: str
    about_metrics: bool = False
    """Whether it is on the metrics of the table, not on one group."""


def smoke_tests(groups: Sequence[Group]) -> list[Verdict]:
    """Return a warning for each set of too few images, whatever the number of protocols that were run on it."""
    found: dict[tuple[str, int], list[Group]] = {}
    for group in groups:
        if group.too_few_images:
            found.setdefault((group.dataset, group.n), []).append(group)
    warnings = []
    for (dataset, n), those in found.items():
        protocols = ", ".join(dict.fromkeys(group.protocol for group in those))
        text = f"Smoke test on {counted(n, 'image')} of {dataset} ({protocols}): scores are not meaningful."
        warnings.append(Verdict(tuple(group.number for group in those), text))
    return warnings


def verdict(board: Board, group: Group, entries: Mapping[str, Mapping[int, Entry]]) -> str:
    """Summarize the comparison of the models by the group's headline in a few sentences; empty for a smoke test."""
    column = next((one for one in board.of_group(group.number) if one.headline), None)
    if column is None:
        return "No metric."
    if group.too_few_images:
        return ""
    if column.unranked:
        return f"Not ranked by {column.title}: {column.unranked}."
    if column.ranked == 1:
        return "Single model: compare it with the baselines."
    cells = {row: board.cells[row.id][column.id] for row in board.competitors}
    first = [row for row, cell in cells.items() if cell.first_rank == 1]
    names = _listed([row.label for row in first])
    if len(first) == column.ranked:
        stated = f"{column.title}: no significant difference between any two of {names}, all pairs tested at once."
    elif len(first) > 1:
        stated = f"{column.title}: statistically tied for first: {names}."
    elif cells[first[0]].last_rank == 1:
        stated = f"{column.title}: {names} is significantly better than every other model."
    else:
        stated = f"{column.title}: {names} is first; the difference from some models is not significant."
    stated += against_baselines({row.label: entries[row.id][group.number] for row in first}, column)
    if column.detectable is not None:
        stated += f" MDE for all pairs at once: {difference(column.detectable, column.unit)}."
    return stated


def different_winners(board: Board, columns: Sequence[Column]) -> str:
    """Return which models are best by which metric, if none of them is (statistically) first by all; else empty.

    Metrics by which all models are tied do not count.
    """
    often = Counter(column.title for column in columns)
    winners: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        first = tuple(row.label for row in board.competitors if board.cells[row.id][column.id].first_rank == 1)
        if 0 < len(first) < column.ranked:
            group = board.groups[column.group]
            where = "" if often[column.title] == 1 else f" of {group.protocol} on {group.dataset}"
            winners.setdefault(first, []).append(f"{column.title}{where}")
    if len(winners) < 2 or set.intersection(*map(set, winners)):
        return ""
    parts = [f"by {', '.join(titles)}: {_listed(models)}" for models, titles in winners.items()]
    return f"No model is first by every metric ({'; '.join(parts)}). The metrics favor different predictions."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more" if len(names) > NAMED else ", ".join(names)


def against_baselines(first: Mapping[str, Entry], column: Column) -> str:
    """Return which of the best models are not significantly better than which baseline; empty if all are."""
    found: dict[str, dict[str, str | None]] = {}
    for model, entry in first.items():
        for one in entry.differences:
            if name_of(one.metric) == column.metric and one.ci_low is not None:
                how = significance(one.ci_low, one.ci_high, bool(column.higher_is_better))
                found.setdefault(name_of(one.minus), {})[model] = how
    baselines: dict[str, list[str]] = {}
    for baseline, outcomes in sorted(found.items()):
        others = [model for model, how in outcomes.items() if how != "better"]
        if others:
            worse = all(how == "worse" for how in outcomes.values())
            stated = _subject(others, len(outcomes), worse) + f" significantly {'worse' if worse else 'better'} than"
            baselines.setdefault(stated, []).append(baseline)
    return "".join(f" {stated} {' or '.join(those)}." for stated, those in baselines.items())


def _subject(models: Sequence[str], of: int, worse: bool) -> str:
    """Return the subject of a sentence on some of the best models, with "is" or "are", and "not" but for ``worse``."""
    if len(models) < of:
        return f"{_listed(models)} {'is' if len(models) == 1 else 'are'} not"
    if of == 1:
        return "It is" if worse else "It is not"
    return "All of them are" if worse else "None of them is"
