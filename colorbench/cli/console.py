"""The console for messages."""

from __future__ import annotations

from rich.console import Console


def console(*, text_to_stderr: bool) -> Console:
    """Return the terminal console for messages: standard output, unless that is reserved for JSON."""
    return Console(stderr=text_to_stderr, highlight=False, soft_wrap=False, emoji=False, markup=False)
