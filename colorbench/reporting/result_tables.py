"""The closing table of a run: every number with its interval, the rows to hold it against, and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from colorbench.models import display_name
from colorbench.reporting import format_number
from colorbench.reporting.baseline_columns import baselines, difference_from, values
from colorbench.reporting.model_table import (
    ModelTable,
    kind_of,
    name_of_protocol,
    shown_metrics,
    table_of_protocol,
    table_of_protocols,
)
from colorbench.reporting.number_formatting import counted, format_interval
from colorbench.reporting.record_remarks import (
    difference_from_constant_color,
    differences_from_constant_color,
    low_effective_n,
    meaning_of_intervals,
    remarks,
)
from colorbench.reporting.terminal_lines import line
from colorbench.results import Difference, Metric, Record, too_few_images
from colorbench.stats import excludes_zero

PAGE = "report.html"
LONGEST_HEAD = len("[89.50, 91.50]")
"""A name longer than the column's numbers would push the last columns out of 80."""
UNLIMITED = 1000
"""A width that every table fits into."""
LONGEST_NAME = 16
"""Characters of the first column where there is little room."""


class ResultPrinter:
    """Prints the end of a run, a record at a time; what was said of one is not said again of the next."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._stated: set[str] = set()

    def summarize(self, records: Sequence[Record], headline: str) -> None:
        """Print the table of several models under one protocol.

        Args:
            records: those of the models and of the baselines.
            headline: the metric that decides the order.
        """
        self._too_few(records[0])
        line(self.console, measured_on(records[0]))
        self.console.print(Padding(_models(table_of_protocol(records, headline), self.console.width), (1, 0)))
        if (verdict := differences_from_constant_color(records, headline)) is not None:
            line(self.console, verdict)
            self.console.print()

    def conclude(self, results: Sequence[tuple[Sequence[Record], str]]) -> None:
        """Print one table of several protocols: the models by the primary metric of each.

        Args:
            results: the records of each protocol, with its primary metric.
        """
        data = results[0][0][0].dataset
        line(self.console, Text.assemble(("summary", "bold"), f" · primary metrics · {data.name}"))
        self.console.print(Padding(_models(table_of_protocols(results), self.console.width), (1, 0)))

    def remark(self, results: Sequence[Sequence[Record]]) -> None:
        """Print once what a reader must know of the records of one or several protocols."""
        found: dict[str, dict[str, list[str]]] = {}
        every: dict[str, list[str]] = {}
        for members in results:
            protocol, names = name_of_protocol(members[0]), [record.model.name for record in members]
            every[protocol] = [display_name(name, names) for name in names]
            for record in members:
                for remark in remarks(record):
                    name = display_name(record.model.name, names)
                    found.setdefault(remark, {}).setdefault(protocol, []).append(name)
        # Remarks on single models first, each model's together; then what holds for all.
        for remark, holders in sorted(found.items(), key=lambda one: sum(map(len, one[1].values()))):
            self._warn(f"{_holders(holders, every)}{remark}")
        if found:
            self.console.print()

    def show(
        self,
        record: Record,
        beside: Sequence[Record],
        explanations: Mapping[str, str],
        headline: str,
        folder: Path | None,
        *,
        explain: bool = False,
        remarked: bool = True,
    ) -> None:
        """Print everything that a reader needs to understand one record, 80 columns wide.

        Args:
            record: the model's.
            beside: records of other models with the same protocol on the same images; baselines become columns.
            explanations: metric name -> one sentence.
            headline: the metric that boards sort by.
            folder: folder of the record; None if it is not saved.
            explain: whether each metric is explained.
            remarked: whether the notes and warnings are printed here, not later by ``remark``.
        """
        self._too_few(record)
        line(self.console, _heading(record))
        table = _scores(record, beside, headline)
        unlimited = self.console.options.update(width=UNLIMITED)
        if self.console.measure(table, options=unlimited).maximum > self.console.width:
            table = _scores(record, beside, headline, longest=LONGEST_NAME)
        self.console.print(Padding(table, (1, 0)))
        if (verdict := difference_from_constant_color(record, headline)) is not None:
            line(self.console, verdict)
            self.console.print()
        if explain and self._new(f"{record.protocol.name} {record.protocol.version}"):
            self.console.print(meaning(record, explanations, headline))
        for remark in remarks(record) if remarked else ():
            self._warn(remark)
        self.where(folder)
        self.console.print()

    def where(self, folder: Path | None) -> None:
        """Print where a record and its page lie."""
        if folder is not None:
            line(self.console, Text.assemble("result: ", (str(folder / "record.json"), "bold")))
        if folder is not None and (folder / PAGE).is_file():
            line(self.console, Text.assemble("report: ", (str(folder / PAGE), "bold")))

    def _warn(self, remark: str) -> None:
        self.console.print(Padding(Text(f"! {remark}", style="yellow"), (0, 0, 0, 1)))

    def _too_few(self, record: Record) -> None:
        """Print once that there are too few images."""
        note = too_few_images(record)
        if note and self._new(note):
            line(self.console, note, style="bold yellow")
            self.console.print()

    def _new(self, text: str) -> bool:
        new = text not in self._stated
        self._stated.add(text)
        return new


def _heading(record: Record) -> Text:
    """Return a line with model, protocol and dataset."""
    return Text.assemble((display_name(record.model.name), "bold"), f" · {measured_on(record)}")


def measured_on(record: Record, emphasis: str = "") -> str:
    """Return protocol, version, images and preprocessing of a record; the protocol's name is between ``emphasis``."""
    data, protocol = record.dataset, record.protocol
    counted = f"{data.n_evaluated}" if data.n_evaluated == data.n else f"{data.n_evaluated} of {data.n}"
    name = name_of_protocol(record)
    return f"{emphasis}{name}{emphasis} v{protocol.version} · {counted} images of {data.name} · {data.preprocessing}"


def _holders(holders: Mapping[str, Sequence[str]], every: Mapping[str, Sequence[str]]) -> str:
    """Return of which protocols and models a remark is, to stand before it; empty if it is of all.

    Args:
        holders: protocol -> models with the remark.
        every: protocol -> all models.
    """
    if holders == every:
        return ""
    parts = []
    for protocol, models in holders.items():
        of_models = () if len(models) == len(every[protocol]) else models
        parts.append(", ".join((*((protocol,) if len(every) > 1 else ()), *of_models)))
    return f"{'; '.join(parts)}: "


def _models(found: ModelTable, width: int) -> Table:
    """Build a table of models: a row each, and as many metrics as there is room for."""
    room = width - max(map(len, found.names)) - 2
    shown = 0
    while shown < len(found.heads):
        texts = [*found.heads[shown], *(part for row in found.rows for part in row[shown])]
        needed = max(map(len, texts)) + 2
        if shown and needed > room:
            break
        room, shown = room - needed, shown + 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for head in found.heads[:shown]:
        table.add_column("\n".join(head).strip(), justify="right", no_wrap=True)
    for name, row in zip(found.names, found.rows, strict=True):
        written = [
            Text(value, style="bold").append(f"\n{between}".rstrip(), style="not bold dim")
            for value, between in row[:shown]
        ]
        table.add_row(name, *written)
    if more := len(found.heads) - shown:
        table.caption = f"not shown: {counted(more, 'more column')} (--format markdown shows all)"
        table.caption_justify = "left"
    return table


def _scores(record: Record, beside: Sequence[Record], headline: str, longest: int | None = None) -> Table:
    """Build the table of metrics: the model, its difference from gray or its controls, and the baselines.

    Args:
        record: the model's.
        beside: records of other models.
        headline: the primary metric.
        longest: names with more characters are broken, between their words; None: no name is broken.
    """
    # No lines between columns: every character counts in 80.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", overflow="fold", no_wrap=longest is None)
    short, kind = record.model.name.rpartition("/")[2], kind_of([record.model.name])
    head = short if kind == "model" and len(short) <= LONGEST_HEAD else kind
    table.add_column(head, justify="right", no_wrap=True)
    # 80 columns have no room for a second difference: ``difference_from_constant_color`` gives that of the headline.
    deltas = difference_from(record, narrow=True)
    for head, _ in deltas:
        table.add_column(head, justify="right", no_wrap=True)
    columns = [(head, values(other)) for head, other in baselines(record, beside)]
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for metric in shown_metrics([record], headline):
        cells = [_title(metric, headline, longest), _with_interval(metric)]
        cells += [_with_interval(differences.get(metric.name), metric.unit) for _, differences in deltas]
        cells += [Text(format_number(others.get(metric.name), metric.unit)) for _, others in columns]
        table.add_row(*cells)
    return table


def _title(metric: Metric, headline: str, longest: int | None) -> Text:
    """Return name, unit, direction and number of images; the headline is bold."""
    size = f"n {metric.n}, n_eff {metric.effective_n:.0f}" if low_effective_n(metric) else f"n {metric.n}"
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    unit = f"{metric.unit}{arrow}".strip()
    name, below = metric.name, f"{unit} · {size}" if unit else size
    if longest is not None:
        name, below = _broken(name, "_", longest), _broken(below, " ", longest)
    return Text(name, style="bold" if metric.name == headline else "").append(f"\n{below}", style="not bold dim")


def _broken(text: str, separator: str, longest: int) -> str:
    """Break a text into lines of at most ``longest`` characters, after separators."""
    lines = [""]
    for part in re.findall(f"[^{separator}]*{separator}?", text):
        if lines[-1] and len(lines[-1] + part.rstrip()) > longest:
            lines.append("")
        lines[-1] += part
    return "\n".join(one.strip(" ") for one in lines)


def _with_interval(measured: Metric | Difference | None, unit: str | None = None) -> Text:
    """Format a value with its interval below it.

    A difference (``unit`` given) has a sign, and is bold if its interval excludes 0.
    """
    if measured is None:
        return Text("–")
    signed = unit is not None
    unit = measured.unit if isinstance(measured, Metric) else unit or ""
    low, high = measured.ci_low, measured.ci_high
    clear = signed and excludes_zero(low, high)
    text = Text(format_number(measured.value, unit, signed=signed), style="bold" if clear or not signed else "")
    return text.append(f"\n{format_interval(low, high, unit, signed=signed)}".rstrip(), style="not bold dim")


def meaning(record: Record, explanations: Mapping[str, str], headline: str) -> RenderableType:
    """Return the explanations of the metrics in a table of results."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for metric in shown_metrics([record], headline):
        explanation = explanations.get(metric.name, "" if len(record.metrics) > len(explanations) else metric.title)
        if not explanation:
            continue  # one of many similar metrics, such as one per layer: the headline explains them
        grid.add_row(Text(metric.name, style="bold" if metric.name == headline else ""), Text(explanation))
    if low_high := meaning_of_intervals(record):
        grid.add_row(Text("[low, high]"), Text(low_high))
    if any(low_effective_n(metric) for metric in record.metrics):
        grid.add_row(Text("n_eff"), Text("effective sample size: images of equal weight that would be as precise"))
    return Padding(grid, (0, 0, 1, 0))
