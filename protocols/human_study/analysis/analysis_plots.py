"""The plots of an analysis."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas

from colorbench.reporting import SERIES, Axis, Bars, Level, Line, Mark, Plot, forest_plot, plot
from colorbench.stats import clustered_rate
from protocols.human_study.analysis.fooling_rates import Analysis, MethodResult

CHANCE = Level("as good as real", 50, "truth")


def _color(position: int, row: MethodResult) -> str:
    """Return the name of a method's color; sentinels are gray."""
    return "gray" if row.sentinel else SERIES[position % len(SERIES)]


def plots(analysis: Analysis) -> dict[str, Plot]:
    """Return file name -> plot of an analysis; plots without data are left out."""
    makers: dict[str, Callable[[], Plot | None]] = {
        "rates": lambda: _rates(analysis),
        "images": lambda: _images(analysis),
        "participants": lambda: _participants(analysis.kept),
        "session": lambda: _session(analysis.kept),
        "reaction-times": lambda: _reaction_times(analysis.kept),
    }
    return {name: drawn for name, make in makers.items() if (drawn := make()) is not None}


def _rates(analysis: Analysis) -> Plot | None:
    """Plot every method's rate with its interval; a ring shows the rate before the exclusions."""
    methods = analysis.result.methods
    if not methods:
        return None
    before = {row.method: 100 * row.rate.value for row in analysis.everything.methods}
    rows = []
    for position, row in sorted(enumerate(methods), key=lambda one: -one[1].rate.value):
        value, interval = 100 * row.rate.value, row.rate.interval
        ends = (100 * interval.low, 100 * interval.high) if interval else (None, None)
        text = f"{value:.1f} [{ends[0]:.1f}, {ends[1]:.1f}]" if interval else f"{value:.1f}"
        rows.append(
            Mark(
                row.method,
                value,
                low=ends[0],
                high=ends[1],
                color=_color(position, row),
                note=f"{row.method}: {text} %",
                text=f"{value:.1f}",
                before=before.get(row.method),
            )
        )
    highest = max(row.x if row.high is None else row.high for row in rows)
    intervals = ", with 95 % intervals" if any(row.low is not None for row in rows) else ""
    x = Axis(f"fooling rate, %{intervals}", 0, min(100.0, max(55.0, 1.05 * highest)))
    return forest_plot("Fooling rates", x, rows, levels=[CHANCE])


def _images(analysis: Analysis) -> Plot | None:
    """Plot the rates of every method's images in descending order, with 95 % posterior intervals."""
    lines = []
    for position, row in enumerate(analysis.result.methods):
        found = [one for one in analysis.images if one.method == row.method]
        if row.sentinel or len(found) < 2:
            continue
        estimates, low, high = (
            [100 * float(getattr(one, name)) for one in found] for name in ("estimate", "low", "high")
        )
        across = np.linspace(0, 100, len(found)).tolist()
        lines.append(Line(row.method, across, estimates, _color(position, row), low, high))
    x, y = Axis("images from most to least fooling, %", 0, 100), Axis("fooling rate of an image, %", 0, 100)
    return plot("Images from most to least fooling", x, y, lines=lines) if lines else None


def _participants(kept: pandas.DataFrame) -> Plot | None:
    """Plot the fooling rate of each participant over all methods."""
    tests = kept[kept["kind"] == "test"]
    shares = 100 * tests.groupby("participant")["fooled"].mean().to_numpy(float)
    if len(shares) < 2:
        return None
    edges = np.arange(0, 101, 5)
    bars = Bars("participants", edges.tolist(), np.histogram(shares, edges)[0].tolist())
    x, y = Axis("a participant's own fooling rate, %", 0, 100), Axis("participants", low=0)
    return plot("Participants", x, y, bars=[bars])


def _session(kept: pandas.DataFrame) -> Plot | None:
    """Plot the fooling rate over the session, which shows learning and tiredness."""
    tests = kept[kept["kind"] == "test"]
    if tests.empty or tests["order"].max() < 9:
        return None
    last = int(tests["order"].max()) + 1
    edges = np.linspace(0, last, 6).round().astype(int)
    marks = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        block = tests[(tests["order"] >= low) & (tests["order"] < high)]
        if block.empty:
            continue
        columns = (block[name].to_numpy() for name in ("fooled", "participant", "image"))
        rate = clustered_rate(*columns)
        value, interval = 100 * rate.value, rate.interval
        ends = (100 * interval.low, 100 * interval.high) if interval else (None, None)
        note = f"trials {low + 1} to {high}: {value:.1f} %"
        marks.append(Mark("", float(low + high) / 2, value, ends[0], ends[1], note=note))
    line = Line("all methods", [mark.x for mark in marks], [mark.y for mark in marks])
    x, y = Axis("trial of the session", 0, last), Axis("fooling rate, %", 0, 100)
    return plot("Over the session", x, y, lines=[line], marks=marks, levels=[CHANCE])


def _reaction_times(kept: pandas.DataFrame) -> Plot | None:
    """Plot the reaction times of correct and wrong choices."""
    tests = kept[(kept["kind"] == "test") & (kept["reaction_ms"] > 0)]
    if len(tests) < 2:
        return None
    seconds = tests["reaction_ms"].to_numpy(float) / 1000
    longest = max(1.0, math.ceil(float(np.quantile(seconds, 0.98))))
    edges = np.linspace(0, longest, 25)
    fooled = tests["fooled"].to_numpy(bool)
    seen, missed = (
        (100 * np.histogram(np.minimum(group, longest), edges)[0] / max(len(group), 1)).tolist()
        for group in (seconds[~fooled], seconds[fooled])
    )
    centers = ((edges[:-1] + edges[1:]) / 2).tolist()
    x, y = Axis("seconds until the choice", 0, longest), Axis("% of the responses", low=0)
    bars, line = Bars("found the fake", edges.tolist(), seen), Line("was fooled", centers, missed)
    return plot("Reaction times", x, y, bars=[bars], lines=[line])
