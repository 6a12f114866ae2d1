"""Hashes of the files of a dataset: over names and sizes, over modification times, over contents."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from colorbench.data.dataset import Dataset, Sample
from colorbench.data.sample_columns import SampleColumns
from colorbench.errors import RunError, UserError
from colorbench.storage import read_cached_json, write_cached_json
from colorbench.storage.hashes import stamp_of


def files_digest(samples: Iterable[Sample], *, times: bool) -> str:
    """Return the sha256 over the ids and sizes of a dataset's files, optionally with their times.

    Without times it is equal on all machines with the same files; with times it shows, without reading, whether a file
    was modified.
    """
    known = samples.digests if isinstance(samples, SampleColumns) else {}
    if times not in known:
        total = hashlib.sha256()
        for sample in samples:
            time = sample.modified if times else 0
            total.update(f"{sample.id}\0{sample.size}\0{sample.label}\0{time}\n".encode())
        known[times] = total.hexdigest()
    return known[times]


def stamps_digest(dataset: Dataset) -> str:
    """Return the sha256 over the names and file stamps of a dataset; it changes if a file is written or replaced.

    No file is read.
    """
    total = hashlib.sha256()
    for sample, stamp in _stamps(dataset.samples):
        total.update(f"{sample.id}\0{stamp}\n".encode())
    return total.hexdigest()


def contents_of(dataset: Dataset, cache: Path, workers: int = 2) -> dict[str, str | None]:
    """Return the hash (sha256) of each file of a dataset by id; None for a file that cannot be read.

    Hashes of unmodified files are taken from the cache.
    """
    cached = cache / "contents" / f"{files_digest(dataset.samples, times=False)}.json"
    known = _known(cached)
    stamps = {sample.id: stamp for sample, stamp in _stamps(dataset.samples)}
    found: dict[str, str | None] = {}
    lacking: list[Sample] = []
    for sample in dataset.samples:
        stamp, sha256 = known.get(sample.id, (None, None))
        if stamp is not None and stamp == stamps[sample.id]:
            found[sample.id] = sha256
        else:
            lacking.append(sample)
    if lacking:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            found.update(zip((sample.id for sample in lacking), pool.map(sha256_if_readable, lacking), strict=True))
        # A file that was written while it was read is read again next time.
        saved = {id: [stamps[id], sha256] for id, sha256 in found.items() if stamps[id] is not None}
        with contextlib.suppress(RunError, UserError):  # without a writable disk, the files are only read again
            write_cached_json(cached, saved)
    return found


def contents_digest(dataset: Dataset, cache: Path, workers: int = 2) -> str:
    """Return the sha256 over the contents and classes of a dataset, independent of the order."""
    contents = contents_of(dataset, cache, workers)
    lines = [f"{contents[sample.id]} {_class_of(sample, dataset)}" for sample in dataset.samples]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def check_contents(ids: Sequence[str], sha256s: Sequence[str], contents: Mapping[str, str | None]) -> None:
    """Raise if a file of a dataset changed between hashing and decoding.

    Raises:
        RunError: naming the first such file.
    """
    for id, sha256 in zip(ids, sha256s, strict=True):
        if contents[id] != sha256:
            raise RunError("a file changed while it was evaluated", where=id, hint="run the same command again")


def _known(cached: Path) -> dict[str, tuple[list[int] | None, str | None]]:
    try:
        return {str(id): (stamp, sha256) for id, (stamp, sha256) in (read_cached_json(cached) or {}).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _stamps(samples: Iterable[Sample]) -> Iterator[tuple[Sample, list[int] | None]]:
    """Yield each sample with the stamp of its file; None if there is no file."""
    containers: dict[Path, list[int] | None] = {}
    for sample in samples:
        if sample.container is None:
            yield sample, _stamp(sample.path)
        else:
            if sample.path not in containers:
                containers[sample.path] = _stamp(sample.path)
            yield sample, containers[sample.path]


def _stamp(path: Path) -> list[int] | None:
    try:
        return list(stamp_of(path))
    except OSError:
        return None


def _class_of(sample: Sample, dataset: Dataset) -> str:
    if sample.label is None:
        return ""
    return dataset.class_names[sample.label] if dataset.class_names else str(sample.label)


def sha256_if_readable(sample: Sample) -> str | None:
    """Return the sha256 of an image's bytes; None if they cannot be read."""
    try:
        return sample.sha256()
    except OSError:
        return None
