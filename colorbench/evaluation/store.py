"""The folder of one run while it is made: shards, locks and files that are either whole or not there.

``shards/`` is the ledger of what is done. A shard is named by its place in the order of the samples and holds the same
photographs whatever the number of processes, so that any process may do any missing one, and doing one twice gives
the same file. A lock on a shard only saves that second time: it is the kernel's (``flock``), dies with its process, and
where a file system has none, work is done twice and nothing else changes. When the record is written the shards go.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import uuid4

import numpy as np

from colorbench.errors import RunError
from colorbench.evaluation.files import sync_folder, write_atomic, writing

try:
    import fcntl
except ImportError:  # Windows: no locks, see above
    fcntl = None  # type: ignore[assignment]

SHARD = 64
"""Photographs in a shard: what a kill can cost, and the grain in which processes share the work."""


class Copy(NamedTuple):
    """A file whose content is that of another file of the set; see ``evaluation.copies``."""

    id: str
    of: str
    """Id of the file that counts."""
    other_label: bool = False
    """Whether the two have different labels."""


@dataclass(frozen=True)
class Shard:
    """The scores of one shard by one model and protocol; n images in the order of the samples."""

    ids: tuple[str, ...]
    sha256s: tuple[str, ...]
    labels: tuple[int | None, ...]
    gray: tuple[bool, ...]
    sizes: tuple[tuple[int, int], ...]
    """(H, W) of each photograph."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(n,) float64 each."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(n, ...) each."""
    observed: np.ndarray | None = None
    """(n, 13) what ``evaluation.units`` looks at; written, and read by ``read_observed`` alone."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(id, reason) of the photographs that were not evaluated."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds."""
    copies: tuple[Copy, ...] = ()
    """Files that are not among the rows since their content is; only of a whole set, never of a stored shard."""
    key: str = ""
    """Of the run that it belongs to: what decides its numbers."""

    def __len__(self) -> int:
        return len(self.ids)


class RunFolder:
    """``<output>/<model>/<protocol>/<dataset>-<key>/``."""

    def __init__(self, path: Path, key: str = "") -> None:
        """``key`` of the run: shards of any other are not there for it."""
        self.path, self.key = path, key
        self._known: dict[str, tuple[tuple[int, ...], bool]] = {}
        self.shards = path / "shards"
        self.record = path / "record.json"
        self.rows = path / "rows.parquet"
        self.arrays = path / "arrays.npz"
        self.pictures = path / "pictures"
        self.predictions = path / "predictions"
        self.plan = path / "plan.json"

    def shard(self, index: int) -> Path:
        """Where a shard is or will be."""
        return self.shards / f"{index:05d}.npz"

    def finished(self) -> bool:
        """Whether the record is written."""
        return self.record.exists()

    def done(self) -> set[int]:
        """Indices of the shards that are there, from one listing."""
        try:
            names = os.listdir(self.shards)
        except (FileNotFoundError, NotADirectoryError):
            return set()
        shards = [name for name in names if name.endswith(".npz") and name[:-4].isdigit()]
        return {int(name[:-4]) for name in shards if self._own(name)}

    def has(self, index: int) -> bool:
        """Whether a shard is there."""
        path = self.shard(index)
        return path.exists() and self._own(path.name)

    def _own(self, name: str) -> bool:
        """Whether a shard belongs to this run; each is looked at once."""
        if not self.key:
            return True
        path = self.shards / name
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            if self._known.get(name, ((), False))[0] != stamp:
                self._known[name] = (stamp, key_of(path) == self.key)
        except FileNotFoundError:
            return False
        return self._known[name][1]

    def write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """``write_atomic`` with the unfinished file among the shards, where it is cleared away in the end."""
        write_atomic(path, data, scratch=self.shards, durable=durable)

    def write_shard(self, index: int, shard: Shard) -> None:
        """Write one shard."""
        self.write(self.shard(index), pack(replace(shard, key=self.key)))

    def read_shard(self, index: int, *, arrays: bool = True) -> Shard:
        """Read one shard, with its arrays or without unpacking them.

        Raises:
            RunError: if its bytes are damaged; it is then removed, so that the same command makes it again.
        """
        path = self.shard(index)
        try:
            shard = unpack(path.read_bytes(), arrays=arrays)
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError) as error:
            path.unlink(missing_ok=True)
            mend = "it was removed: run the same command again"
            raise RunError("a stored shard is damaged", where=str(path), mend=mend) from error
        if self.key and shard.key != self.key:
            path.unlink(missing_ok=True)
            mend = "it was removed: run the same command again"
            raise RunError("a stored shard is of another run", where=str(path), mend=mend)
        return shard

    def read_observed(self, index: int) -> np.ndarray:
        """Read what ``evaluation.units`` observed of one shard; (0, 13) where nothing is stored."""
        with np.load(self.shard(index), allow_pickle=False) as parts:
            return parts["observed"] if "observed" in parts.files else np.empty((0, 13))

    def write_record(self, text: str) -> bool:
        """Write ``record.json`` once: False, and nothing is written, where there is one already."""
        unfinished = self.path / f".record.{uuid4().hex}.tmp"
        write_atomic(unfinished, text.encode(), scratch=self.shards)
        try:
            # A link refuses to replace, whoever else is writing at the same moment.
            os.link(unfinished, self.record)
        except FileExistsError:
            return False
        except OSError:  # no hard links here (FAT, some network disks)
            if self.finished():
                return False
            with writing(self.record):
                os.replace(unfinished, self.record)
        finally:
            unfinished.unlink(missing_ok=True)
        sync_folder(self.path)
        return True

    def set_aside(self) -> Path:
        """Rename a record that cannot be read, so that its run can be made again; returns where it is now."""
        aside = self.path / f"record.unreadable-{uuid4().hex[:8]}.json"
        with writing(self.record):
            os.replace(self.record, aside)
        return aside

    def remove_if_empty(self, root: Path) -> None:
        """Remove a folder in which nothing was made, and those above it below ``root`` that are empty then."""
        if self.finished() or self.done():
            return
        with contextlib.suppress(OSError):
            self.clear_shards()
            self.plan.unlink(missing_ok=True)
            for folder in (self.path, *self.path.parents):
                if folder == root:
                    break
                folder.rmdir()  # refuses a folder that holds anything

    def clear_shards(self) -> None:
        """Remove the shards, locks and unfinished files."""
        shutil.rmtree(self.shards, ignore_errors=True)

    def lock(self, name: str) -> Lock | None:
        """Claim a piece of work; None where a living process holds it."""
        with writing(self.shards):
            self.shards.mkdir(parents=True, exist_ok=True)
            return Lock.take(self.shards / f"{name}.lock")


class Lock:
    """The kernel's lock on a small file; it ends with ``release`` or with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Lock | None:
        """The lock, or None where someone else holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError:
                pass  # this file system has no locks
        return cls(descriptor)

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def pack(shard: Shard) -> bytes:
    """A shard as the bytes of an .npz file; equal shards but for their seconds give equal bytes."""
    head = {
        "ids": shard.ids,
        "sha256s": shard.sha256s,
        "labels": shard.labels,
        "gray": [bool(gray) for gray in shard.gray],
        "sizes": shard.sizes,
        "skipped": shard.skipped,
        "seconds": dict(shard.seconds),
        "key": shard.key,
    }
    parts = {"head": np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)}
    parts |= {f"column/{name}": values for name, values in shard.columns.items()}
    parts |= {f"array/{name}": values for name, values in shard.arrays.items()}
    if shard.observed is not None:
        parts["observed"] = shard.observed
    return npz(parts)


def unpack(data: bytes, *, arrays: bool = True) -> Shard:
    """The reverse of ``pack``, with the arrays or without unpacking them."""
    with np.load(io.BytesIO(data), allow_pickle=False) as parts:
        head: dict[str, Any] = json.loads(parts["head"].tobytes())
        columns = {name[len("column/") :]: parts[name] for name in parts.files if name.startswith("column/")}
        names = [name[len("array/") :] for name in parts.files if name.startswith("array/")] if arrays else []
        unpacked = {name: parts[f"array/{name}"] for name in names}
    return Shard(
        ids=tuple(head["ids"]),
        sha256s=tuple(head["sha256s"]),
        labels=tuple(head["labels"]),
        gray=tuple(head["gray"]),
        sizes=tuple((height, width) for height, width in head["sizes"]),
        columns=columns,
        arrays=unpacked,
        skipped=tuple((id, reason) for id, reason in head["skipped"]),
        seconds=head["seconds"],
        key=head.get("key", ""),
    )


def key_of(path: Path) -> str | None:
    """Key of the run that a shard belongs to; None where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as parts:
            found = json.loads(parts["head"].tobytes()).get("key", "")
            return found if isinstance(found, str) else None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, AttributeError):
        return None


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of a compressed .npz; see ``write_npz``."""
    buffer = io.BytesIO()
    write_npz(buffer, arrays)
    return buffer.getvalue()


def write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz without times, so that equal arrays give equal bytes.

    A few MB of each array are held at a time, so that arrays on disk are never held whole.
    """
    # Level 1: counts are mostly zeros, and higher levels cost ten times the time for a tenth of the bytes.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in arrays:
            values = arrays[name]
            # Opened by name, a member has no time. Beyond 2 GB the format differs, which must be known before.
            with archive.open(f"{name}.npy", "w", force_zip64=values.nbytes > _LARGE) as part:
                _write_header(part, values.dtype, values.shape)
                for start in range(0, len(values), step := _rows_at_a_time(values)):
                    part.write(np.ascontiguousarray(values[start : start + step]).tobytes())


class StoredArrays(Mapping[str, np.ndarray]):
    """Arrays of a whole set on disk, (n, ...) each: read where they are indexed, released when no longer used."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """``files`` are .npy, by the name of the array."""
        self.files = dict(files)

    @classmethod
    def gather(cls, folder: Path, shards: Iterable[tuple[Shard, np.ndarray]], count: int) -> StoredArrays:
        """Put the arrays of shards one after another into files below ``folder``; one shard is held at a time.

        Args:
            folder: for the files; made anew.
            shards: each with the places of the rows to take of it.
            count: rows in all.

        Raises:
            RunError: where two shards differ in the names, types or shapes of their arrays.
        """
        shutil.rmtree(folder, ignore_errors=True)
        kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        files: dict[str, Path] = {}
        with writing(folder), contextlib.ExitStack() as stack:
            folder.mkdir(parents=True)
            opened: dict[str, IO[bytes]] = {}
            for shard, places in shards:
                if not len(shard):
                    continue
                found = {name: (values.dtype, values.shape[1:]) for name, values in shard.arrays.items()}
                if not kinds:
                    kinds = found
                    for i, (name, (dtype, shape)) in enumerate(kinds.items()):
                        files[name] = folder / f"{i}.npy"  # the name of an array may be no name of a file
                        opened[name] = stack.enter_context(open(files[name], "wb"))
                        _write_header(opened[name], dtype, (count, *shape))
                if found != kinds:
                    where = shard.ids[0]
                    raise RunError("the arrays of two shards differ in names, types or shapes", where=where)
                for name, values in shard.arrays.items():
                    opened[name].write(np.ascontiguousarray(values[places]).tobytes())
        return cls(files)

    def __getitem__(self, name: str) -> np.ndarray:
        # Copy on write: what a caller changes in place stays in memory, as with any other array.
        try:
            return np.asarray(np.load(self.files[name], mmap_mode="c").view(np.ndarray))
        except ValueError:  # an array without numbers cannot be mapped
            return np.asarray(np.load(self.files[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


_LARGE = 1 << 31
"""Bytes from which a member of a .zip needs fields of 64 bits."""
_PIECE = 4 << 20
"""Bytes of an array that are held at a time."""


def _rows_at_a_time(values: np.ndarray) -> int:
    return max(1, _PIECE // max(1, values.nbytes // max(1, len(values))))


def _write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write the head of an .npy file of rows in C order."""
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
