"""Format the numbers and remarks of a record, for the terminal and for pages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from colorbench.models import BASELINES, CONSTANT_MODEL, GRAY_MODEL
from colorbench.results import Difference, Metric, Record, shared_weights_note
from colorbench.stats import significance

DECIDING_SHARE = 0.95
"""The effective sample size is shown if it is below this share of n."""


def too_few_images(record: Record) -> str | None:
    """Return the note that marks a run on too few images as a smoke test; None if there is none."""
    return next((note for note in record.notes if note.startswith("smoke test on ")), None)


def format_number(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Format a value for a table cell; a dash where there is none."""
    if value is None:
        return "–"
    # Percentages, decibels and color differences have two decimals; plain numbers may be small.
    return f"{value:{'+' if signed else ''}.{2 if unit else 3}f}"


def interval(low: float | None, high: float | None, unit: str, *, signed: bool = False) -> str:
    """Format ``[low, high]``; empty if there is no interval."""
    if low is None or high is None:
        return ""
    return f"[{format_number(low, unit, signed=signed)}, {format_number(high, unit, signed=signed)}]"


def format_difference(value: float, unit: str) -> str:
    """Format the size of a difference with its unit; percentages differ by points."""
    return f"{format_number(value, unit)} {'points' if unit == '%' else unit}".rstrip()


def low_effective_n(metric: Metric) -> bool:
    """Return whether the effective sample size is much smaller than n."""
    return metric.effective_n < DECIDING_SHARE * metric.n


def values(record: Record) -> dict[str, float | None]:
    """Return the value of each metric by name."""
    return {metric.name: metric.value for metric in record.metrics}


def difference_from(record: Record, *, narrow: bool = False) -> list[tuple[str, dict[str, Difference]]]:
    """Return the columns of differences: the head of each, and its differences by metric name.

    The differences are from gray and, unless ``narrow``, from the constant-color baseline; if there is none from gray
    (probes, transfer), from each control.
    """
    names = list(dict.fromkeys(difference.minus for difference in record.differences))
    if GRAY_MODEL in names:
        names = [GRAY_MODEL, CONSTANT_MODEL] if CONSTANT_MODEL in names and not narrow else [GRAY_MODEL]
    by_name = {name: {d.metric: d for d in record.differences if d.minus == name} for name in names}
    return [(f"Δ vs. {re.split('[/.]', name)[-1]}", differences) for name, differences in by_name.items()]


def difference_from_constant_color(record: Record, headline: str) -> str | None:
    """Return a sentence on whether the headline is significantly better than that of the constant-color baseline.

    A constant color is often a stronger baseline than gray. None if there is no such difference, if the metric has no
    direction, or if there is no interval.
    """
    metric = next((metric for metric in record.metrics if metric.name == headline), None)
    found = (one for one in record.differences if one.minus == CONSTANT_MODEL and one.metric == headline)
    difference = next(found, None)
    if metric is None or metric.higher_is_better is None or difference is None:
        return None
    if difference.ci_low is None or difference.ci_high is None:
        return None
    it_is = significance(difference.ci_low, difference.ci_high, metric.higher_is_better)
    stated = f"significantly {it_is} than" if it_is else "no significant difference from"
    value = format_number(difference.value, metric.unit, signed=True)
    limits = interval(difference.ci_low, difference.ci_high, metric.unit, signed=True)
    # If the interval of the value undercovers, that of the difference does too.
    doubt = ", but see the warning below" if metric.warning else ""
    return f"{headline}: {stated} the constant baseline, {value} {limits}{doubt}"


def baselines(record: Record, beside: Sequence[Record]) -> list[tuple[str, Record]]:
    """Return the gray, constant and ground-truth records on the same images, with their column heads."""
    others = {other.model.name: other for other in beside if other.model.name != record.model.name}
    return [(head, others[name]) for name, head in BASELINES.items() if name in others]


def remarks(record: Record) -> list[str]:
    """Return the notes and warnings that a reader must know."""
    data = record.dataset
    message = [shared_weights_note(shared) for shared in record.shared_weights]
    message += [note for note in record.notes if note != too_few_images(record)]
    warned: dict[str, list[str]] = {}
    for metric in record.metrics:
        if metric.warning:
            warned.setdefault(metric.warning, []).append(metric.name)
    for warning, names in warned.items():
        every = len(names) == len(record.metrics) > 1
        message.append(f"{'all metrics' if every else ', '.join(names)}: {warning}")
    if data.n_gray:
        message.append(f"grayscale images: {data.n_gray} (policy: {data.gray_policy})")
    if data.skipped:
        first = data.skipped[0]
        message.append(f"skipped images: {len(data.skipped)}, the first is {first.id}: {first.reason}")
    if data.overlap:
        message.append(f"training images among the evaluated ones: {data.overlap}; scores are biased upwards")
    if record.execution.dtype != "float32":
        message.append(f"computed in {record.execution.dtype}, not float32")
    return message
