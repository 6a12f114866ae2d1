"""Counts in the texts of a study."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: ``1 trial``, ``2 trials``.

    Args:
        count: number of things.
        noun: for one of them.
        plural: for several; default: with ``s``.
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
