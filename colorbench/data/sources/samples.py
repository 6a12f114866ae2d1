"""Creation of samples (dataset items) from files, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from colorbench.data.dataset import Dataset, Sample

_FULL_PATHS = "write each image's path below the folder"


def _sample(id: str, path: Path) -> Sample:
    try:
        status = path.stat()
    except OSError:
        return Sample(id, path)  # for example a dangling link; decoding will report it as skipped
    return Sample(id, path, size=status.st_size, modified=status.st_mtime_ns)


def _dataset(
    name: str,
    root: Path,
    samples: Iterable[Sample],
    class_names: tuple[str, ...] | None = None,
    *remarks: str | None,
) -> Dataset:
    told = tuple(remark for remark in remarks if remark is not None)
    return Dataset(name, _in_order(samples), class_names, source=f"folder {root.resolve().name}", remarks=told)


def _in_order(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: sample.id))
