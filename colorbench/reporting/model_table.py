"""Summary tables: models in rows, metrics of one or of several protocols in columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from colorbench.models import BASELINES, display_name
from colorbench.models.model_names import IMAGES
from colorbench.reporting.number_formatting import format_interval, format_number
from colorbench.results import Metric, Record


def in_order(records: Sequence[Record], headline: str) -> list[Record]:
    """Sort the records for a table of models, the best by the headline first, followed by baselines and references."""
    higher = next(
        (metric.higher_is_better for one in records for metric in one.metrics if metric.name == headline), None
    )

    def position(record: Record) -> tuple[bool, float]:
        value = next((metric.value for metric in record.metrics if metric.name == headline), None)
        last = record.model.name in BASELINES or record.model.card.role == "reference"
        if value is None or higher is None:
            return last, 0.0
        return last, -value if higher else value

    return sorted(records, key=position)


def shown_metrics(records: Sequence[Record], headline: str) -> list[Metric]:
    """Return the metrics that a table of records shows: those that any of them has a value of, and the headline."""
    known: dict[str, Metric] = {}
    measured = {headline}
    for record in records:
        for metric in record.metrics:
            known.setdefault(metric.name, metric)
            if metric.value is not None:
                measured.add(metric.name)
    return [metric for name, metric in known.items() if name in measured]


def columns(records: Sequence[Record], headline: str) -> list[Metric]:
    """Return the metrics that are columns of a table of models, the headline first."""
    return sorted(shown_metrics(records, headline), key=lambda metric: metric.name != headline)


class ModelTable(NamedTuple):
    """Values of models, in rows, by metrics, in columns."""

    kind: str
    """What the names are; see ``kind_of``."""
    names: list[str]
    """Names of the models, as they are shown."""
    heads: list[list[str]]
    """Lines of the head of each column: metric and unit with direction; with several protocols their name first."""
    rows: list[list[tuple[str, str]]]
    """(value, interval) of each cell, by model and metric."""


def table_of_protocol(records: Sequence[Record], headline: str) -> ModelTable:
    """Return the table of one protocol: its metrics, the headline first, and the models in its order."""
    ordered, metrics = in_order(records, headline), columns(records, headline)
    names = [record.model.name for record in ordered]
    return ModelTable(
        kind_of(names),
        [display_name(name, names) for name in names],
        [_head(metric) for metric in metrics],
        [cells(record, metrics) for record in ordered],
    )


def table_of_protocols(results: Sequence[tuple[Sequence[Record], str]]) -> ModelTable:
    """Return the table of several protocols: the primary metric of each, and the models in the order of the first.

    Args:
        results: of each protocol its records and its primary metric.
    """
    names = list(dict.fromkeys(one.model.name for records, headline in results for one in in_order(records, headline)))
    heads, by_column = [], []
    for records, headline in results:
        metric = columns(records, headline)[0]
        heads.append([name_of_protocol(records[0]), *_head(metric)])
        by_column.append({record.model.name: cells(record, [metric])[0] for record in records})
    shown = [display_name(name, names) for name in names]
    return ModelTable(
        kind_of(names), shown, heads, [[column.get(name, ("–", "")) for column in by_column] for name in names]
    )


def kind_of(names: Sequence[str]) -> str:
    """Return what names of models are, as the head of their column: folders of ``predictions``, or of any ``model``."""
    return "predictions" if all(name.startswith(IMAGES) for name in names) else "model"


def _head(metric: Metric) -> list[str]:
    """Return the name of a metric, and its unit with an arrow to the better values."""
    arrow = {True: "↑", False: "↓", None: ""}[metric.higher_is_better]
    return [metric.name, f"{metric.unit} {arrow}".strip()]


def cells(record: Record, metrics: Sequence[Metric]) -> list[tuple[str, str]]:
    """Return (value, interval) of each metric of one row of the model table; a dash where the record has none."""
    by_name = {metric.name: metric for metric in record.metrics}
    found = []
    for column in metrics:
        one = by_name.get(column.name)
        value = format_number(None if one is None else one.value, column.unit)
        found.append((value, "" if one is None else format_interval(one.ci_low, one.ci_high, column.unit)))
    return found


def name_of_protocol(record: Record) -> str:
    """Return the name of a record's protocol, with the preset."""
    from colorbench.evaluation import name_with_preset  # loads torch, which other tables do without

    return name_with_preset(record.protocol.name, record.protocol.version, record.protocol.parameters)


def as_markdown(records: Sequence[Record], headline: str) -> str:
    """Return the table of models in Markdown, every metric, each value with its interval."""
    return _markdown(table_of_protocol(records, headline))


def protocols_as_markdown(results: Sequence[tuple[Sequence[Record], str]]) -> str:
    """Return the table of several protocols in Markdown: the primary metric of each, with its interval.

    Args:
        results: of each protocol its records and its primary metric.
    """
    return _markdown(table_of_protocols(results))


def _markdown(table: ModelTable) -> str:
    import pandas as pd  # takes half a second to import

    rows = [
        [name, *(" ".join(part for part in cell if part) for cell in row)]
        for name, row in zip(table.names, table.rows, strict=True)
    ]
    heads = [" ".join(part for part in head if part) for head in table.heads]
    text = pd.DataFrame(rows, columns=[table.kind, *heads])
    sides = ["left"] + ["right"] * len(heads)
    return str(text.to_markdown(index=False, disable_numparse=True, colalign=sides))
