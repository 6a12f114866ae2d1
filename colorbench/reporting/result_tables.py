"""The closing table of a run: every number with its interval, the rows to hold it against, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from colorbench.reporting import format_number, too_few_images
from colorbench.reporting.baseline_columns import baselines, difference_from, values
from colorbench.reporting.model_table import cells, columns, in_order
from colorbench.reporting.number_formatting import format_interval
from colorbench.reporting.record_remarks import difference_from_constant_color, low_effective_n, remarks
from colorbench.reporting.terminal_lines import line
from colorbench.results import Difference, Metric, Record
from colorbench.stats import excludes_zero

PAGE = "report.html"
LONGEST_HEAD = len("[89.50, 91.50]")
"""A name longer than the column's numbers would push the last columns out of 80."""


class ResultPrinter:
    """Prints the end of a run, a record at a time; what was said of one is not said again of the next."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._stated: set[str] = set()

    def summarize(self, asked: Sequence[Record], records: Sequence[Record], headline: str) -> None:
        """Print several models under one protocol, and once what a reader must know of them.

        Args:
            asked: the models' records.
            records: these and those of the baselines.
            headline: the metric that decides the order.
        """
        first = too_few_images(records[0])
        if first and self._new(first):
            line(self.console, first, style="bold yellow")
            self.console.print()
        line(self.console, _measured_on(records[0]))
        self.console.print(Padding(_summary(records, headline, self.console.width), (1, 0)))
        found: dict[str, list[str]] = {}
        for record in asked:
            for remark in remarks(record):
                found.setdefault(remark, []).append(record.model.name)
        # Remarks on single models first, each model's together; then what holds for all.
        for remark, names in sorted(found.items(), key=lambda one: len(one[1])):
            of = "" if len(names) == len(asked) else f"{', '.join(names)}: "
            self.console.print(Padding(Text(f"! {of}{remark}", style="yellow"), (0, 0, 0, 1)))
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
    ) -> None:
        """Print everything that a reader needs to understand one record, 80 columns wide.

        Args:
            record: the model's.
            beside: records of other models with the same protocol on the same images; baselines become columns.
            explanations: metric name -> one sentence.
            headline: the metric that boards sort by.
            folder: folder of the record; None if it is not saved.
            explain: whether each metric is explained.
        """
        first = too_few_images(record)
        if first and self._new(first):
            line(self.console, first, style="bold yellow")
            self.console.print()
        line(self.console, _heading(record))
        self.console.print(Padding(_scores(record, beside, headline), (1, 0)))
        if (verdict := difference_from_constant_color(record, headline)) is not None:
            line(self.console, verdict)
            self.console.print()
        if explain and self._new(f"{record.protocol.name} {record.protocol.version}"):
            self.console.print(meaning(record, explanations, headline))
        for remark in remarks(record):
            self.console.print(Padding(Text(f"! {remark}", style="yellow"), (0, 0, 0, 1)))
        self.where(folder)
        self.console.print()

    def where(self, folder: Path | None) -> None:
        """Print where a record and its page lie."""
        if folder is not None:
            line(self.console, Text.assemble("result: ", (str(folder / "record.json"), "bold")))
        if folder is not None and (folder / PAGE).is_file():
            line(self.console, Text.assemble("report: ", (str(folder / PAGE), "bold")))

    def _new(self, text: str) -> bool:
        new = text not in self._stated
        self._stated.add(text)
        return new


def _heading(record: Record) -> Text:
    """Return a line with model, protocol and dataset."""
    return Text.assemble((record.model.name, "bold"), f" · {_measured_on(record)}")


def _measured_on(record: Record) -> str:
    """Return by which protocol, and on what."""
    data, protocol = record.dataset, record.protocol
    from colorbench.evaluation import name_with_preset  # loads torch, which other tables do without

    name = name_with_preset(protocol.name, protocol.version, protocol.parameters)
    counted = f"{data.n_evaluated}" if data.n_evaluated == data.n else f"{data.n_evaluated} of {data.n}"
    return f"{name} v{protocol.version} · {counted} images of {data.name} · {data.preprocessing}"


def _summary(records: Sequence[Record], headline: str, width: int) -> Table:
    """Build the table of several models: a row each, the best first, and as many metrics as there is room for."""
    ordered, metrics = in_order(records, headline), columns(records, headline)
    names = [record.model.name for record in ordered]
    rows = [cells(record, metrics) for record in ordered]
    room = width - max(map(len, names)) - 2
    shown = 0
    while shown < len(metrics):
        metric = metrics[shown]
        needed = max(len(metric.name), *(len(part) for row in rows for part in row[shown])) + 2
        if shown and needed > room:
            break
        room, shown = room - needed, shown + 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for metric in metrics[:shown]:
        arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
        table.add_column(f"{metric.name}\n{metric.unit}{arrow}".strip(), justify="right", no_wrap=True)
    for name, row in zip(names, rows, strict=True):
        texts = [
            Text(value, style="bold").append(f"\n{between}".rstrip(), style="not bold dim")
            for value, between in row[:shown]
        ]
        table.add_row(name, *texts)
    if shown < len(metrics):
        table.caption = f"{len(metrics) - shown} more metrics: --format markdown, or the records"
        table.caption_justify = "left"
    return table


def _scores(record: Record, beside: Sequence[Record], headline: str) -> Table:
    """Build the table of metrics: the model, its difference from gray or its controls, and the baselines."""
    # No lines between columns: every character counts in 80.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", overflow="fold")
    short = record.model.name.rpartition("/")[2]
    table.add_column(short if len(short) <= LONGEST_HEAD else "the model", justify="right", no_wrap=True)
    # 80 columns have no room for a second difference: ``difference_from_constant_color`` gives that of the headline.
    deltas = difference_from(record, narrow=True)
    for head, _ in deltas:
        table.add_column(head, justify="right", no_wrap=True)
    columns = [(head, values(other)) for head, other in baselines(record, beside)]
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for metric in record.metrics:
        cells = [_title(metric, headline), _with_interval(metric)]
        cells += [_with_interval(differences.get(metric.name), metric.unit) for _, differences in deltas]
        cells += [Text(format_number(others.get(metric.name), metric.unit)) for _, others in columns]
        table.add_row(*cells)
    return table


def _title(metric: Metric, headline: str) -> Text:
    """Return name, unit, direction and number of images; the headline is bold."""
    size = f"n {metric.n}, n_eff {metric.effective_n:.0f}" if low_effective_n(metric) else f"n {metric.n}"
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    text = Text(metric.name, style="bold" if metric.name == headline else "")
    unit = f"{metric.unit}{arrow}".strip()
    return text.append(f"\n{unit} · {size}" if unit else f"\n{size}", style="not bold dim")


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
    for metric in record.metrics:
        explanation = explanations.get(metric.name, "" if len(record.metrics) > len(explanations) else metric.title)
        if not explanation:
            continue  # one of many similar metrics, such as one per layer: the headline explains them
        if metric.name == headline:
            explanation = f"{explanation.rstrip('.')}. Primary metric."
        grid.add_row(Text(metric.name, style="bold" if metric.name == headline else ""), Text(explanation))
    if any(metric.ci_low is not None for metric in record.metrics):
        low_high = "95 % bootstrap confidence interval over images"
        grid.add_row(Text("[low, high]"), Text(low_high))
    if any(low_effective_n(metric) for metric in record.metrics):
        grid.add_row(Text("n_eff"), Text("effective sample size: images of equal weight that would be as precise"))
    return Padding(grid, (0, 0, 1, 0))
