"""Writing of the features of one source: rows of matrices, finished shards, and the index with checksums."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from colorbench.data import Dataset
from colorbench.errors import RunError
from colorbench.models import FeatureExtractor, FeatureSpec, chosen_layers, library_code
from colorbench.processes import WorkClaims
from colorbench.results.feature_matrices import DTYPES, FeatureStore, matrix_file, runs_of, wrong_shards
from colorbench.results.shard import Shard, shard_count
from colorbench.storage import digest_of, read_cached_json, write_cached_json
from colorbench.storage.atomic_files import set_aside, writing

FORMAT = 2
"""Format version; raised if the same key would contain other numbers or lack what is read."""


class FeatureWriter:
    """Writer of the features of one source."""

    def __init__(
        self,
        source: FeatureExtractor,
        cut: FeatureSpec,
        contents: Sequence[str | None],
        settings: Mapping[str, str],
        folder: Path,
    ) -> None:
        """Open the features of a source; nothing is read yet.

        Args:
            source: network and layers.
            cut: preprocessing, pooling and storage.
            contents: sha256 of each image of the dataset; None for a file that cannot be read.
            settings: what else decides the features.
            folder: of all features of the model; they get a folder in it.
        """
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
                **settings,
                "contents": contents,
            }
        )
        self.folder = folder / self.key[:16]
        self.ledger = self.folder / "done"
        self.index = self.folder / "index.json"
        self.layers: dict[str, int] = {}
        self.seconds = 0.0
        self.digests: dict[str, Any] = {}
        """Layer -> hash of the rows of the shard that is being written, in their order."""

    def finished(self) -> bool:
        """Return whether all features are stored."""
        return self.index.is_file() and _json(self.index).get("key") == self.key

    def missing(self, images: int) -> list[int]:
        """Return the indices of the shards that are not stored; none for finished features."""
        if self.finished():
            return []
        done = self.done()
        return [index for index in range(shard_count(images)) if index not in done]

    def lacks(self, index: int) -> bool:
        """Return whether a shard is not stored."""
        return not self.finished() and _json(self._done_file(index)).get("key") != self.key

    def done(self) -> set[int]:
        """Return the indices of the stored shards.

        Shards of another key with the same short folder name do not count.
        """
        shards = {int(path.stem): _json(path) for path in self.ledger.glob("*.json")}
        found = {index: shard for index, shard in shards.items() if shard.get("key") == self.key}
        if found:
            self.layers = found[min(found)]["layers"]
        return set(found)

    def tell_damaged_index(self, say: Callable[[str], None]) -> None:
        """Set an index aside that is damaged; its features then count as missing."""
        if os.path.lexists(self.index) and not _json(self.index):
            with contextlib.suppress(FileNotFoundError):  # another process has found it, too
                say(f"{self.index} is damaged: it is now {set_aside(self.index).name}, and all is computed again")

    def reopen_damaged(self, claims: WorkClaims, say: Callable[[str], None]) -> bool:
        """Check all rows; return whether some are damaged. The index is then removed, and they count as missing."""
        if not self._damaged():
            return False
        while (claim := claims.take(self.folder, "index")) is None:
            claims.wait()
        try:
            if not self.finished() or not (damaged := self._damaged()):
                return True  # another process has found it, too
            shards = _json(self.index)["shards"]
            for path, indices in damaged.items():
                count = f"{len(indices)} of its {len(shards)} shards"
                if path.is_file():
                    say(f"{path} is damaged: {count} are computed again")
                else:
                    aside = f" and is now {set_aside(path).name}" if os.path.lexists(path) else ""
                    say(f"{path} is missing or no file{aside}: {count} are computed again")
            wrong = set().union(*damaged.values())
            for index, shard in enumerate(shards):
                if index not in wrong:
                    write_cached_json(self._done_file(index), {"key": self.key, **shard})
            self.index.unlink()
        finally:
            claim.release()
        return True

    def _damaged(self) -> dict[Path, set[int]]:
        """Return the files with wrong rows, and the indices of the shards that have them."""
        head = _json(self.index)
        if not head:
            return {}
        shards = [([p for batch in shard["batches"] for p in batch["positions"]], shard) for shard in head["shards"]]
        size = np.dtype(DTYPES[self.cut.storage]).itemsize
        wrong = {}
        for name, dims in head["layers"].items():
            path = self.folder / matrix_file(name, self.cut.storage)
            wrong[path] = wrong_shards(
                path, dims * size, [(rows, shard["digests"].get(name, _EMPTY)) for rows, shard in shards]
            )
        return {path: found for path, found in wrong.items() if found}

    def _done_file(self, index: int) -> Path:
        return self.ledger / f"{index:05d}.json"

    def begin_shard(self) -> None:
        """Forget the rows of a shard that was not finished."""
        self.digests = {}

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
                self.digests.setdefault(name, sha256()).update(np.ascontiguousarray(rows).data)
                path = self.folder / matrix_file(name, self.cut.storage)
                # Not opened for reading: a network file system would then write whole pages, with old values of rows
                # that another machine writes.
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                with open(descriptor, "wb") as file:
                    if os.fstat(descriptor).st_size != count * rows[0].nbytes:
                        file.truncate(count * rows[0].nbytes)
                    for start, stop in runs_of(positions):
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
        """Write that a shard is finished."""
        digests = {name: digest.hexdigest() for name, digest in self.digests.items()}
        full = {"layers": self.layers, "batches": heads, "seconds": self.seconds, "digests": digests}
        self.seconds = 0.0
        write_cached_json(self._done_file(index), {"key": self.key, **full})

    def close(self) -> None:
        """Write the index of all shards and remove the list of finished shards."""
        shards = [_json(path) for path in sorted(self.ledger.glob("*.json"))]
        for shard in shards:
            del shard["key"]
        full = {"key": self.key, "source": self.source.name, "layers": self.layers, "shards": shards}
        write_cached_json(self.index, full, durable=True)
        shutil.rmtree(self.ledger, ignore_errors=True)

    def read(self, dataset: Dataset) -> FeatureStore:
        """Read the finished features, with the present ids and labels of the dataset."""
        index = _json(self.index)
        batches = [batch for shard in index["shards"] for batch in shard["batches"]]
        head = {name: list(chain.from_iterable(batch[name] for batch in batches)) for name in _HEAD}
        # Names and classes are taken from the present dataset; the contents are the same, in the same order.
        samples = [dataset.samples[position] for position in head["positions"]]
        return FeatureStore(
            folder=self.folder,
            key=self.key,
            layers=index["layers"],
            rows=Shard(
                ids=tuple(sample.id for sample in samples),
                sha256s=tuple(head["sha256s"]),
                labels=tuple(sample.label for sample in samples),
                gray=tuple(head["gray"]),
                sizes=tuple((height, width) for height, width in head["sizes"]),
                skipped=tuple((dataset.samples[position].id, reason) for position, reason in head["skipped"]),
                seconds={"features": sum(shard["seconds"] for shard in index["shards"])},
            ),
            positions=np.array(head["positions"], dtype=np.int64),
            count=len(dataset),
            storage=self.cut.storage,
        )


_HEAD = ("positions", "sha256s", "gray", "sizes", "skipped")
_EMPTY = sha256().hexdigest()
"""Hash of a shard without rows."""


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if it is missing or damaged."""
    return read_cached_json(path) or {}
