"""Dataset of a command that works on its images: opening it, and reporting images that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colorbench.errors import RunError

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


def fail_if_skipped(skipped: Sequence[SkippedImage], terminal: Console) -> None:
    """Print every image that could not be read.

    Raises:
        RunError: if there are any.
    """
    for one in skipped:
        terminal.print(f"left out: {one.id}: {one.reason}", soft_wrap=True, markup=False, highlight=False)
    if skipped:
        raise RunError(f"unreadable images: {len(skipped)}", where=f"{skipped[0].id}: {skipped[0].reason}")
