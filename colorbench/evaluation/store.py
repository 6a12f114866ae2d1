"""The folder of one run while it is made: shards, locks and files that are either whole or not there.

``shards/`` is the ledger of what is done. A shard is named by its place in the order of the samples and holds the same
photographs whatever the number of processes, so that any process may do any missing one, and doing one twice gives
the same file. A lock on a shard only saves that second time: it is the kernel's (``flock``), dies with its process, and
where a file system has none, work is done twice and nothing else changes. When the record is written the shards go.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
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
    skipped: tuple[tuple[str, str], ...] = ()
    """(id, reason) of the photographs that were not evaluated."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds."""

    def __len__(self) -> int:
        return len(self.ids)


class RunFolder:
    """``<output>/<model>/<protocol>/<dataset>-<key>/``."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
        return {int(name[:-4]) for name in names if name.endswith(".npz") and name[:-4].isdigit()}

    def write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """``write_atomic`` with the unfinished file among the shards, where it is cleared away in the end."""
        write_atomic(path, data, scratch=self.shards, durable=durable)

    def write_shard(self, index: int, shard: Shard) -> None:
        """Write one shard."""
        self.write(self.shard(index), pack(shard))

    def read_shard(self, index: int) -> Shard:
        """Read one shard.

        Raises:
            RunError: if its bytes are damaged; it is then removed, so that the same command makes it again.
        """
        path = self.shard(index)
        try:
            return unpack(path.read_bytes())
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
            path.unlink(missing_ok=True)
            mend = "it was removed: run the same command again"
            raise RunError("a stored shard is damaged", where=str(path), mend=mend) from error

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
    }
    parts = {"head": np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)}
    parts |= {f"column/{name}": values for name, values in shard.columns.items()}
    parts |= {f"array/{name}": values for name, values in shard.arrays.items()}
    return npz(parts)


def unpack(data: bytes) -> Shard:
    """The reverse of ``pack``."""
    with np.load(io.BytesIO(data), allow_pickle=False) as parts:
        head: dict[str, Any] = json.loads(parts["head"].tobytes())
        columns = {name[len("column/") :]: parts[name] for name in parts.files if name.startswith("column/")}
        arrays = {name[len("array/") :]: parts[name] for name in parts.files if name.startswith("array/")}
    return Shard(
        ids=tuple(head["ids"]),
        sha256s=tuple(head["sha256s"]),
        labels=tuple(head["labels"]),
        gray=tuple(head["gray"]),
        sizes=tuple((height, width) for height, width in head["sizes"]),
        columns=columns,
        arrays=arrays,
        skipped=tuple((id, reason) for id, reason in head["skipped"]),
        seconds=head["seconds"],
    )


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as a compressed .npz without times, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(values), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            # Level 1: counts are mostly zeros, and higher levels cost ten times the time for a tenth of the bytes.
            archive.writestr(info, part.getvalue(), compresslevel=1)
    return buffer.getvalue()
