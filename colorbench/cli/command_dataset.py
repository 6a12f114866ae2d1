"""Dataset of a command that works on its images: opening it, and reporting images that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colorbench.errors import READABLE, RunError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from colorbench.data import Dataset
    from colorbench.data.batch_loader import SkippedImage


def open_limited(data: str, list_file: Path | None, limit: int | None, terminal: Console) -> Dataset:
    """Open a dataset with the options of a command, and print its remarks.

    Args:
        data: value of ``--data``.
        list_file: value of ``--list``.
        limit: value of ``--limit``; None for all images.
        terminal: console for the remarks.

    Raises:
        UserError: for a dataset that cannot be opened.
    """
    from colorbench.data import open_dataset

    dataset = open_dataset(data, list_file=list_file)
    for remark in dataset.remarks:
        terminal.print(f"{dataset.name}: {remark}", soft_wrap=True, markup=False)
    return dataset if limit is None else dataset.limit(limit)


def fail_if_skipped(skipped: Sequence[SkippedImage], total: int, terminal: Console) -> None:
    """Print every image that could not be read.

    Raises:
        RunError: if there are any, of ``total`` images.
        UserError: if there are no others.
    """
    for one in skipped:
        terminal.print(f"left out: {one.id}: {one.reason}", soft_wrap=True, markup=False, highlight=False)
    if skipped:
        raise unreadable_images([f"{one.id}: {one.reason}" for one in skipped], total)


def unreadable_images(skipped: Sequence[str], total: int) -> UserError:
    """Return the error for unreadable images: of the run, which is incomplete, or of its input if no other is there."""
    kind = UserError if len(skipped) == total else RunError
    return kind(f"unreadable images: {len(skipped)}", where=skipped[0], hint=READABLE)
