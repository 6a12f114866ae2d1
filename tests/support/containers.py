"""Tar files and tables of small images, as other programs write them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow
import pyarrow.parquet

Member = bytes | tarfile.TarInfo
"""Content of a file, or a member of another kind."""


def write_tar(path: Path, members: Mapping[str, Member] | Iterable[tuple[str, Member]], mode: str = "w") -> Path:
    """Write a tar file of these members, in this order; a name may occur twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in pairs:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                archive.addfile(info)
    return path


def special(type: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is not a plain file: a link to ``target``, a device."""
    info = tarfile.TarInfo("replaced")
    info.type, info.linkname = type, target
    return info


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder: path below it -> content."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_parquet(path: Path, images: Mapping[str, bytes], labels: list[object] | None = None, rows: int = 4) -> Path:
    """Write a Parquet file with the columns image (bytes, path) and label, ``rows`` rows in a group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [{"bytes": content, "path": name} for name, content in images.items()]
    columns = {"image": pyarrow.array(values), **({} if labels is None else {"label": pyarrow.array(labels)})}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=rows, compression="none")
    return path
