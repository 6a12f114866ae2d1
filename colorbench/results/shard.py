"""``Shard``: the scores of a fixed number of images, and its serialization."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from colorbench.data import Sample
from colorbench.errors import RunError
from colorbench.storage import npz_bytes
from colorbench.storage.atomic_files import writing
from colorbench.storage.npz import write_header

SHARD = 64
"""Images per shard: the most that is lost when a run is killed, and the unit of work of a process."""


class Copy(NamedTuple):
    """A file whose content equals that of another file of the dataset; see ``results.duplicate_images``."""

    id: str
    of: str
    """Id of the file that is counted."""
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
    """(H, W) of each image."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(n,) float64 each."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(n, ...) each."""
    observed: np.ndarray | None = None
    """(n, 13) statistics for ``models.prediction_units``; read only by ``RunDirectory.observed``."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(id, reason) of images that were not evaluated."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds."""
    warm_up: tuple[int, float] = (0, 0.0)
    """Images and seconds of the first batch of each process. The model loads and compiles during it, which does not
    count for its speed."""
    copies: tuple[Copy, ...] = ()
    """Files without rows of their own, since their content has one; only for a whole dataset, not in stored shards."""
    key: str = ""
    """Key of the run that it belongs to."""
    saved: Mapping[str, str] = field(default_factory=dict)
    """Path below the run's folder -> sha256 of the images that were saved with it."""

    def __len__(self) -> int:
        return len(self.ids)


def pack(shard: Shard) -> bytes:
    """Serialize a shard as the bytes of an .npz file; equal shards, apart from their times, give equal bytes.

    The comment at the end of the archive is the sha256 of all bytes before it: the archive's own checksums cover the
    arrays, but not their names, types and order.
    """
    head = {
        "ids": shard.ids,
        "sha256s": shard.sha256s,
        "labels": shard.labels,
        "gray": [bool(gray) for gray in shard.gray],
        "sizes": shard.sizes,
        "skipped": shard.skipped,
        "seconds": dict(shard.seconds),
        "warm_up": shard.warm_up,
        "key": shard.key,
        "saved": dict(sorted(shard.saved.items())),
    }
    parts = {"head": np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)}
    parts |= {f"column/{name}": values for name, values in shard.columns.items()}
    parts |= {f"array/{name}": values for name, values in shard.arrays.items()}
    if shard.observed is not None:
        parts["observed"] = shard.observed
    # The last two bytes of an archive are the length of its comment, so far 0.
    data = npz_bytes(parts)[:-2] + _DIGEST.to_bytes(2, "little")
    return data + sha256(data).digest()


_DIGEST = 32
"""Bytes of a sha256."""


def unpack(data: bytes, *, arrays: bool = True) -> Shard:
    """Read a shard from the bytes of ``pack``, optionally without unpacking the arrays.

    Raises:
        ValueError: if any byte was changed or is missing.
    """
    if sha256(data[:-_DIGEST]).digest() != data[-_DIGEST:]:
        raise ValueError("the bytes do not have the checksum that is stored with them")
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
        warm_up=tuple(head["warm_up"]),
        key=head["key"],
        saved=head["saved"],
    )


def key_of(path: Path) -> str | None:
    """Return the run key of a stored shard from its head alone; None if it is damaged there.

    Raises:
        FileNotFoundError: if there is no such shard.
    """
    try:
        with np.load(path, allow_pickle=False) as parts:
            found = json.loads(parts["head"].tobytes())["key"]
            return found if isinstance(found, str) else None
    except FileNotFoundError:
        raise
    except Exception:  # changed bytes make zipfile and numpy raise any error
        return None


def shard_samples(samples: Sequence[Sample], index: int) -> Sequence[Sample]:
    """Return the images of one shard."""
    return samples[shard_start(index) : shard_start(index + 1)]


def shard_start(index: int) -> int:
    """Return the position of a shard's first image."""
    return index * SHARD


def shard_count(count: int) -> int:
    """Return the number of shards for ``count`` images."""
    return -(-count // SHARD)


def merge(shards: Iterable[Shard]) -> Shard:
    """Merge all shards of a run into one, in order."""
    parts = list(shards)
    scored = [part for part in parts if len(part)]
    return Shard(
        ids=tuple(id for part in parts for id in part.ids),
        sha256s=tuple(sha256 for part in parts for sha256 in part.sha256s),
        labels=tuple(label for part in parts for label in part.labels),
        gray=tuple(gray for part in parts for gray in part.gray),
        sizes=tuple(size for part in parts for size in part.sizes),
        columns=concatenated([part.columns for part in scored]),
        arrays=concatenated([part.arrays for part in scored]),
        skipped=tuple(one for part in parts for one in part.skipped),
        seconds=dict(sum((Counter(part.seconds) for part in parts), Counter())),
        warm_up=(sum(part.warm_up[0] for part in parts), sum(part.warm_up[1] for part in parts)),
        saved={name: hashed for part in parts for name, hashed in part.saved.items()},
    )


def concatenated(
    parts: Sequence[Mapping[str, np.ndarray]], order: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """Concatenate columns or arrays of all shards, (n, ...), optionally in another order."""
    if not parts:
        return {}
    full = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return full if order is None else {name: values[list(order)] for name, values in full.items()}


class StoredArrays(Mapping[str, np.ndarray]):
    """Arrays of a whole dataset on disk, (n, ...) each: read when they are indexed, released when no longer used."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Open .npy files by the names of their arrays."""
        self.files = dict(files)

    @classmethod
    def gather(cls, folder: Path, shards: Iterable[tuple[Shard, np.ndarray]], count: int) -> StoredArrays:
        """Concatenate the arrays of shards into files below ``folder``, one shard in memory at a time.

        Args:
            folder: for the files; created.
            shards: each with the positions of the rows to use.
            count: total number of rows.

        Raises:
            RunError: if two shards differ in the names, types or shapes of their arrays.
        """
        shutil.rmtree(folder, ignore_errors=True)
        kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        files: dict[str, Path] = {}
        with writing(folder), contextlib.ExitStack() as stack:
            folder.mkdir(parents=True)
            opened: dict[str, IO[bytes]] = {}
            for shard, positions in shards:
                if not len(shard):
                    continue
                found = {name: (values.dtype, values.shape[1:]) for name, values in shard.arrays.items()}
                if not kinds:
                    kinds = found
                    for i, (name, (dtype, shape)) in enumerate(kinds.items()):
                        files[name] = folder / f"{i}.npy"  # an array's name may not be a valid file name
                        opened[name] = stack.enter_context(open(files[name], "wb"))
                        write_header(opened[name], dtype, (count, *shape))
                if found != kinds:
                    where = shard.ids[0]
                    raise RunError("the arrays of two shards differ in names, types or shapes", where=where)
                for name, values in shard.arrays.items():
                    opened[name].write(np.ascontiguousarray(values[positions]).tobytes())
        return cls(files)

    def __getitem__(self, name: str) -> np.ndarray:
        # Copy on write: changes by a caller stay in memory.
        try:
            return np.asarray(np.load(self.files[name], mmap_mode="c").view(np.ndarray))
        except ValueError:  # an empty array cannot be mapped
            return np.asarray(np.load(self.files[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)
