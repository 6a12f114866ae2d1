"""Parameters of protocols that are numbers: from text to a number within limits."""

from __future__ import annotations

import math

from colorbench.errors import UserError

DIGITS = 18
"""More digits than any parameter needs, and few enough for 64 bits."""


def integer_parameter(protocol: str, name: str, text: str, low: int, high: int | None = None) -> int:
    """Convert a parameter to an integer.

    Raises:
        UserError: for other text, or outside the limits.
    """
    if text.isascii() and text.isdecimal() and len(text) <= DIGITS:
        value = int(text)
        if low <= value and (high is None or value <= high):
            return value
    raise UserError(f"{protocol}.{name} cannot be {text!r}", hint=f"give an integer {_limits(low, high)}")


def number_parameter(protocol: str, name: str, text: str, low: float = -math.inf, high: float | None = None) -> float:
    """Convert a parameter to a finite number.

    Raises:
        UserError: for other text, or outside the limits.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and low <= value and (high is None or value <= high):
        return value
    raise UserError(f"{protocol}.{name} cannot be {text!r}", hint=f"give a number {_limits(low, high)}".rstrip())


def _limits(low: float, high: float | None) -> str:
    if high is not None:
        return f"of {low:.10g} to {high:.10g}"
    return f"of at least {low:.10g}" if math.isfinite(low) else ""
