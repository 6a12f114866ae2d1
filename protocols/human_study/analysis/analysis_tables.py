"""The analysis as CSV tables and JSON for other programs."""

from __future__ import annotations

import math
from typing import Any

import pandas

from colorbench.stats import Interval
from protocols.human_study.analysis.fooling_rates import Analysis, Comparison, MethodResult, Result
from protocols.human_study.analysis.study_metrics import NAME, VERSION, identity_of


def rates_table(analysis: Analysis) -> pandas.DataFrame:
    """Build a table with a line per method, selection of responses and kind of interval; rates in percent.

    ``selection`` is ``kept`` (after the exclusions) or ``all``; ``exclusions`` is ``pre-specified``, ``changed after
    the first participant`` or ``not known``; ``interval`` is ``two-way cluster`` (the headline), ``two-level
    bootstrap`` (the paper's), ``crossed bootstrap`` or ``binomial``. A method without kept responses has a line
    without a rate.
    """
    rows: list[dict[str, Any]] = []
    rows += [
        {
            "method": row.method,
            "sentinel": row.sentinel,
            "selection": "kept",
            "exclusions": analysis.applied.status,
            "responses": 0,
            "participants": 0,
            "images": 0,
        }
        for row, kept in analysis.rows
        if kept is None
    ]
    for selection, result in (("kept", analysis.result), ("all", analysis.everything)):
        for row in result.methods:
            common = {
                "method": row.method,
                "sentinel": row.sentinel,
                "selection": selection,
                "exclusions": analysis.applied.status,
                "responses": row.rate.responses,
                "participants": row.rate.participants,
                "images": row.rate.images,
                "rate_percent": 100 * row.rate.value,
            }
            rows.append({**common, "interval": "two-way cluster", **_ends(row.rate.interval, row.rate.standard_error)})
            rows += [{**common, "interval": one.name, **_ends(one.interval, one.standard_error)} for one in row.others]
    columns = ["method", "sentinel", "selection", "exclusions", "responses", "participants", "images", "rate_percent"]
    return pandas.DataFrame(rows, columns=[*columns, "interval", "low", "high", "standard_error"])


def comparisons_table(analysis: Analysis) -> pandas.DataFrame:
    """Build a table with a line per pair of methods and selection of responses; differences in percentage points."""
    rows = [
        {"selection": selection, **_comparison(one)}
        for selection, result in (("kept", analysis.result), ("all", analysis.everything))
        for one in result.comparisons
    ]
    columns = ["selection", "first", "second", "difference_points", "low", "high", "standard_error", "p", "p_holm"]
    return pandas.DataFrame(rows, columns=[*columns, "degrees_of_freedom", "share_above"])


def images_table(analysis: Analysis) -> pandas.DataFrame:
    """Build a table with a line per image and method, in descending order of the rate.

    Exclusions are applied; rates are in percent.
    """
    rows = [
        {
            "method": one.method,
            "image": one.image,
            "fooled": one.fooled,
            "shown": one.shown,
            "raw_percent": 100 * one.fooled / one.shown,
            "estimate_percent": 100 * one.estimate,
            "low": 100 * one.low,
            "high": 100 * one.high,
        }
        for one in analysis.images
    ]
    columns = ["method", "image", "fooled", "shown", "raw_percent", "estimate_percent", "low", "high"]
    return pandas.DataFrame(rows, columns=columns)


def as_json(analysis: Analysis) -> dict[str, Any]:
    """Return the tables of an analysis but the images as JSON values; rates in percent, NaN as null."""
    design = analysis.study_data.design
    return {
        "study": design.name,
        "protocol": {"name": NAME, "version": VERSION, "identity": identity_of(design)},
        "responses_sha256": analysis.study_data.sha256,
        "bootstrap": {"resamples": analysis.resamples, "seed": analysis.seed},
        "notes": list(analysis.notes),
        "exclusions": [
            {
                "rule": rule.name,
                "description": rule.description,
                "participants": rule.participants,
                "trials": rule.trials,
            }
            for rule in analysis.applied.rules
        ],
        "exclusions_status": analysis.applied.status,
        "exclusions_changed": None if analysis.applied.changes is None else list(analysis.applied.changes),
        "participants_left_out": dict(analysis.applied.reasons),
        "kept": _result(analysis.result),
        "all": _result(analysis.everything),
        "spread_of_images": {
            method: {"concentration": _number(one.concentration), "deviation_percent": 100 * one.deviation}
            for method, one in analysis.spread.items()
        },
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "participants": result.participants,
        "responses": result.responses,
        "images": result.images,
        "methods": [_method(row) for row in result.methods],
        "comparisons": [
            {name: _number(value) for name, value in _comparison(one).items()} for one in result.comparisons
        ],
    }


def _method(row: MethodResult) -> dict[str, Any]:
    rate, bias = row.rate, row.bias
    first = _ends(bias.first.interval, bias.first.standard_error)
    return {
        "method": row.method,
        "sentinel": row.sentinel,
        "responses": rate.responses,
        "participants": rate.participants,
        "images": rate.images,
        "fooling_rate": {
            "percent": _number(100 * rate.value),
            **{name: _number(value) for name, value in _ends(rate.interval, rate.standard_error).items()},
            "method": rate.interval.method if rate.interval else None,
            "effective_responses": _number(rate.effective_responses),
            "variance_floored": rate.floored,
        },
        "other_intervals": {
            one.name: {name: _number(value) for name, value in _ends(one.interval, one.standard_error).items()}
            for one in row.others
        },
        "d_prime": {
            "value": row.d_prime.value,
            "low": row.d_prime.low,
            "high": row.d_prime.high,
            "corrected": row.d_prime.corrected,
            "without_bias": _number(bias.d_prime),
        },
        "side_bias": {
            "first_chosen_percent": _number(100 * bias.first.value),
            **{name: _number(value) for name, value in first.items()},
            "criterion": _number(bias.criterion),
        },
        "median_reaction_ms": row.median_reaction_ms,
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    found = one.difference
    return {
        "first": one.first,
        "second": one.second,
        "difference_points": 100 * found.value,
        **_ends(found.interval, found.standard_error),
        "p": found.p,
        "p_holm": one.p_holm,
        "degrees_of_freedom": found.degrees_of_freedom,
        "share_above": one.above,
    }


def _ends(interval: Interval | None, error: float) -> dict[str, float | None]:
    """Return ends and standard error in percent."""
    low, high = (None, None) if interval is None else (100 * interval.low, 100 * interval.high)
    return {"low": low, "high": high, "standard_error": 100 * error}


def _number(value: Any) -> Any:
    """Convert a number to a JSON value."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv(table: pandas.DataFrame) -> bytes:
    """Return a table of an analysis as UTF-8 CSV with a header line.

    Numbers have ten digits, so that equal numbers give equal bytes.
    """
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n").encode()
