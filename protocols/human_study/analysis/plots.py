"""The analysis as small drawings (SVG): for the page, and as files for a paper.

A drawing names its colors by class, so that the page can follow a dark screen; ``standalone`` adds them for a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas

from colorbench.reporting.plots import ticks
from colorbench.stats import clustered_rate
from protocols.human_study.analysis.fooling_rates import Analysis, MethodResult, Result

STYLE = """svg { background: #fff; } text { font: 13px system-ui, sans-serif; fill: #55555c; }
.strong { fill: #1d1d1f; } .grid { stroke: #dedee2; } .half { stroke: #0f766e; stroke-dasharray: 5 4; }
.c0 { color: #c2410c; } .c1 { color: #1d4ed8; } .c2 { color: #7c3aed; } .c3 { color: #0f766e; }
.c4 { color: #a16207; } .c5 { color: #be185d; } .cs { color: #71717a; } .dot { fill: currentColor; }
.line { stroke: currentColor; fill: none; stroke-width: 2; } .band { fill: currentColor; opacity: .15; }
.bar { fill: #71717a; opacity: .45; } .ring { fill: none; stroke: #71717a; stroke-width: 1.5; }"""
COLORS = 6
"""Classes c0 ... c5; more methods begin again."""


class Drawing:
    """Axes and marks, in data coordinates."""

    def __init__(
        self,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        width: int = 420,
        height: int = 290,
        left: int = 48,
        bottom: int = 46,
        top: int = 26,
    ) -> None:
        self.title, self.x, self.y = title, x, y
        self.width, self.height, self.left, self.right = width, height, left, width - 16
        self.top, self.bottom = top, height - bottom
        self.parts: list[str] = []

    def across(self, x: float) -> float:
        """Convert data to pixels along x."""
        low, high = self.x
        return round(self.left + (self.right - self.left) * (x - low) / ((high - low) or 1), 1)

    def up(self, y: float) -> float:
        """Convert data to pixels along y."""
        low, high = self.y
        return round(self.bottom - (self.bottom - self.top) * (y - low) / ((high - low) or 1), 1)

    def axes(self, x_label: str, y_label: str, *, x_ticks: Sequence[float] | None = None, y_ticks: bool = True) -> None:
        """Draw grid, numbers and labels."""
        for value in ticks(*self.x) if x_ticks is None else x_ticks:
            self.line(self.across(value), self.top, self.across(value), self.bottom, "grid")
            self.text(self.across(value), self.bottom + 18, f"{value:g}", "middle")
        for value in ticks(*self.y) if y_ticks else ():
            self.line(self.left, self.up(value), self.right, self.up(value), "grid")
            self.text(self.left - 6, self.up(value) + 4, f"{value:g}", "end")
        self.text((self.left + self.right) / 2, self.height - 8, x_label, "middle")
        self.text(self.left, 14, y_label, "start")

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draw a straight line, in pixels."""
        self.parts.append(f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')

    def text(self, x: float, y: float, message: str, baseline: str, kind: str = "") -> None:
        """Draw text, in pixels."""
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{baseline}">{escape(message)}</text>')

    def circle(self, x: float, y: float, radius: float, kind: str) -> None:
        """Draw a dot or ring, in pixels."""
        self.parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"/>')

    def path(self, points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> None:
        """Draw a line through data points, or fill the area inside it."""
        inside = " ".join(f"{self.across(x)},{self.up(y)}" for x, y in points)
        self.parts.append(f'<{"polygon" if closed else "polyline"} class="{kind}" points="{inside}"/>')

    def bar(self, x1: float, x2: float, y: float, kind: str = "bar") -> None:
        """Draw a column from 0, in data coordinates."""
        left, right, high = self.across(x1), self.across(x2), self.up(y)
        size = f'width="{max(right - left - 1, 0.5):.1f}" height="{self.bottom - high:.1f}"'
        self.parts.append(f'<rect class="{kind}" x="{left}" y="{high}" {size}/>')

    def svg(self, style: str = "") -> str:
        """Return the whole drawing; ``style`` makes it self-contained."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img"'
        inner = f"<style>{style}</style>" if style else ""
        label = escape(self.title, quote=True)
        return f'{head} aria-label="{label}">{inner}{"".join(self.parts)}</svg>'


def color(position: int, row: MethodResult) -> str:
    """Return the class of a method's marks."""
    return "cs" if row.sentinel else f"c{position % COLORS}"


def drawings(analysis: Analysis) -> dict[str, Drawing]:
    """Return every drawing by the name of its file; those without data are left out."""
    found = {
        "rates": rates(analysis.result, analysis.everything),
        "images": images(analysis),
        "participants": participants(analysis.kept),
        "session": session(analysis.kept),
        "reaction-times": reaction_times(analysis.kept),
    }
    return {name: drawing for name, drawing in found.items() if drawing is not None}


def rates(result: Result, everything: Result) -> Drawing | None:
    """Draw every method's rate with its interval; a ring marks the rate before the exclusions."""
    rows = [*result.methods]
    if not rows:
        return None
    before = {row.method: row.rate.value for row in everything.methods}
    ends = [row.rate.interval.high if row.rate.interval else row.rate.value for row in rows]
    high = max(0.55, *(1.05 * end for end in ends))
    longest = max(len(row.method) for row in rows)
    left = min(260, 30 + 7 * longest)
    drawing = Drawing(
        "Fooling rates", (0, 100 * min(high, 1)), (0, 1), width=760, height=76 + 34 * len(rows), left=left
    )
    drawing.axes("fooling rate, %, with 95 % intervals over participants and images", "", y_ticks=False)
    drawing.line(drawing.across(50), drawing.top, drawing.across(50), drawing.bottom, "half")
    drawing.text(drawing.across(50), drawing.top - 8, "as good as real", "middle")
    positions = {row.method: position for position, row in enumerate(rows)}
    for turn, row in enumerate(sorted(rows, key=lambda row: -row.rate.value)):
        y = drawing.top + 20 + 34 * turn
        kind = color(positions[row.method], row)
        drawing.text(left - 10, y + 5, row.method, "end", "strong")
        at = drawing.across(100 * row.rate.value)
        if row.rate.interval is not None:
            low, high = (drawing.across(100 * end) for end in (row.rate.interval.low, row.rate.interval.high))
            drawing.line(low, y, high, y, f"line {kind}")
        drawing.circle(at, y, 5.5, f"dot {kind}")
        if row.method in before:
            drawing.circle(drawing.across(100 * before[row.method]), y, 8, "ring")
    return drawing


def images(analysis: Analysis) -> Drawing | None:
    """Draw the images of every method from the most to the least fooling, with the posterior's 95 %."""
    groups = [
        (row.method, color(position, row)) for position, row in enumerate(analysis.result.methods) if not row.sentinel
    ]
    drawing = Drawing("Images from most to least fooling", (0, 100), (0, 100))
    drawing.axes("images from most to least fooling, %", "fooling rate of an image, %")
    for method, kind in groups:
        candidate = [one for one in analysis.images if one.method == method]
        if len(candidate) > 1:
            at = np.linspace(0, 100, len(candidate))
            bounds = [(x, 100 * one.low) for x, one in zip(at, candidate, strict=True)]
            bounds += [(x, 100 * one.high) for x, one in zip(at, candidate, strict=True)][::-1]
            drawing.path(bounds, f"band {kind}", closed=True)
            drawing.path([(x, 100 * one.estimate) for x, one in zip(at, candidate, strict=True)], f"line {kind}")
    return drawing if analysis.images else None


def participants(kept: pandas.DataFrame) -> Drawing | None:
    """Draw how often each participant was fooled, all methods together."""
    tests = kept[kept["kind"] == "test"]
    shares = 100 * tests.groupby("participant")["fooled"].mean().to_numpy(float)
    if len(shares) < 2:
        return None
    edges = np.arange(0, 101, 5)
    counts = np.histogram(shares, edges)[0]
    drawing = Drawing("Participants", (0, 100), (0, _round_up(counts.max())))
    drawing.axes("a participant's own fooling rate, %", "participants")
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            drawing.bar(float(low), float(high), float(count))
    drawing.line(drawing.across(50), drawing.top, drawing.across(50), drawing.bottom, "half")
    return drawing


def session(kept: pandas.DataFrame) -> Drawing | None:
    """Draw the fooling rate over the session: learning and tiredness."""
    tests = kept[kept["kind"] == "test"]
    if tests.empty or tests["order"].max() < 9:
        return None
    last = int(tests["order"].max()) + 1
    edges = np.linspace(0, last, 6).round().astype(int)
    drawing = Drawing("Over the session", (0, last), (0, 100))
    drawing.axes("trial of the session", "fooling rate, all methods, %")
    centers = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        block = tests[(tests["order"] >= low) & (tests["order"] < high)]
        if block.empty:
            continue
        rate = clustered_rate(
            block["fooled"].to_numpy(),
            block["participant"].to_numpy(),
            block["image"].to_numpy(),
        )
        x = (low + high) / 2
        centers.append((x, 100 * rate.value))
        if rate.interval is not None:
            ends = [drawing.up(100 * end) for end in (rate.interval.low, rate.interval.high)]
            drawing.line(drawing.across(x), ends[0], drawing.across(x), ends[1], "line c0")
        drawing.circle(drawing.across(x), drawing.up(100 * rate.value), 4.5, "dot c0")
    drawing.path(centers, "line c0 faint")
    drawing.line(drawing.left, drawing.up(50), drawing.right, drawing.up(50), "half")
    return drawing


def reaction_times(kept: pandas.DataFrame) -> Drawing | None:
    """Draw how long the choice took, where people recognized the fake and where they did not."""
    tests = kept[(kept["kind"] == "test") & (kept["reaction_ms"] > 0)]
    if len(tests) < 2:
        return None
    seconds = tests["reaction_ms"].to_numpy(float) / 1000
    most = max(1.0, math.ceil(float(np.quantile(seconds, 0.98))))
    edges = np.linspace(0, most, 25)
    fooled = tests["fooled"].to_numpy(bool)
    shares = []
    for group in (seconds[~fooled], seconds[fooled]):
        counts = np.histogram(np.minimum(group, most), edges)[0]
        shares.append(100 * counts / max(len(group), 1))
    drawing = Drawing("Reaction times", (0, most), (0, _round_up(max(share.max() for share in shares))))
    drawing.axes("seconds until the choice", "% of the answers")
    for low, high, share in zip(edges[:-1], edges[1:], shares[0], strict=True):
        if share:
            drawing.bar(float(low), float(high), float(share))
    drawing.path([((a + b) / 2, s) for a, b, s in zip(edges[:-1], edges[1:], shares[1], strict=True)], "line c0")
    return drawing


def _round_up(value: float) -> float:
    """Return the next round number at or above a value, for the top of an axis."""
    labels = ticks(0.0, max(float(value), 1.0))
    step = labels[1] - labels[0] if len(labels) > 1 else 1.0
    return math.ceil(max(float(value), 1.0) / step) * step
