"""``RunDirectory``: the folder of one run, with its shards, locks and atomically written files.

``shards/`` contains the finished shards. A shard is named by its position in the order of the samples and has the same
images for any number of processes, so that any process may compute any missing one, and computing one twice gives the
same file. Claims on shards (``processes.WorkClaims``) only avoid double work. The shards are removed when the record is
written.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from uuid import uuid4

import numpy as np

from colorbench.errors import InputError, RunError, UserError
from colorbench.results import Files, Record, Shard, first_positions, read_record, without_copies
from colorbench.results.rows_parquet import rows_bytes
from colorbench.results.shard import StoredArrays, key_of, merge, pack, shard_count, unpack
from colorbench.storage import file_sha256, write_atomic
from colorbench.storage.atomic_files import atomic_file, set_aside, write_once
from colorbench.storage.npz import write_npz


def folder_of_model(model: str) -> PurePosixPath:
    """Return the folder of all results of a model, below the output folder of runs."""
    if ":" in model:  # file.py:Class, images:DIR: the last part of each side is enough, the key tells them apart
        model = "-".join(PurePosixPath(side.replace("\\", "/")).name for side in model.split(":"))
    return PurePosixPath(*(_safe(part) for part in model.split("/")))


def folder_of(model: str, protocol: str, dataset: str, key: str) -> PurePosixPath:
    """Return a run's directory ``<model>/<protocol>/<dataset>-<key>`` in characters that every file system takes."""
    return folder_of_model(model) / _safe(protocol) / f"{_safe(dataset)}-{key[:12]}"


def records_beside(folder: Path, record: Record, model: str) -> Iterator[tuple[Path, Record]]:
    """Yield another model's records in the same output with equal protocol and images, and their folders.

    Args:
        folder: of the record.
        record: in it.
        model: name of the other model.
    """
    own = folder_of(record.model.name, record.protocol.name, record.dataset.name, record.key)
    folder = folder.absolute()
    if len(folder.parts) <= len(own.parts):
        return
    output = folder.parents[len(own.parts) - 1]
    for path in sorted(output.joinpath(folder_of_model(model), own.parts[-2]).glob("*/record.json")):
        try:
            other = read_record(path.parent)
        except UserError:
            continue  # a damaged record counts as missing
        same_protocol = other.protocol.identity_sha256 == record.protocol.identity_sha256
        if same_protocol and other.dataset.fingerprint == record.dataset.fingerprint:
            yield path.parent, other


def _safe(name: str) -> str:
    cleaned = re.sub(r"[^\w.+@-]+", "-", name, flags=re.ASCII)[:80].strip(".-")
    return cleaned or "unnamed"


class DamagedShard(RunError):
    """A shard with other bytes than were written; it was set aside, and its images have to be evaluated again."""


MOST_DAMAGED = 3
"""Times that a shard may be damaged in one command, before a disk is taken to be broken."""


class RunDirectory:
    """The folder ``<output>/<model>/<protocol>/<dataset>-<key>/`` of one run."""

    def __init__(self, path: Path, key: str = "", say: Callable[[str], None] = lambda text: None) -> None:
        """Open a folder for the run with ``key``; shards of other keys do not count.

        Args:
            path: of the folder.
            key: of the run; empty: any.
            say: called with a line about each file that is set aside.
        """
        self.path, self.key, self.say = path, key, say
        self._damaged: Counter[str] = Counter()
        self._known: dict[str, tuple[tuple[int, ...], bool]] = {}
        self.shards = path / "shards"
        self.record = path / "record.json"
        self.rows = path / "rows.parquet"
        self.arrays = path / "arrays.npz"
        self.thumbnails = path / "thumbnails"
        self.predictions = path / "predictions"
        self.plan = path / "plan.json"

    def shard(self, index: int) -> Path:
        """Return the path of a shard, written or not."""
        return self.shards / f"{index:05d}.npz"

    def finished(self) -> bool:
        """Return whether the record is written."""
        return self.record.exists()

    def done(self) -> set[int]:
        """Return the indices of the written shards, from one listing."""
        try:
            names = os.listdir(self.shards)
        except (FileNotFoundError, NotADirectoryError):
            return set()
        shards = [name for name in names if name.endswith(".npz") and name[:-4].isdigit()]
        return {int(name[:-4]) for name in shards if self._own(name)}

    def has(self, index: int) -> bool:
        """Return whether a shard is written."""
        path = self.shard(index)
        return path.exists() and self._own(path.name)

    def _own(self, name: str) -> bool:
        """Return whether a shard belongs to this run; the head of each is read once. A damaged one is set aside."""
        if not self.key:
            return True
        path = self.shards / name
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            if self._known.get(name, ((), False))[0] != stamp:
                found = key_of(path)
                self._known[name] = (stamp, found == self.key)
                if found is None:
                    self._damage(path)
        except FileNotFoundError:
            return False
        return self._known[name][1]

    def write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """Write a file atomically (``write_atomic``).

        The unfinished file is in the folder of the shards, which is removed in the end.
        """
        with self._unless_finished():
            write_atomic(path, data, scratch=self.shards, durable=durable)

    @contextlib.contextmanager
    def _unless_finished(self) -> Iterator[None]:
        """Ignore that the folder of the shards vanishes if another process has finished this run meanwhile.

        That happens on a file system without locks, where two processes do the same work.
        """
        try:
            yield
        except FileNotFoundError:
            if not self.finished():
                raise

    def write_shard(self, index: int, shard: Shard) -> None:
        """Write one shard."""
        self.write(self.shard(index), pack(replace(shard, key=self.key)))

    def read_shard(self, index: int, *, arrays: bool = True) -> Shard:
        """Read one shard, with its arrays or without unpacking them.

        Raises:
            DamagedShard: for one that is damaged or belongs to another run; it is renamed and then counts as missing.
        """
        path = self.shard(index)
        try:
            shard = unpack(path.read_bytes(), arrays=arrays)
            if self.key and shard.key != self.key:
                raise ValueError("it belongs to another run")
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            self._damage(path)
            hint = "its images are evaluated again by the same command"
            raise DamagedShard("a stored shard is damaged", where=str(path), hint=hint) from error
        return shard

    def _damage(self, path: Path) -> None:
        """Set a damaged shard aside, beside the folder of the shards, which is removed in the end.

        Raises:
            RunError: if it was damaged several times.
        """
        self._damaged[path.name] += 1
        if self._damaged[path.name] > MOST_DAMAGED:
            what = f"a shard was damaged {MOST_DAMAGED} times after it was written"
            raise RunError(what, where=str(path), hint="check the disk, or use another --output")
        with contextlib.suppress(FileNotFoundError):  # another process has found it, too
            aside = set_aside(path, self.path)
            self.say(f"{path} is damaged: it is now {aside.name}, and its images are evaluated again")

    def complete(self, images: int) -> bool:
        """Return whether all shards for ``images`` images are written."""
        return len(self.done()) >= shard_count(images)

    @contextlib.contextmanager
    def gathered(self, images: int) -> Iterator[Shard]:
        """Yield all shards merged, with each distinct image once; the arrays stay on disk within the context.

        Shards are read one by one, first without arrays, then with them. In memory are one row per image and the
        protocol's columns.

        Args:
            images: number of images in the dataset.

        Raises:
            DamagedShard: for a damaged shard, which then counts as missing.
            RunError: for shards that do not fit together, or if no image could be evaluated.
        """
        indices = range(shard_count(images))
        rows = merge(self.read_shard(index, arrays=False) for index in indices)
        if not rows.ids:
            first = f"the first: {rows.skipped[0][0]}: {rows.skipped[0][1]}" if rows.skipped else str(self.path)
            hint = "give other images with --data"
            raise InputError("none of the images could be evaluated", where=first, hint=hint)
        distinct = first_positions(rows.sha256s)
        scratch = self.shards / f"arrays-{uuid4().hex}"  # without locks, two processes may do this at the same time

        def parts() -> Iterator[tuple[Shard, np.ndarray]]:
            start = 0
            for index in indices:
                shard = self.read_shard(index)
                low, high = np.searchsorted(distinct, [start, start + len(shard)])
                yield shard, distinct[low:high] - start
                start += len(shard)

        try:
            arrays = StoredArrays.gather(scratch, parts(), len(distinct))
            yield replace(without_copies(rows), arrays=arrays)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def write_rows(self, rows: Shard, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Files:
        """Write ``rows.parquet`` and, if there are arrays, ``arrays.npz``.

        Args:
            rows: one row per image, (n,).
            columns: (n,) each: scores and statistics.
            arrays: (n, ...) each.

        Returns:
            The hashes of the files, without those of images.
        """
        data = rows_bytes(rows, columns)
        self.write(self.rows, data)
        if arrays:
            with self._unless_finished(), atomic_file(self.arrays, scratch=self.shards) as file:
                write_npz(file, arrays)
        hashes = {self.arrays.name: file_sha256(self.arrays)} if arrays else {}
        return Files(rows=sha256(data).hexdigest(), arrays=hashes, saved_images={})

    def observed(self, images: int) -> Iterator[np.ndarray]:
        """Yield the unit statistics of the predictions, (n, 13) float64 per shard; (0, 13) if not stored."""
        for index in range(shard_count(images)):
            with np.load(self.shard(index), allow_pickle=False) as parts:
                yield parts["observed"] if "observed" in parts.files else np.empty((0, 13))

    def write_record(self, text: str) -> bool:
        """Write ``record.json`` once; return False without writing if it exists already."""
        return write_once(self.record, text.encode(), scratch=self.shards)

    def set_aside(self, *paths: Path) -> list[Path]:
        """Rename damaged files, so that they are made again; return the new paths."""
        return [set_aside(path, self.path) for path in dict.fromkeys(paths) if os.path.lexists(path)]

    def remove_if_empty(self, root: Path) -> None:
        """Remove the folder if it is empty, and then empty parent folders below ``root``."""
        if self.finished() or self.done():
            return
        with contextlib.suppress(OSError):
            self.clear_shards()
            self.plan.unlink(missing_ok=True)
            for folder in (self.path, *self.path.parents):
                if folder == root:
                    break
                folder.rmdir()  # fails for a folder that is not empty

    def clear_shards(self) -> None:
        """Remove the shards, locks and unfinished files."""
        shutil.rmtree(self.shards, ignore_errors=True)


@contextlib.contextmanager
def nothing_left_behind(output: Path, *, alone: bool) -> Iterator[list[RunDirectory]]:
    """Collect the directories of a run, and remove the empty ones after an error.

    A leaderboard would take them for unfinished runs. With several processes they are kept, since another process may
    fill them.
    """
    folders: list[RunDirectory] = []
    try:
        yield folders
    except BaseException:
        for folder in folders if alone else ():
            folder.remove_if_empty(output)
        raise
