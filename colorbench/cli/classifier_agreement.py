"""Table of one score by several classifiers, and their agreement on the order of the models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from colorbench.cli.console import line
from colorbench.reporting import format_number, too_few_images
from colorbench.reporting.classifier_agreement import ClassifiersTable, classifiers_table
from colorbench.results import Record


def show_classifiers(console: Console, records: Sequence[Record], score: str) -> None:
    """Print the table for one protocol's records, if there are enough classifiers and models.

    Args:
        console: output console.
        records: of one protocol on the same images.
        score: ``agreement``, ``top1`` ...
    """
    table = classifiers_table(records, score)
    if table is None or any(too_few_images(record) for record in records):
        return
    line(
        console,
        Text.assemble(("Agreement between classifiers", "bold"), f" {table.score}, value and rank"),
    )
    console.print(Padding(values(table), (1, 0)))
    for sentence in sentences(table):
        console.print(Text(sentence))
    console.print()


def values(table: ClassifiersTable) -> Table:
    """Build a table with a row per model and a column per classifier: value and rank."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown.add_column("", overflow="fold")
    for classifier in table.classifiers:
        shown.add_column(classifier, justify="right", overflow="fold")
    order = table.ranks.mean(axis=1).argsort(kind="stable")
    for row in order:
        cells = [
            Text(format_number(float(value), table.unit)).append(f"  {rank:g}.", style="dim")
            for value, rank in zip(table.values[row], table.ranks[row], strict=True)
        ]
        shown.add_row(Text(table.models[row]), *cells)
    return shown


def sentences(table: ClassifiersTable) -> Iterator[str]:
    """Yield a sentence per pair of classifiers on their agreement about the order of the models."""
    count = len(table.models) * (len(table.models) - 1) // 2
    for one, other in itertools.combinations(range(len(table.classifiers)), 2):
        tau, disputed = table.correlation(one, other), table.disputed(one, other)
        names = f"{table.classifiers[one]} and {table.classifiers[other]}"
        if math.isnan(tau):
            yield f"{names}: not comparable: one of them gives all models the same score."
            continue
        summary = f"{names}: rank correlation {tau:.2f} (Kendall's tau-b, {len(table.models)} models); "
        if not disputed:
            yield f"{summary}all pairs of models have the same order."
            continue
        pairs = ", ".join(f"{a} / {b}" for a, b in disputed[:3])
        more = " ..." if len(disputed) > 3 else ""
        yield f"{summary}{len(disputed)} of {count} pairs of models have opposite orders: {pairs}{more}."
    if len(table.models) < 5:
        yield f"Of {len(table.models)} models, a rank correlation says little; evaluate more models."
