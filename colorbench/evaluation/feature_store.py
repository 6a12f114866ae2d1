"""Cache of image features on disk, by content: computed once, resumable, and read without the images.

    <cache>/contents/<names, sizes, times>.json       sha256 of every file, so that no file is read twice to know it
    <cache>/features/<model>/<key>/conv3.float32 ...  (n, dims) in the order of the samples, and ``index.json``

The key depends on the model's fingerprint, the preprocessing, the pooling, and the contents of the files: moved or
touched images have the same features. ``done/`` lists the finished shards; an interrupted run resumes after the last of
them. Several sources (such as five draws of an untrained network) share one decoding.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset, LoadedBatch, check_contents, contents_of, get_preprocessing, load_batches
from colorbench.errors import RunError, UserError
from colorbench.evaluation.devices_and_memory import smaller_batch
from colorbench.evaluation.protocol_interfaces import ThroughputMeter
from colorbench.evaluation.run_config import ExecutionConfig
from colorbench.evaluation.run_directory import folder_of_model
from colorbench.models import FeatureExtractor, FeatureSpec, chosen_layers, library_code
from colorbench.results import Shard, first_positions, without_copies
from colorbench.results.shard import shard_count, shard_samples, shard_start
from colorbench.storage import digest_of, read_cached_json, write_cached_json
from colorbench.storage.atomic_files import writing

FORMAT = 1
"""Format version; raised if the same key would contain other numbers."""
DTYPES: Mapping[str, Any] = {"float16": np.float16, "float32": np.float32}


class _Chosen:
    """Selected rows of a matrix on disk; only these are read."""

    def __init__(self, full: np.ndarray, positions: np.ndarray) -> None:
        self.full, self.positions, self.shape = full, positions, (len(positions), full.shape[1])

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: Any) -> np.ndarray:
        found: np.ndarray = self.full[self.positions[rows]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.full[self.positions], dtype)


FeatureMatrix = np.ndarray | _Chosen
"""(n, dims) features of a layer, in memory or read from disk when indexed."""


@dataclass(frozen=True)
class FeatureStore:
    """Finished features of one source on one dataset."""

    folder: Path
    key: str
    layers: Mapping[str, int]
    """Layer -> dims, in the order of depth."""
    rows: Shard
    """Rows of the images with features; the others are in ``skipped``."""
    positions: np.ndarray
    """(n,) position of each row in the files."""
    count: int
    """Number of rows in the files, including skipped images."""
    storage: str

    def matrix(self, layer: str) -> FeatureMatrix:
        """Return the features of a layer, (n, dims), read from disk when indexed."""
        shape = (self.count, self.layers[layer])
        full = np.memmap(self.folder / _file(layer, self.storage), DTYPES[self.storage], "r", shape=shape)
        return full if len(self.positions) == self.count else _Chosen(full, self.positions)

    def without_copies(self) -> FeatureStore:
        """Return the features with each distinct image once, for datasets that are evaluated."""
        rows = without_copies(self.rows)
        return (
            self
            if rows is self.rows
            else replace(self, rows=rows, positions=self.positions[first_positions(self.rows.sha256s)])
        )

    @cached_property
    def labels(self) -> np.ndarray:
        """Class of each row, (n,); -1 for none."""
        return np.array([-1 if label is None else label for label in self.rows.labels], dtype=np.int64)


def read_features(
    sources: Sequence[FeatureExtractor],
    dataset: Dataset,
    cut: FeatureSpec,
    settings: ExecutionConfig,
    cache: Path,
    progress: ThroughputMeter,
) -> list[FeatureStore]:
    """Return the feature stores of all sources on a dataset.

    Stored features are read; missing features of all sources are computed with one decoding.

    Several processes share the shards.

    Raises:
        UserError: for a preprocessing with mixed sizes, or an unknown layer.
        RunError: for features that are not finite or that cannot be stored.
    """
    if get_preprocessing(cut.preprocessing).mixed_sizes:
        raise UserError(
            "features need images of one size", hint="choose a preprocessing such as squash128 or center224"
        )
    contents = contents_of(dataset, cache, settings.workers)
    order = [contents[sample.id] for sample in dataset.samples]
    makers = [_FeatureWriter(source, cut, order, settings, cache) for source in sources]
    lacking = {maker.key: maker for maker in makers if not maker.finished()}  # equal sources are computed once
    if lacking:
        _make(list(lacking.values()), _FeaturePass(dataset, contents, cut, settings, progress))
    return [maker.read(dataset) for maker in makers]


@dataclass(frozen=True)
class _FeaturePass:
    """What the shards of one pass over a dataset share."""

    dataset: Dataset
    contents: Mapping[str, str | None]
    """Id -> sha256 of the file; None for files that cannot be read."""
    cut: FeatureSpec
    settings: ExecutionConfig
    progress: ThroughputMeter


def _make(makers: Sequence[_FeatureWriter], run: _FeaturePass) -> None:
    """Compute the missing shards of all makers, each by one of the processes that share the work."""
    samples, settings, claims, progress = run.dataset.samples, run.settings, run.settings.claims, run.progress
    todo = {index for maker in makers for index in maker.missing(len(samples))}
    progress.listener.started(sum(len(shard_samples(samples, index)) for index in todo))
    while makers := [maker for maker in makers if not maker.finished()]:
        missing = sorted({index for maker in makers for index in maker.missing(len(samples))})
        own = missing[settings.rank :: settings.processes]
        made = 0
        for index in own + [index for index in reversed(missing) if index not in set(own)]:
            held = {id(maker): claims.take(maker.ledger, f"{index:05d}") for maker in makers}
            claimed = [maker for maker in makers if held[id(maker)] is not None and maker.lacks(index)]
            try:
                if claimed:
                    run = _make_in_memory(claimed, index, run)
                    made += 1
            finally:
                for claim in held.values():
                    if claim is not None:
                        claim.release()
        for maker in makers:
            if maker.missing(len(samples)) or (claim := claims.take(maker.folder, "index")) is None:
                continue
            try:
                if not maker.finished():
                    maker.close()
                    made += 1
            finally:
                claim.release()
        if not made:  # other processes compute the rest
            progress.advance(0)
            claims.wait()


def _make_in_memory(makers: Sequence[_FeatureWriter], index: int, run: _FeaturePass) -> _FeaturePass:
    """Write the features of one shard, in smaller batches where memory runs out; return the pass for the next."""
    while True:
        try:
            _make_shard(makers, index, run)
            return run
        except Exception as error:
            size = smaller_batch(error, run.settings.batch_size, run.progress.listener.message)
            if size is None:
                raise
        run = replace(run, settings=replace(run.settings, batch_size=size))


def _make_shard(makers: Sequence[_FeatureWriter], index: int, run: _FeaturePass) -> None:
    """Write the features of one shard, with one decoding."""
    settings, part = run.settings, shard_samples(run.dataset.samples, index)
    position = {sample.id: shard_start(index) + i for i, sample in enumerate(part)}
    heads: list[dict[str, Any]] = []
    for batch in load_batches(
        part,
        get_preprocessing(run.cut.preprocessing),
        batch_size=settings.batch_size,
        workers=settings.workers,
        gray_policy=settings.gray_policy,
    ):
        check_contents(batch.ids, batch.sha256s, run.contents)
        heads.append(_head(batch, position))
        if batch.ids:
            lightness = rgb_to_lab(batch.rgb8.to(settings.device))[:, :1]
            for maker in makers:
                maker.add(lightness, [position[id] for id in batch.ids], batch.ids, len(run.dataset))
        run.progress.advance(len(batch.ids) + len(batch.skipped))
    for maker in makers:
        maker.close_shard(index, heads)


def _head(batch: LoadedBatch, position: Mapping[str, int]) -> dict[str, Any]:
    return {
        "positions": [position[id] for id in batch.ids],
        "sha256s": batch.sha256s,
        "gray": batch.gray,
        "sizes": batch.sizes,
        "skipped": [(position[id], reason) for id, reason in batch.skipped],
    }


class _FeatureWriter:
    """Writer of the features of one source."""

    def __init__(
        self,
        source: FeatureExtractor,
        cut: FeatureSpec,
        contents: Sequence[str | None],
        settings: ExecutionConfig,
        cache: Path,
    ) -> None:
        self.source, self.cut = source, cut
        self.key = digest_of(
            {
                "format": FORMAT,
                "colorbench": library_code(),
                "source": source.identity,
                "layers": source.layers,
                "preprocessing": cut.preprocessing,
                "shrinking": asdict(cut.shrinking),
                "storage": cut.storage,
                "dtype": str(settings.dtype),
                "gray_policy": settings.gray_policy,
                "contents": contents,
            }
        )
        self.folder = cache / "features" / folder_of_model(source.name) / self.key[:16]
        self.ledger = self.folder / "done"
        self.index = self.folder / "index.json"
        self.layers: dict[str, int] = {}
        self.seconds = 0.0

    def finished(self) -> bool:
        return self.index.is_file() and _json(self.index).get("key") == self.key

    def missing(self, images: int) -> list[int]:
        """Return the indices of the shards that are not stored; none for finished features."""
        if self.finished():
            return []
        done = self.done()
        return [index for index in range(shard_count(images)) if index not in done]

    def lacks(self, index: int) -> bool:
        """Return whether a shard is not stored."""
        return not self.finished() and _json(self.ledger / f"{index:05d}.json").get("key") != self.key

    def done(self) -> set[int]:
        """Return the indices of the stored shards.

        Shards of another key with the same short folder name do not count.
        """
        shards = {int(path.stem): _json(path) for path in self.ledger.glob("*.json")}
        found = {index: shard for index, shard in shards.items() if shard.get("key") == self.key}
        if found:
            self.layers = found[min(found)]["layers"]
        return set(found)

    def add(self, lightness: Tensor, positions: Sequence[int], ids: Sequence[str], count: int) -> None:
        """Write the rows of one batch."""
        started = time.perf_counter()
        maps = self.source.maps(lightness)
        names = chosen_layers(list(maps), self.source.layers)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                rows = self.cut.shrinking.apply(maps[name]).cpu().numpy()  # (N, dims)
                self._check(name, rows, ids)
                self.layers.setdefault(name, rows.shape[1])
                rows = rows.astype(DTYPES[self.cut.storage])
                path = self.folder / _file(name, self.cut.storage)
                # Not opened for reading: a network file system would then write whole pages, with old values of rows
                # that another machine writes.
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                with open(descriptor, "wb") as file:
                    if os.fstat(descriptor).st_size != count * rows[0].nbytes:
                        file.truncate(count * rows[0].nbytes)
                    for start, stop in _runs(positions):
                        file.seek(positions[start] * rows[0].nbytes)
                        file.write(np.ascontiguousarray(rows[start:stop]).data)
        self.seconds += time.perf_counter() - started

    def _check(self, layer: str, rows: np.ndarray, ids: Sequence[str]) -> None:
        name = self.source.name
        if not (finite := np.isfinite(rows).all(axis=1)).all():
            what = f"{name} returns features with NaN or infinity in layer {layer}"
            raise RunError(what, where=ids[int(np.argmin(finite))], hint="check the model's weights")
        if self.cut.storage == "float16" and np.abs(rows).max(initial=0) > np.finfo(np.float16).max:
            what = f"features of {name} in layer {layer} are too large for float16"
            raise RunError(what, hint="use --param storage=float32")

    def close_shard(self, index: int, heads: Sequence[Mapping[str, Any]]) -> None:
        full = {"key": self.key, "layers": self.layers, "batches": heads, "seconds": self.seconds}
        self.seconds = 0.0
        write_cached_json(self.ledger / f"{index:05d}.json", full)

    def close(self) -> None:
        """Write the index of all shards and remove the list of finished shards."""
        shards = [_json(path) for path in sorted(self.ledger.glob("*.json"))]
        batches = [batch for shard in shards for batch in shard["batches"]]
        full = {
            "key": self.key,
            "source": self.source.name,
            "layers": self.layers,
            "seconds": sum(shard["seconds"] for shard in shards),
            **{key: [one for batch in batches for one in batch[key]] for key in _HEAD},
        }
        write_cached_json(self.index, full, durable=True)
        shutil.rmtree(self.ledger, ignore_errors=True)

    def read(self, dataset: Dataset) -> FeatureStore:
        """Read the finished features, with the present ids and labels of the dataset."""
        head = _json(self.index)
        # Names and classes are taken from the present dataset; the contents are the same, in the same order.
        samples = [dataset.samples[position] for position in head["positions"]]
        return FeatureStore(
            folder=self.folder,
            key=self.key,
            layers=head["layers"],
            rows=Shard(
                ids=tuple(sample.id for sample in samples),
                sha256s=tuple(head["sha256s"]),
                labels=tuple(sample.label for sample in samples),
                gray=tuple(head["gray"]),
                sizes=tuple((height, width) for height, width in head["sizes"]),
                skipped=tuple((dataset.samples[position].id, reason) for position, reason in head["skipped"]),
                seconds={"features": head["seconds"]},
            ),
            positions=np.array(head["positions"], dtype=np.int64),
            count=len(dataset),
            storage=self.cut.storage,
        )


_HEAD = ("positions", "sha256s", "gray", "sizes", "skipped")


def _file(layer: str, storage: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', layer)}.{storage}"


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of runs of consecutive positions."""
    start = 0
    for stop in range(1, len(positions) + 1):
        if stop == len(positions) or positions[stop] != positions[stop - 1] + 1:
            yield start, stop
            start = stop


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if it is missing or damaged."""
    return read_cached_json(path) or {}
