"""Files that come from strangers: read without harm, or refused in one line.

A record may be passed on by anyone. What it names is opened only where it is a plain file below the record's folder, of
a size that a computer can hold; of a table the types and numbers are checked before anything is unpacked.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow
import pyarrow.parquet

from colorbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MEGABYTE = 1 << 20
LARGEST_FILE = 2048 * MEGABYTE
MOST_CELLS = 200_000_000
"""Rows times columns: 1.6 GB as float64; ten million photographs of 20 columns."""
LONGEST_ID = 4096
"""Bytes of a path."""
HASH = re.compile(r"[0-9a-f]{64}")
_DAMAGED = (ValueError, KeyError, OSError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)
_FIXED_TYPES = {
    "id": pyarrow.types.is_string,
    "sha256": pyarrow.types.is_string,
    "label": pyarrow.types.is_integer,
    "gray": pyarrow.types.is_boolean,
    "height": pyarrow.types.is_integer,
    "width": pyarrow.types.is_integer,
}


def read_plain(path: Path, most: int, *, missing: str, mend: str) -> bytes:
    """The bytes of a plain file.

    Args:
        path: of the file.
        most: bytes that are still read.
        missing: what to say where there is none.
        mend: how to mend that.

    Raises:
        UserError: where there is none, it is a pipe or a device (reading might never end), or it is too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(missing, where=str(path), mend=mend)
        if status.st_size > most:
            what = f"this file of {status.st_size / MEGABYTE:.0f} MB is too large ({most // MEGABYTE} MB at most)"
            raise UserError(what, where=str(path), mend=mend)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(missing, where=str(path), mend=mend) from error


def inside(folder: Path, name: str) -> Path | None:
    """The plain file ``name`` below a folder; None where the name, or a link on its way, leads out of it.

    For every name that a record or its index of pictures gives: it may say ``../../secret`` or ``/dev/zero``.
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
    """Whether nothing at all lies where a plain name below a folder leads."""
    pure = PurePosixPath(name)
    plain = name and name.isprintable() and not pure.is_absolute() and ".." not in pure.parts
    return bool(plain) and not os.path.lexists(folder / name)


class Unfit(Exception):
    """What is wrong with rows."""


def rows_table(data: bytes, expected: int) -> pd.DataFrame:
    """The bytes of a ``rows.parquet`` as a table of ``expected`` rows.

    Raises:
        Unfit: saying what is wrong with it.
        pyarrow.ArrowException, OSError, ValueError: for bytes that are no table.
    """
    import pandas as pd  # takes longer than scoring a small set, and a run needs only the functions above

    # The footer is read first: types and numbers are known before anything is unpacked. Texts stay dictionaries, so
    # that a long one that is repeated fills no memory.
    file = pyarrow.parquet.ParquetFile(io.BytesIO(data), read_dictionary=["id", "sha256"])
    schema, count = file.schema_arrow, file.metadata.num_rows
    if len(set(schema.names)) != len(schema.names):
        raise Unfit("a column stands twice")
    for name, fits in _FIXED_TYPES.items():
        if name not in schema.names:
            raise Unfit(f"the column {name} is missing")
        kind = schema.field(name).type
        if not fits(kind.value_type if pyarrow.types.is_dictionary(kind) else kind):
            raise Unfit(f"the column {name} holds {kind}")
    for name in schema.names:
        if name not in _FIXED_TYPES and not pyarrow.types.is_float64(schema.field(name).type):
            raise Unfit(f"a column holds {schema.field(name).type}, not numbers")
    if count != expected:
        raise Unfit(f"{count} rows for {expected} photographs")
    if count * len(schema.names) > MOST_CELLS:
        raise Unfit(f"{count} rows of {len(schema.names)} columns are too many")
    table = file.read(use_threads=False)
    for name in ("id", "sha256"):
        for chunk in table[name].chunks:
            _check_texts(name, chunk)
    for name in ("id", "sha256", "gray", "height", "width"):
        if table[name].null_count:
            raise Unfit(f"the column {name} has gaps")
    columns: dict[str, Any] = {}
    for name in schema.names:
        values = table[name]
        if name in ("id", "sha256"):
            columns[name] = values.to_pylist()
        elif name == "label":
            columns[name] = pd.array(values.to_pylist(), dtype="Int64")
        elif name == "gray":
            columns[name] = np.array(values.to_pylist(), dtype=bool)
        else:
            columns[name] = values.to_numpy().astype(np.int64 if name in _FIXED_TYPES else np.float64)
    if len(set(columns["id"])) != count:
        raise Unfit("an id stands twice")
    if len(set(columns["sha256"])) != count:
        raise Unfit("an image stands twice, and copies of an image count once")
    return pd.DataFrame(columns)


def _check_texts(name: str, chunk: Any) -> None:
    texts = chunk.dictionary if pyarrow.types.is_dictionary(chunk.type) else chunk
    if len(texts) and texts.nbytes > LONGEST_ID * (len(texts) + 1):
        raise Unfit(f"a text of the column {name} is too long")
    for text in texts.to_pylist():
        if text is None or len(text) > LONGEST_ID or (name == "sha256" and not HASH.fullmatch(text)):
            raise Unfit(f"the column {name} holds something else")


def arrays_of(data: bytes, count: int) -> dict[str, np.ndarray]:
    """The bytes of an ``arrays.npz``: arrays of ``count`` photographs, by name.

    Raises:
        Unfit: for bytes that are no such arrays, or would unpack to more than 2 GB.
    """
    try:
        return _unpacked(data, count)
    except _DAMAGED as error:
        raise Unfit("they are damaged, too large, or of other photographs") from error


def _unpacked(data: bytes, count: int) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        # What is unpacked stops at the size that a member claims, so that the claims bound the memory.
        if sum(member.file_size for member in members) > LARGEST_FILE:
            raise ValueError("too large")
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = reader[version](file)
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if dtype.hasobject or size > member.file_size or not shape or shape[0] != count:
                    raise ValueError("not an array of these photographs")
            with archive.open(member) as file:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays
