"""Tables of ``colorbench compare`` for a terminal: differences, ranks, and the images that contribute most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from colorbench.results import Comparison
    from colorbench.results.comparison_schema import PairedTest


MILLION = 1_000_000
MEANING_OF_RANKS = (
    "Ranks compare all pairs at once with one critical value; a pair can differ significantly above and have "
    "overlapping ranks here."
)
LONGEST_NAME = 38
"""Of an image's id in a table of 80 columns."""


def show_comparison(terminal: Console, found: Comparison) -> None:
    """Print the comparison of records as tables for the terminal, 80 columns wide."""
    from rich.padding import Padding
    from rich.text import Text

    from colorbench.reporting.terminal_lines import line

    protocol = f"{found.protocol} v{found.protocol_version}"
    line(terminal, f"{protocol} · {found.n} images of {found.dataset} · {found.preprocessing}")
    for a, b in dict.fromkeys((test.a, test.b) for test in found.tests):
        tests = [test for test in found.tests if (test.a, test.b) == (a, b)]
        terminal.print()
        line(terminal, Text.assemble("A = ", (a, "bold"), "   B = ", (b, "bold")))
        terminal.print(Padding(_differences(tests), (1, 0)))
        for verdict in _verdicts(tests):
            terminal.print(Padding(Text.assemble(("→ ", "dim"), verdict), (0, 0, 0, 1)))
        if tests[0].images:
            terminal.print()
            terminal.print(_images(tests[0]))
    if found.ranks:
        terminal.print()
        terminal.print(_ranks(found))
        terminal.print(Text(MEANING_OF_RANKS, style="dim"))
    terminal.print()
    for remark in dict.fromkeys([*found.remarks, *(test.warning for test in found.tests if test.warning)]):
        terminal.print(Padding(Text(f"! {remark}", style="yellow"), (0, 0, 0, 1)))
    if any(test.p is not None for test in found.tests):
        terminal.print(_meaning(found.tests))


def _differences(tests: Sequence[PairedTest]) -> Table:
    """Build the table of differences, one row per metric."""
    from rich.table import Table
    from rich.text import Text

    from colorbench.reporting import format_number
    from colorbench.reporting.number_formatting import format_interval

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", overflow="fold")
    for head in ("A\nB", "A − B", "p\nd", "A better\nB better", "images\nneeded"):
        table.add_column(head, justify="right", no_wrap=True)
    for test in tests:
        unit = test.unit
        about = [f"{unit}{ {True: ' ↑', False: ' ↓', None: ''}[test.higher_is_better] }".strip(), f"n {test.n}"]
        name = Text(test.metric).append(f"\n{' · '.join(word for word in about if word)}", style="dim")
        difference = Text(
            format_number(test.difference, unit, signed=True), style="bold" if test.verdict in "ab" else ""
        )
        difference.append(
            f"\n{format_interval(test.ci_low, test.ci_high, unit, signed=True)}".rstrip(), style="not bold dim"
        )
        effect = "" if test.effect_size is None else f"\n{test.effect_size:+.2f}"
        table.add_row(
            name,
            f"{format_number(test.value_a, unit)}\n{format_number(test.value_b, unit)}",
            difference,
            Text(_p_value(test.p_holm)).append(effect, style="dim"),
            f"{test.a_better}\n{test.b_better}",
            "–" if _needs_no_more(test) else _needed(test.images_needed),
        )
    return table


def _p_value(p: float | None) -> str:
    """Format p with two digits; never as 0."""
    if p is None:
        return "–"
    return f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def _needed(images: int | None) -> str:
    """Format a number of images."""
    if images is None:
        return "–"
    return f"{images:,}" if images <= MILLION else "> 1 million"


def _needs_no_more(test: PairedTest) -> bool:
    """Return whether an undecided difference needs no more images by its effect size, which ignores the other tests."""
    return test.verdict == "undecided" and test.images_needed is not None and test.images_needed <= test.n


def _verdicts(tests: Sequence[PairedTest]) -> list[str]:
    """Return what the tests show, a sentence for each outcome."""
    from colorbench.reporting import format_difference

    stated = []
    for side, metrics in (("A", [t for t in tests if t.verdict == "a"]), ("B", [t for t in tests if t.verdict == "b"])):
        for word, undirected in (("better", False), ("higher", True)):
            names = [test.metric for test in metrics if (test.higher_is_better is None) == undirected]
            if names:
                stated.append(f"{side} is {word}: {', '.join(names)}")
    undecided = [
        test.metric
        if test.detectable is None
        else f"{test.metric} (MDE {format_difference(test.detectable, test.unit)})"
        for test in tests
        if test.verdict == "undecided"
    ]
    if undecided:
        stated.append(f"no significant difference: {', '.join(undecided)}")
    for reason in dict.fromkeys(test.untested for test in tests if test.untested):
        names = [test.metric for test in tests if test.untested == reason]
        stated.append(f"not tested: {', '.join(names)} ({reason})")
    return stated


def _images(test: PairedTest) -> Table:
    """Build the table of the images that move a difference most."""
    from rich.table import Table
    from rich.text import Text

    from colorbench.reporting import format_number

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"images that contribute most to {test.metric}", no_wrap=True)
    for head in ("A", "B", "weight"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in test.images:
        name = one.id if len(one.id) <= LONGEST_NAME else f"…{one.id[1 - LONGEST_NAME :]}"
        # Ids are untrusted: control characters must not reach the terminal.
        shown = "".join(sign if sign.isprintable() else "?" for sign in name)
        table.add_row(
            Text(shown), format_number(one.a, test.unit), format_number(one.b, test.unit), f"{one.weight:.2f} %"
        )
    return table


def _ranks(found: Comparison) -> Table:
    """Build the table of rank intervals, one row per metric, the best model first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", overflow="fold")
    table.add_column("simultaneous 95 % rank intervals", overflow="fold")
    directions = {test.metric: test.higher_is_better for test in found.tests}
    for metric in dict.fromkeys(one.metric for one in found.ranks):
        sign = 1 if directions[metric] is False else -1
        order = sorted((one for one in found.ranks if one.metric == metric), key=lambda one: sign * one.value)
        table.add_row(metric, " · ".join(f"{_span(one.first, one.last)} {one.label}" for one in order))
    return table


def _span(first: int, last: int) -> str:
    """Return ``2`` or ``1–3``."""
    return str(first) if first == last else f"{first}–{last}"


def _meaning(tests: Sequence[PairedTest]) -> Text:
    """Return the explanation of the signs that the table contains."""
    from rich.text import Text

    count = sum(test.p is not None for test in tests)
    several = f", Holm-corrected for {count} tests" if count > 1 else ""
    parts = [
        f"p: two-sided sign-flip test{several}. d: effect size (difference / its standard deviation over images). "
        "images needed: to detect this difference with 80 % power in one test.",
        "A verdict needs both p of at most 0.05 and an interval that excludes 0.",
    ]
    if count > 1:
        parts.append("Intervals and images needed are not adjusted for several tests.")
    if any(map(_needs_no_more, tests)):
        parts.append("images needed –: one test alone would need no more images than these.")
    if any(test.verdict == "undecided" and test.detectable is not None for test in tests):
        parts.append("MDE: smallest difference that these images detect with 80 % power in one test alone.")
    return Text(" ".join(parts), style="dim")
