"""The images that a record was measured on."""

from __future__ import annotations

from pathlib import Path

from colorbench.data import Dataset, open_dataset
from colorbench.data.sources.packaged import SAMPLES
from colorbench.errors import UserError
from colorbench.results import read_checked_record


def dataset_name(data: str | Path | Dataset | None) -> str | None:
    """Return what a record calls the dataset that is given; no image is looked for."""
    if data is None or data == SAMPLES:
        return None if data is None else SAMPLES
    if isinstance(data, Dataset):
        return data.name
    root = Path(data).resolve()
    return root.parent.name if root.name == "images" else root.name


def images_of(
    folder: Path,
    data: str | Path | Dataset | None,
    list_file: Path | None = None,
    labels: Path | None = None,
    *,
    needed: bool,
) -> Dataset | None:
    """Return the images of a record: those given, or the packaged ones for a record of those.

    Raises:
        UserError: where they are needed and none are given.
    """
    if isinstance(data, Dataset):
        return data
    if data is not None or list_file is not None or labels is not None:
        return open_dataset(data, list_file=list_file, labels=labels)
    try:
        name = read_checked_record(folder)[0].dataset.name
    except UserError:
        return None  # a finding of its own
    if name == SAMPLES:
        return open_dataset()
    if needed:
        raise UserError("--rerun needs the images", where=name, hint="give them with --data DIR")
    return None
