"""What a reader must know of a record: notes, warnings, and whether it is better than a constant color."""

from __future__ import annotations

from collections.abc import Sequence

from colorbench.models import BASELINES, CONSTANT_MODEL, GRAY_MODEL, display_name
from colorbench.reporting.number_formatting import format_interval, format_number
from colorbench.results import Metric, Record, shared_weights_note, too_few_images
from colorbench.stats import significance

DECIDING_SHARE = 0.95
"""The effective sample size is shown if it is below this share of n."""


def low_effective_n(metric: Metric) -> bool:
    """Return whether a metric of a record has an effective sample size much smaller than n."""
    return metric.effective_n < DECIDING_SHARE * metric.n


def meaning_of_intervals(record: Record) -> str:
    """Return what ``[low, high]`` stands for in a record; empty if it has no intervals.

    Values are resampled over images. A protocol may have a method of its own for some intervals, such as over seeds.
    """
    parts = [("values", one.ci_method) for one in record.metrics if one.ci_low is not None]
    parts += [("differences", one.ci_method) for one in record.differences if one.ci_low is not None]
    own = {(which, _own_method(method or "")) for which, method in parts}
    usual = any(not method for _, method in own)
    others = "; ".join(f"of {which}: {method}" for which, method in sorted(own, reverse=True) if method)
    if not parts:
        return ""
    return "; ".join(filter(None, [f"95 % {'bootstrap ' * usual}confidence interval{' over images' * usual}", others]))


def _own_method(method: str) -> str:
    """Return the method of an interval; empty for the usual bootstrap, also where all images are equal."""
    name = method.removeprefix("paired ").removesuffix(", 95 %")
    return "" if "bootstrap" in name or name in ("", "no variation") else name


def difference_from_constant_color(record: Record, headline: str) -> str | None:
    """Return a sentence on whether the headline is significantly better than that of the constant-color baseline.

    A constant color is often a stronger baseline than gray; where a model is significantly worse than gray, that is
    said, too. None if there is no such difference, if the metric has no direction, or if there is no interval.
    """
    if (found := _from_baseline(record, headline, CONSTANT_MODEL)) is None:
        return None
    metric, stated, change = found
    # If the interval of the value undercovers, that of the difference does too.
    doubt = ", but see the warning below" if metric.warning else ""
    gray = _from_baseline(record, headline, GRAY_MODEL)
    worse = f"; {gray[1]} gray, {gray[2]}" if gray is not None and gray[1] == WORSE else ""
    return f"{headline}: {stated} the constant baseline, {change}{worse}{doubt}"


def differences_from_constant_color(records: Sequence[Record], headline: str) -> str | None:
    """Return one line for several models: which are significantly better than the constant baseline, and which not.

    Models that are significantly worse than gray are named, too. None if it would be empty; see
    ``difference_from_constant_color``. Baselines and references are left out.
    """
    models: dict[str, list[str]] = {}
    gray: list[str] = []
    names = [record.model.name for record in records]
    for record in records:
        if record.model.name in BASELINES or record.model.card.role == "reference":
            continue
        name = display_name(record.model.name, names)
        if (found := _from_baseline(record, headline, CONSTANT_MODEL)) is not None:
            models.setdefault(found[1], []).append(f"{name} {found[2]}")
        if (found := _from_baseline(record, headline, GRAY_MODEL)) is not None and found[1] == WORSE:
            gray.append(f"{name} {found[2]}")
    parts = [f"{stated} the constant baseline: {', '.join(models[stated])}" for stated in sorted(models)]
    parts += [f"{WORSE} gray: {', '.join(gray)}"] * bool(gray and parts)
    return f"{headline}: {'; '.join(parts)}" if parts else None


WORSE = "significantly worse than"


def _from_baseline(record: Record, headline: str, baseline: str) -> tuple[Metric, str, str] | None:
    """Return the metric, how it differs in words, and the difference from a baseline with its interval."""
    metric = next((metric for metric in record.metrics if metric.name == headline), None)
    found = (one for one in record.differences if one.minus == baseline and one.metric == headline)
    difference = next(found, None)
    if metric is None or metric.higher_is_better is None or difference is None:
        return None
    if difference.ci_low is None or difference.ci_high is None:
        return None
    it_is = significance(difference.ci_low, difference.ci_high, metric.higher_is_better)
    stated = f"significantly {it_is} than" if it_is else "no significant difference from"
    value = format_number(difference.value, metric.unit, signed=True)
    limits = format_interval(difference.ci_low, difference.ci_high, metric.unit, signed=True)
    return metric, stated, f"{value} {limits}"


def remarks(record: Record) -> list[str]:
    """Return the remarks on a record that a reader must know: notes and warnings."""
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
    if absent := [one.name for one in record.metrics if one.value is None and not one.warning]:
        message.append(f"no value on these images: {', '.join(absent)}")
    different = {one.metric for one in record.differences}
    shown_only = [
        one for one in record.metrics if one.value is not None and not one.comparable and one.name not in different
    ]
    if different and shown_only:
        listed = ", ".join(
            f"{one.name} (n_eff {one.effective_n:.0f})" * low_effective_n(one) or one.name for one in shown_only
        )
        message.append(f"{listed}: displayed only, not compared with baselines or other models (–)")
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
