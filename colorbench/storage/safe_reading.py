"""Safe reading of untrusted files of a record, with one-line errors.

Records may come from anyone. Files are opened only if they are plain files below the record's folder with a bounded
size; types and sizes of tables are checked before anything is unpacked.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from colorbench.errors import UserError
from colorbench.storage.limits import (
    ARRAYS_ANYWAY,
    ARRAYS_PER_IMAGE,
    LARGEST_FILE,
    MEGABYTE,
    MOST_ARRAYS,
)

HASH = re.compile(r"[0-9a-f]{64}")
_ZIP_ENTRY = b"PK\x01\x02"
"""Signature of a member in the directory of a zip file."""


def read_plain(path: Path, most: int, *, missing: str, hint: str) -> bytes:
    """Read the bytes of a plain file safely.

    Args:
        path: path of the file.
        most: largest accepted size in bytes.
        missing: error message for a missing file.
        hint: hint how to fix it.

    Raises:
        UserError: for a missing file, a pipe or device (reading might never end), or a file that is too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(missing, where=str(path), hint=hint)
        if status.st_size > most:
            what = f"this file of {status.st_size / MEGABYTE:.0f} MB is too large ({most // MEGABYTE} MB at most)"
            raise UserError(what, where=str(path), hint=hint)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(missing, where=str(path), hint=hint) from error
    except OSError as error:
        raise UserError(f"this file cannot be read: {error.strerror}", where=str(path), hint=hint) from error


def is_inside(folder: Path, name: str) -> Path | None:
    """Return the plain file ``name`` below a folder; None if the path or a link leads out of the folder.

    Used for every name in a record or its image index, which may be ``../../secret`` or ``/dev/zero``.
    """
    pure = PurePosixPath(name)
    if not name or "\0" in name or "\\" in name or ":" in name or pure.is_absolute() or ".." in pure.parts:
        return None
    try:
        found, root = folder.joinpath(name).resolve(), folder.resolve()
        return found if found.is_relative_to(root) and stat.S_ISREG(found.stat().st_mode) else None
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
        return None


def left_out(folder: Path, name: str) -> bool:
    """Return whether a plain name below a folder does not exist at all."""
    pure = PurePosixPath(name)
    plain = name and name.isprintable() and not pure.is_absolute() and ".." not in pure.parts
    return bool(plain) and not os.path.lexists(folder / name)


class InvalidTable(Exception):
    """Fault of a table of rows."""


def arrays_of(data: bytes, count: int) -> dict[str, np.ndarray]:
    """Read the bytes of an ``arrays.npz``: arrays of ``count`` images, by name.

    Raises:
        InvalidTable: for invalid bytes, or arrays that would unpack to much more than usual ones of so many images.
    """
    try:
        return _unpacked(data, count)
    except Exception as error:  # untrusted bytes make zipfile and numpy raise any error
        raise InvalidTable("they are damaged, too large, or belong to other images") from error


def array_of(data: bytes) -> np.ndarray:
    """Read the bytes of a ``.npy`` file: an array such as (n,) or (n, dims).

    Raises:
        InvalidTable: for invalid bytes, objects, or an array of another size than its bytes.
    """
    try:
        file = io.BytesIO(data)
        _, dtype, size = _declared(file)
        if dtype.hasobject or size != len(data) - file.tell():
            raise ValueError("not an array of these bytes")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except Exception as error:  # untrusted bytes make numpy raise any error: it parses a header as Python code
        raise InvalidTable("it is damaged, or no .npy file") from error


def _declared(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, type and bytes that the header of an array declares."""
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = reader[version](file)
    return shape, dtype, int(np.prod(shape, dtype=object)) * dtype.itemsize


def _unpacked(data: bytes, count: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    if data.count(_ZIP_ENTRY) > MOST_ARRAYS:  # before a list of all members is made
        raise ValueError("too many arrays")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        # Unpacking stops at the declared size of a member, so that the declared sizes bound the memory.
        most = min(LARGEST_FILE, ARRAYS_ANYWAY + ARRAYS_PER_IMAGE * count)
        if sum(member.file_size for member in members) > most:
            raise ValueError("too large")
        for member in members:
            with archive.open(member) as file:
                shape, dtype, size = _declared(file)
                if dtype.hasobject or size > member.file_size or not shape or shape[0] != count:
                    raise ValueError("not an array of these images")
            with archive.open(member) as file:
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError("an array occurs twice")
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays
