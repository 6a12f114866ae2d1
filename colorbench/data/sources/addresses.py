"""Datasets at an address (``hf://``, ``s3://``, ``https://``), which ``fsspec`` copies to the user's cache folder.

Only the files of a dataset are copied: tar and Parquet files, those of a saved dataset, and ``labels.csv``. A file is
copied again if the address states another version of it.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from colorbench.data.sources.container_files import PARQUET, TAR
from colorbench.data.sources.tar_files import check_plain_tar
from colorbench.errors import ColorbenchError, UserError, extra_hint, printable
from colorbench.storage import cache_folder, digest_of, read_cached_json, write_cached_json
from colorbench.storage.atomic_files import rename, writing

_COPIED = (TAR, PARQUET, ".arrow", "state.json", "dataset_info.json", "dataset_dict.json", "labels.csv")


def is_address(spec: object) -> bool:
    """Return whether a dataset is given by an address."""
    return isinstance(spec, str) and re.match("[a-zA-Z][a-zA-Z0-9+.-]*://", spec) is not None


def local_copy(address: str) -> Path:
    """Copy the files of a dataset at an address to the cache folder, and return their folder or the only file.

    Raises:
        UserError: for an address that cannot be read, in one line.
    """
    try:
        import fsspec
    except ImportError as error:
        raise UserError("addresses need the extra hf", hint=extra_hint("hf")) from error
    try:
        system, path = fsspec.core.url_to_fs(address)
        return _copied(system, path, cache_folder() / "addresses" / digest_of(address)[:24])
    except ColorbenchError:
        raise
    except Exception as error:  # each file system has errors of its own
        what = f"cannot read this address: {type(error).__name__}: {printable(str(error))[:200]}"
        raise UserError(what, where=printable(address), hint="check the address and the connection") from error


def _copied(system: Any, path: str, folder: Path) -> Path:
    single = bool(system.isfile(path))
    if single:
        root, found = path.rpartition("/")[0], [path]
    elif any(sign in path for sign in "*?["):
        found = sorted(one for one in system.glob(path) if system.isfile(one))
        root = path.rpartition("/")[0]
    else:
        root, found = path.rstrip("/"), sorted(system.find(path))
    for one in found:
        check_plain_tar(PurePosixPath(one))
    wanted = {one: _below(root, one) for one in found if one.endswith(_COPIED)}
    if not wanted:
        raise UserError("there are no tar files, Parquet files or saved datasets", where=path, hint="check the address")
    target = folder / (PurePosixPath(root).name or "data")
    stamps = _stamps(folder)
    for one, name in wanted.items():
        stamp = str(system.ukey(one))
        if stamps.get(name) != stamp or not (target / name).is_file():
            _copy(system, one, target / name)
            stamps[name] = stamp
            write_cached_json(folder / "stamps.json", stamps)
    for name in stamps.keys() - set(wanted.values()):  # no longer there
        with contextlib.suppress(OSError):
            (target / name).unlink(missing_ok=True)
    return target / next(iter(wanted.values())) if single else target


def _below(root: str, path: str) -> str:
    name = path.removeprefix(root).lstrip("/")
    if not name or ".." in name.split("/") or "\\" in name:
        raise UserError("a file name leads out of the dataset", where=printable(path), hint="check the address")
    return name


def _copy(system: Any, path: str, target: Path) -> None:
    unfinished = target.with_name(f".{uuid4().hex}.tmp")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            system.get_file(path, str(unfinished))
            rename(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)


def _stamps(folder: Path) -> dict[str, str]:
    return {str(name): str(stamp) for name, stamp in (read_cached_json(folder / "stamps.json") or {}).items()}
