"""Summary table of several models under one protocol: models in rows, metrics in columns."""

from __future__ import annotations

from collections.abc import Sequence

from colorbench.models import BASELINES
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


def columns(records: Sequence[Record], headline: str) -> list[Metric]:
    """Return the metrics that are columns of a table of models: those of any record, the headline first."""
    known: dict[str, Metric] = {}
    for record in records:
        for metric in record.metrics:
            known.setdefault(metric.name, metric)
    return sorted(known.values(), key=lambda metric: metric.name != headline)


def _heads(metrics: Sequence[Metric]) -> list[str]:
    """Return ``name, unit ↑`` of each column."""
    arrows = {True: "↑", False: "↓", None: ""}
    return [
        " ".join(part for part in (metric.name, metric.unit, arrows[metric.higher_is_better]) if part)
        for metric in metrics
    ]


def cells(record: Record, metrics: Sequence[Metric]) -> list[tuple[str, str]]:
    """Return (value, interval) of each metric of one row of the model table; a dash where the record has none."""
    by_name = {metric.name: metric for metric in record.metrics}
    found = []
    for column in metrics:
        one = by_name.get(column.name)
        value = format_number(None if one is None else one.value, column.unit)
        found.append((value, "" if one is None else format_interval(one.ci_low, one.ci_high, column.unit)))
    return found


def as_markdown(records: Sequence[Record], headline: str) -> str:
    """Return the table of models in Markdown, every metric, each value with its interval."""
    import pandas as pd  # takes half a second to import

    metrics = columns(records, headline)
    rows = [
        [record.model.name, *(" ".join(part for part in cell if part) for cell in cells(record, metrics))]
        for record in in_order(records, headline)
    ]
    table = pd.DataFrame(rows, columns=["model", *_heads(metrics)])
    sides = ["left"] + ["right"] * len(metrics)
    return str(table.to_markdown(index=False, disable_numparse=True, colalign=sides))
