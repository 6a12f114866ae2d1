"""The baselines beside a record: their records, their values, and the differences from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from colorbench.evaluation import records_beside
from colorbench.models import BASELINES, CONSTANT_MODEL, GRAY_MODEL
from colorbench.results import Difference, Record


def values(record: Record) -> dict[str, float | None]:
    """Return the value of each metric of a record by name, for a column beside the baselines."""
    return {metric.name: metric.value for metric in record.metrics}


def difference_from(record: Record, *, narrow: bool = False) -> list[tuple[str, dict[str, Difference]]]:
    """Return the columns of differences from baselines: the head of each, and its differences by metric name.

    The differences are from gray and, unless ``narrow``, from the constant-color baseline; if there is none from gray
    (probes, transfer), from each control.
    """
    names = list(dict.fromkeys(difference.minus for difference in record.differences))
    if GRAY_MODEL in names:
        names = [GRAY_MODEL, CONSTANT_MODEL] if CONSTANT_MODEL in names and not narrow else [GRAY_MODEL]
    by_name = {name: {d.metric: d for d in record.differences if d.minus == name} for name in names}
    return [(f"Δ vs. {re.split('[/.]', name)[-1]}", differences) for name, differences in by_name.items()]


def baselines(record: Record, beside: Sequence[Record]) -> list[tuple[str, Record]]:
    """Return the gray, constant and ground-truth records on the same images, with their column heads."""
    others = {other.model.name: other for other in beside if other.model.name != record.model.name}
    return [(head, others[name]) for name, head in BASELINES.items() if name in others]


def baseline_records(folder: Path, record: Record) -> list[Record]:
    """Return the records of gray, constant and ground truth from the same output, with equal protocol and images."""
    found = (next(records_beside(folder, record, name), None) for name in BASELINES)
    return [beside[1] for beside in found if beside is not None]
