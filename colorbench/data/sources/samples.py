"""Creation of samples (dataset items) from files, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from colorbench.data.dataset import Dataset, Sample
from colorbench.data.sample_columns import SampleColumns

FULL_PATHS = "write each image's path below the folder"
COPY_AGAIN = "copy or make it again"


def sample_of(id: str, path: Path) -> Sample:
    """Return a file as an image of a dataset, with its size and time; nothing else is read."""
    try:
        status = path.stat()
    except OSError:
        return Sample(id, path)  # for example a dangling link; decoding will report it as skipped
    return Sample(id, path, size=status.st_size, modified=status.st_mtime_ns)


def dataset_of_samples(
    name: str,
    root: Path,
    samples: Iterable[Sample],
    class_names: tuple[str, ...] | None = None,
    *remarks: str | None,
) -> Dataset:
    """Return the dataset of a folder's images, sorted by id; remarks that are None are left out."""
    told = tuple(remark for remark in remarks if remark is not None)
    return Dataset(name, in_order(samples), class_names, source=f"folder {root.resolve().name}", remarks=told)


def in_order(samples: Iterable[Sample]) -> Sequence[Sample]:
    """Return images sorted by id."""
    return samples if isinstance(samples, SampleColumns) else tuple(sorted(samples, key=lambda sample: sample.id))
