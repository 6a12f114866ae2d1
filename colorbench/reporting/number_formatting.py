"""Format the numbers of a record, for the terminal and for pages."""

from __future__ import annotations

READABLE = 1e6
"""Numbers from this size on are written in scientific notation."""


def format_number(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Format a number for a table cell; a dash for None."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    if abs(value) >= READABLE:
        return f"{value:{sign}.2e}"
    # Percentages, decibels and color differences have two decimals; plain numbers may be small.
    return f"{value:{sign}.{2 if unit else 3}f}"


def format_interval(low: float | None, high: float | None, unit: str, *, signed: bool = False) -> str:
    """Format the two numbers of an interval as ``[low, high]``; empty if there is no interval."""
    if low is None or high is None:
        return ""
    return f"[{format_number(low, unit, signed=signed)}, {format_number(high, unit, signed=signed)}]"


def format_difference(value: float, unit: str) -> str:
    """Format the number of a difference with its unit; percentages differ by points."""
    times = "× " if unit.startswith("10") else ""  # 1.20 × 10⁻³
    return f"{format_number(value, unit)} {times}{'points' if unit == '%' else unit}".rstrip()


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: ``1 trial``, ``2 trials``.

    Args:
        count: number of things.
        noun: for one of them.
        plural: for several; default: with ``s``.
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
