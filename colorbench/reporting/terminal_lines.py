"""Lines on a terminal that are never broken."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def line(console: Console, text: str | Text, style: str | None = None) -> None:
    """Print one line to the terminal that is never broken, so that it can be searched and copied."""
    console.print(text, style=style, soft_wrap=True)
