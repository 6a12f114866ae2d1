"""Small files that unpack to much, or that break readers which trust them."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int = 64, height: int = 64, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of one color with chunks before and after its pixels; of large sizes the pixels are missing."""
    pixels = zlib.compress((b"\0" + b"\x80\x40\x20" * width) * height) if width < 5000 else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), before, _chunk(b"IDAT", pixels), after, _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _animation() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


_HUGE_TEXT = zlib.compress(b"a" * 100_000_000)
HOSTILE_IMAGES: dict[str, bytes] = {
    "empty profile after the pixels": png(after=_chunk(b"iCCP", b"")),
    "empty profile before the pixels": png(before=_chunk(b"iCCP", b"")),
    "900 million pixels": png(30_000, 30_000),
    "profile of 100 MB": png(before=_chunk(b"iCCP", b"k\0\0" + _HUGE_TEXT)),
    "text of 100 MB": png(before=_chunk(b"zTXt", b"k\0\0" + _HUGE_TEXT)),
    "chunk that is cut off": png(before=_chunk(b"pHYs", b"\0")),
    "several frames": _animation(),
    "nothing": b"",
    "no image": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
}
"""Each is refused as a saved image."""


def table(count: int, ids: list[str] | None = None, *, more: dict[str, Any] | None = None, **writing: Any) -> bytes:
    """A ``rows.parquet`` whose ids and hashes are counters, which compress well."""
    numbers = np.arange(count)
    columns = {
        "id": pa.array([str(i) for i in numbers] if ids is None else ids, pa.string()),
        "sha256": pa.array([f"{i:064x}" for i in numbers], pa.string()),
        "label": pa.nulls(count, pa.int64()),
        "gray": pa.array(np.zeros(count, bool)),
        "height": pa.array(np.ones(count, np.int32)),
        "width": pa.array(np.ones(count, np.int32)),
        **(more or {}),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **{"compression": "zstd", **writing})
    return buffer.getvalue()


def _equal_rows(count: int) -> bytes:
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array(["0" * 64]))
    columns = {
        "id": one,
        "sha256": one,
        "label": pa.nulls(count, pa.int64()),
        "gray": pa.array(np.zeros(count, bool)),
        "height": pa.array(np.ones(count, np.int32)),
        "width": pa.array(np.ones(count, np.int32)),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _hashes(count: int) -> dict[str, Any]:
    return {"sha256": pa.array([np.random.default_rng(i).bytes(32).hex() for i in range(count)])}


def _long_ids(count: int, **writing: Any) -> bytes:
    return table(count, ["a" * 100_000 + f"{i:06d}" for i in range(count)], **writing)


HOSTILE_TABLES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "8 million equal rows": (lambda: _equal_rows(8_000_000), 8_000_000, "too many for a file of"),
    "long ids": (lambda: _long_ids(300), 300, "unpacks from"),
    "long ids without a dictionary": (lambda: _long_ids(300, use_dictionary=False), 300, "unpacks from"),
    "ids that repeat one another": (
        lambda: _long_ids(200, more=_hashes(200), use_dictionary=False, column_encoding={"id": "DELTA_BYTE_ARRAY"}),
        200,
        "DELTA_BYTE_ARRAY",
    ),
    "many columns": (lambda: table(1, more={f"c{i}": pa.array([1.0]) for i in range(6000)}), 1, "too many"),
    "many groups": (lambda: table(1500, row_group_size=1), 1500, "too many"),
    "list": (lambda: table(2, more={"c": pa.array([[[1.0]]] * 2)}), 2, "not numbers"),
    "text of a column": (lambda: table(2, more={"c": pa.array(["x", "y"])}), 2, "not numbers"),
    "integers as ids": (lambda: table(2, more={"id": pa.array([1, 2])}), 2, "the column id holds int64"),
    "empty id": (lambda: table(3, ["", "b", "c"]), 3, "an image has no id"),
    "no id": (lambda: table(2, more={"id": pa.array([None, "b"])}), 2, "the column id has gaps|has no id"),
    "equal ids": (lambda: table(2, ["a", "a"]), 2, "an id occurs twice"),
    "no rows": (lambda: table(0), 5, "0 rows for 5 images"),
}
"""Kind -> bytes of a table, number of images that its record states, and why it is refused."""


def _no_columns() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({}), buffer)
    return buffer.getvalue()


DAMAGED_TABLES: dict[str, Callable[[], bytes]] = {
    "no columns": _no_columns,
    "long name": lambda: table(2, more={"x" * 5_000_000: pa.array([1.0, 2.0])}),
    "cut off": lambda: table(50)[:-20],
    "empty": lambda: b"",
    "footer alone": lambda: table(50)[-200:],
}


def _npz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _header(text: bytes) -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def _shape(shape: str, kind: str = "<f8") -> bytes:
    return _header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode())


HOSTILE_ARRAYS: dict[str, Callable[[], bytes]] = {
    "unpacks to 80 MB": lambda: _npz({"x.npy": _npy(np.zeros((40, 250_000)))}),
    "many members": lambda: _npz({f"{i}.npy": b"" for i in range(5000)}),
    "deep header": lambda: _npz({"x.npy": _header(b"(" * 60_000)}),
    "negative shape": lambda: _npz({"x.npy": _shape("(40, -1, -5000000000)")}),
    "huge shape": lambda: _npz({"x.npy": _shape("(40, " + "9" * 400 + ")")}),
    "shape of text": lambda: _npz({"x.npy": _shape("'40'")}),
    "objects": lambda: _npz({"x.npy": _shape("(40,)", "|O")}),
    "no array": lambda: _npz({"x.npy": b"text"}),
    "other images": lambda: _npz({"x.npy": _npy(np.zeros(39))}),
    "no images": lambda: _npz({"x.npy": _npy(np.array(1.0))}),
    "no archive": lambda: b"PK\x03\x04",
}


def flip(path: Path, share: float) -> None:
    """Flip one bit of the byte at a share of a file's length, in place."""
    data = bytearray(path.read_bytes())
    position = min(int(share * len(data)), len(data) - 1)
    data[position] ^= 1 << (position % 8)
    path.write_bytes(data)


def cut(path: Path, share: float) -> None:
    """Cut a file off at a share of its length."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def emptied(path: Path) -> None:
    """Leave no byte of a file."""
    path.write_bytes(b"")


def replaced_by_folder(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def replaced_by_pipe(path: Path) -> None:
    """Put a pipe in the place of a file: opening it to read waits for a writer."""
    path.unlink()
    os.mkfifo(path)


def put_before(path: Path, data: bytes) -> None:
    """Put bytes before those of a file."""
    path.write_bytes(data + path.read_bytes())
