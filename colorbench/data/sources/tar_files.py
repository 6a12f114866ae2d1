"""Tar files as sources of images (WebDataset layout): listed once, then read at random by offset.

- Members with the suffix of an image are images; ``KEY.cls`` states the class of ``KEY.jpg``, where a key ends at the
  image's suffix or, as in WebDataset, at the first dot of the file name.
- Links are followed within the tar file. Sparse members, devices, pipes and other files are ignored and reported.
  Hidden files are ignored, as in folders.
- A tar file that is compressed, cut off or damaged, a member that leads out of the tar file, and two members of one
  name raise an error. Nothing is ever unpacked to disk.
- The list of members is stored in the user's cache folder; it is valid as long as the tar file's stamp (size, times,
  inode) is unchanged.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
import struct
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
import pyarrow

from colorbench.data.folder_walk import SPECIAL, check_name, is_hidden
from colorbench.data.image_formats import is_image, readable, suffix_of, without_suffix
from colorbench.data.sample_columns import SampleColumns
from colorbench.data.sources.container_stamp import ContainerStamp
from colorbench.data.sources.lists_and_labels import short
from colorbench.errors import RunError, UserError, printable
from colorbench.storage import cache_folder, digest_of, read_checked, write_checked
from colorbench.storage.hashes import stamp_of

_COMPRESSED = re.compile(r"\.(tgz|tbz2?|txz|tzst|tar\.(gz|bz2|xz|zst|lz4))$", re.IGNORECASE)
"""Names of compressed tar files."""
_COMPRESSED_BY = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes -> program that compressed a file."""
_UNPACK = "unpack it to a plain .tar, since images are read by their offset"
_SPARSE = "sparse file"
_LONGEST_CLASS = 1024
_MOST_LINKS = 8
_FORMAT = 1
_DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, struct.error)


class TarFile:
    """A tar file whose members are read by their offset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp = ContainerStamp.of(path)

    def read(self, position: int, size: int) -> bytes:
        """Return ``size`` bytes from the offset ``position``; raises as ``Container.read``."""
        with self.path.open("rb") as file:
            self.stamp.check(os.fstat(file.fileno()), self.path)
            file.seek(position)
            return file.read(size)


@dataclass(frozen=True)
class TarMembers:
    """The images of a tar file, in order of their ids."""

    samples: SampleColumns
    """Ids are the paths in the tar file."""
    classes: Any
    """(n,) Arrow array of the texts of ``.cls`` files; null for an image without one."""
    passed_over: Mapping[str, int]
    """Kind -> number of ignored members."""


def check_plain_tar(path: PurePath) -> None:
    """Raise for a tar file whose name says that it is compressed.

    Raises:
        UserError: naming it.
    """
    if _COMPRESSED.search(path.name):
        raise UserError("this tar file is compressed", where=str(path), hint=_UNPACK)


def open_tar(path: Path) -> TarMembers:
    """List the images of a tar file, from the cache if it is unchanged.

    Raises:
        UserError: for a tar file that cannot be used, in one line.
    """
    try:
        # Before the listing: if the file is written meanwhile, reading notices it.
        container, stamp = TarFile(path), [_FORMAT, readable(), *stamp_of(path)]
        cached = cache_folder() / "tar" / f"{digest_of(os.path.realpath(path))}.parquet"
        table = _cached(cached, stamp)
        if table is None:
            table = _listed(path).table()
            _keep(cached, table, stamp)
    except OSError as error:
        what = f"cannot read this tar file: {error.strerror or error}"
        raise UserError(what, where=str(path), hint="check the path and its permissions") from error
    sizes, positions = (table[name].to_numpy() for name in ("size", "position"))
    ids, classes = (table[name].combine_chunks() for name in ("id", "class"))
    modified = np.broadcast_to(np.int64(container.stamp.modified), len(ids))
    passed_over = json.loads(table.schema.metadata[b"passed_over"])
    return TarMembers(SampleColumns(ids, sizes, modified, [container], positions=positions), classes, passed_over)


@dataclass
class _Members:
    """What a tar file contains."""

    path: Path
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name -> offset and size."""
    links: dict[str, str] = field(default_factory=dict)
    """Name -> name that it links to."""
    classes: dict[str, str] = field(default_factory=dict)
    """Key -> text of ``KEY.cls``."""
    passed_over: Counter[str] = field(default_factory=Counter)

    def add(self, member: tarfile.TarInfo, file: BinaryIO) -> None:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if member.isdir() or not parts or any(part != ".." and is_hidden(part) for part in parts):
            return
        name = "/".join(parts)
        image, link = is_image(name), member.islnk() or member.issym()
        if not (member.isreg() or link):
            self.passed_over[SPECIAL] += 1
        elif member.issparse():
            self.passed_over[_SPARSE] += 1
        elif not image and (link or suffix_of(name) != ".cls"):
            self.passed_over[suffix_of(name)] += 1
        elif ".." in parts:
            what = f"the member {short(name)} leads out of the tar file"
            raise UserError(what, where=str(self.path), hint="make the tar file again with paths below one folder")
        elif not image:
            key = name[: -len(".cls")]
            self._once(name, self.classes, key)
            self.classes[key] = self._class(name, member, file)
        else:
            self._once(name, self.links, name)
            self._once(name, self.images, name)
            check_name(name)
            if link:
                folder = posixpath.dirname(name) if member.issym() else ""
                self.links[name] = posixpath.normpath(posixpath.join(folder, member.linkname))
            else:
                self.images[name] = (member.offset_data, member.size)

    def table(self) -> pyarrow.Table:
        """Return the images in order of their names: id, position, size, class."""
        for name in self.links:
            target, steps = name, 0
            while target in self.links and steps < _MOST_LINKS:
                target, steps = self.links[target], steps + 1
            if target in self.images:
                self.images[name] = self.images[target]
            else:
                self.passed_over["link to no image"] += 1
        names = sorted(self.images)
        return pyarrow.table(
            {
                "id": pyarrow.array(names, pyarrow.large_string()),
                "position": np.fromiter((self.images[name][0] for name in names), np.int64, len(names)),
                "size": np.fromiter((self.images[name][1] for name in names), np.int64, len(names)),
                "class": pyarrow.array([self._class_of(name) for name in names], pyarrow.large_string()),
            }
        ).replace_schema_metadata({"passed_over": json.dumps(self.passed_over)})

    def _class_of(self, name: str) -> str | None:
        folder, _, file = name.rpartition("/")
        key = f"{folder}/{file.partition('.')[0]}" if folder else file.partition(".")[0]
        return self.classes.get(without_suffix(name), self.classes.get(key))

    def _class(self, name: str, member: tarfile.TarInfo, file: BinaryIO) -> str:
        hint = "a .cls file holds one class: an index or a name"
        if member.size > _LONGEST_CLASS:
            raise UserError(f"{short(name)} has {member.size} bytes", where=str(self.path), hint=hint)
        file.seek(member.offset_data)
        try:
            text = file.read(member.size).decode().strip()
        except UnicodeDecodeError as error:
            raise UserError(f"{short(name)} is not UTF-8", where=str(self.path), hint=hint) from error
        if not text:
            raise UserError(f"{short(name)} is empty", where=str(self.path), hint=hint)
        return check_name(text, "a class")

    def _once(self, name: str, known: Mapping[str, object], key: str) -> None:
        if key in known:
            raise UserError(f"two members have the name {short(name)}", where=str(self.path), hint="rename one")


def _listed(path: Path) -> _Members:
    members = _Members(path)
    again = "the file may be incomplete: copy or make it again"
    with path.open("rb") as file:
        head = file.read(8)
        for magic, program in _COMPRESSED_BY.items():
            if head.startswith(magic):
                raise UserError(f"this tar file is compressed ({program})", where=str(path), hint=_UNPACK)
        file.seek(0)
        offset = 0
        try:
            with tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # it would keep all
                    if member.size < 0 or archive.offset <= offset:
                        raise tarfile.ReadError("a size is negative")
                    offset = archive.offset
                    members.add(member, file)
                # tarfile takes a damaged header for the end.
                file.seek(archive.offset)
                if any(file.read(tarfile.BLOCKSIZE)):
                    raise tarfile.ReadError(f"no header at byte {archive.offset}")
        except _DAMAGE as error:
            reason = "cut off" if "unexpected end" in str(error) else f"damaged: {printable(str(error))[:200]}"
            raise UserError(f"this tar file is {reason}", where=str(path), hint=again) from error
    return members


def _cached(path: Path, stamp: list[Any]) -> pyarrow.Table | None:
    import pyarrow.parquet

    try:
        if (data := read_checked(path)) is None:
            return None
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
        return table if json.loads(table.schema.metadata[b"stamp"]) == stamp else None
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException):
        return None


def _keep(path: Path, table: pyarrow.Table, stamp: list[Any]) -> None:
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    stamped = table.replace_schema_metadata({**table.schema.metadata, "stamp": json.dumps(stamp)})
    pyarrow.parquet.write_table(stamped, sink)
    with contextlib.suppress(OSError, RunError, UserError):  # without a writable disk, it is listed again
        write_checked(path, sink.getvalue().to_pybytes())
