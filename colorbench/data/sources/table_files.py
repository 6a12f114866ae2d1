"""Tables with a column of images: Parquet files, and folders that ``datasets`` saved (``save_to_disk``).

- The column of images is the one that the metadata of ``datasets`` names, or holds structures with ``bytes``, or the
  only one of bytes; of several, the one named ``image``.
- An id is the row's number over all files, with the file name that the row states: ``00000012/cat.jpg``. Rows are
  thereby in the order of the files.
- The column ``label``, or the only one that is a ``ClassLabel``, gives the classes.
- Saved datasets are memory maps. Of all Parquet files together, the row groups that were used last are in memory.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet

from colorbench.data.folder_walk import check_name
from colorbench.data.sample_columns import SampleColumns
from colorbench.data.sources.class_labels import Classes, labeled_by_text
from colorbench.data.sources.container_stamp import ContainerStamp
from colorbench.data.sources.samples import COPY_AGAIN
from colorbench.errors import UserError, printable

LARGEST_ROW_GROUP = 1 << 30
"""Bytes of images in a row group of a Parquet file, which is read as a whole."""
MOST_IN_MEMORY = 1 << 30
"""Bytes of images in the row groups that are in memory."""
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""Last bytes of an Arrow stream."""
_BINARY = (pyarrow.types.is_binary, pyarrow.types.is_large_binary)


class _Columns(NamedTuple):
    """What a table states: the columns to read, and the names of the classes."""

    image: str
    structure: bool
    """Whether the images are structures of ``bytes`` and ``path``."""
    named: bool
    """Whether these structures have a ``path``."""
    label: str | None
    class_names: tuple[str, ...] | None
    """Of a ``ClassLabel``."""


class ArrowFile:
    """A file of a saved dataset, as a memory map."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp = ContainerStamp.of(path)
        with path.open("rb") as file:
            file.seek(max(0, self.stamp.size - len(_END)))
            if file.read() != _END:  # pyarrow takes a file that ends between two batches for complete
                raise ValueError("it is cut off")
        with pyarrow.memory_map(str(path)) as source:
            self.table = pyarrow.ipc.open_stream(source).read_all()
        self.table.validate()
        self.schema = self.table.schema
        self.rows = len(self.table)
        self.images: Any = None

    def choose(self, columns: _Columns) -> np.ndarray:
        """Take the column of images, and return the sizes of its images in bytes, (n,)."""
        column = self.table[columns.image]
        column.validate(full=True)  # offsets that lead out of the file would be read
        self.images = pyarrow.chunked_array([_bytes_of(chunk, columns) for chunk in column.chunks], _bytes_type(column))
        sizes = [_lengths(chunk) for chunk in self.images.chunks]
        return np.concatenate(sizes) if sizes else np.zeros(0, np.int64)

    def column(self, name: str) -> list[Any]:
        """Return the values of a small column; a dot leads into a structure."""
        first, _, inner = name.partition(".")
        column = self.table[first]
        if inner:
            return [value for chunk in column.chunks for value in chunk.field(inner).to_pylist()]
        values: list[Any] = column.to_pylist()
        return values

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes of row ``position``; raises as ``Container.read``."""
        self.stamp.check(os.stat(self.path), self.path)
        return _bytes(self.images[position])


class _RowGroups:
    """The row groups that were used last, of all Parquet files of a dataset: as many as ``MOST_IN_MEMORY`` allows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._bytes = 0

    def get(self, file: Path, number: int) -> Any:
        """Return a row group; None if it is not in memory."""
        with self._lock:
            if (file, number) not in self._groups:
                return None
            self._groups.move_to_end((file, number))
            return self._groups[file, number]

    def put(self, file: Path, number: int, group: Any) -> None:
        """Keep a row group, and drop those that were not used for longest; the new one always stays."""
        with self._lock:
            self._groups[file, number] = group
            self._bytes += group.nbytes
            while self._bytes > MOST_IN_MEMORY and len(self._groups) > 1:
                _, dropped = self._groups.popitem(last=False)
                self._bytes -= dropped.nbytes


class ParquetFile:
    """A Parquet file, which is read by row groups."""

    def __init__(self, path: Path, groups: _RowGroups) -> None:
        self.path = path
        self.stamp = ContainerStamp.of(path)
        self._file = pyarrow.parquet.ParquetFile(path)
        self.schema = self._file.schema_arrow
        self.rows = self._file.metadata.num_rows
        counts = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *counts])
        self._columns: _Columns | None = None
        self._lock = threading.Lock()  # a file is read by one thread at a time
        self._groups = groups

    def choose(self, columns: _Columns) -> np.ndarray:
        """Take the column of images, and return the bytes of the row group of each image, (n,)."""
        self._columns = columns
        sizes = []
        for number in range(self._file.num_row_groups):
            group = self._file.metadata.row_group(number)
            parts = (group.column(i) for i in range(group.num_columns))
            size = sum(p.total_uncompressed_size for p in parts if p.path_in_schema.split(".")[0] == columns.image)
            if size > LARGEST_ROW_GROUP:
                what = f"row group {number} has {size >> 20} MiB of images"
                raise UserError(what, where=str(self.path), hint="write the file again with row_group_size=100")
            sizes.append(np.full(group.num_rows, size, np.int64))
        return np.concatenate(sizes) if sizes else np.zeros(0, np.int64)

    def column(self, name: str) -> list[Any]:
        """Return the values of a small column; a dot leads into a structure."""
        first, _, inner = name.partition(".")
        column = self._file.read(columns=[name])[first]
        values: list[Any] = column.to_pylist()
        return [None if value is None else value[inner] for value in values] if inner else values

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes of row ``position``; raises as ``Container.read``."""
        self.stamp.check(os.stat(self.path), self.path)
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        with self._lock:
            if (group := self._groups.get(self.path, number)) is None:
                group = self._read_group(number)
                self._groups.put(self.path, number, group)
        return _bytes(group[position - int(self._starts[number])])

    def _read_group(self, number: int) -> Any:
        assert self._columns is not None
        name = f"{self._columns.image}.bytes" if self._columns.structure else self._columns.image
        try:
            column = self._file.read_row_group(number, columns=[name])[self._columns.image]
        except (pyarrow.ArrowException, OSError) as error:
            raise OSError(errno.EIO, f"row group {number} of the Parquet file is damaged") from error
        chunks = [_bytes_of(chunk, self._columns) for chunk in column.chunks]
        return pyarrow.chunked_array(chunks, _bytes_type(column))


def open_tables(paths: Sequence[Path], where: Path) -> tuple[SampleColumns, Classes, str | None]:
    """Open Parquet files, or the files of a saved dataset, as one sequence of samples.

    Args:
        paths: files in their order; ``.parquet``, or Arrow streams.
        where: for messages.

    Returns:
        Samples, class names, and the reason if classes are not used.

    Raises:
        UserError: for a file that is damaged or has no column of images, in one line.
    """
    parts: list[tuple[ArrowFile | ParquetFile, np.ndarray, np.ndarray]] = []
    names: list[Any] = []
    labels: list[Any] = []
    columns: _Columns | None = None
    groups = _RowGroups()
    for path in paths:
        try:
            file = ParquetFile(path, groups) if path.suffix.lower() == ".parquet" else ArrowFile(path)
            columns = columns or _columns_of(file.schema, path)
            _check_equal(columns, parts[0][0].schema if parts else file.schema, file.schema, path)
            sizes = file.choose(columns)
            if len(sizes) != file.rows:
                raise ValueError(f"{file.rows} rows, {len(sizes)} images")
            names += file.column(f"{columns.image}.path") if columns.named else [None] * file.rows
            labels += file.column(columns.label) if columns.label else [None] * file.rows
        except OSError as error:
            reason = printable(str(error.strerror or error))[:200]
            raise UserError(f"cannot read this table: {reason}", where=str(path), hint=COPY_AGAIN) from error
        except (pyarrow.ArrowException, ValueError, KeyError, TypeError, OverflowError) as error:
            reason = printable(str(error))[:200]
            raise UserError(f"this table is damaged: {reason}", where=str(path), hint=COPY_AGAIN) from error
        modified = np.broadcast_to(np.int64(file.stamp.modified), len(sizes))
        parts.append((file, sizes, modified))
    ids = pyarrow.array([_id(row, name) for row, name in enumerate(names)], pyarrow.large_string())
    samples = SampleColumns(
        ids,
        np.concatenate([sizes for _, sizes, _ in parts]),
        np.concatenate([modified for *_, modified in parts]),
        [file for file, *_ in parts],
        place=np.repeat(np.arange(len(parts), dtype=np.int32), [len(sizes) for _, sizes, _ in parts]),
        positions=np.concatenate([np.arange(len(sizes), dtype=np.int64) for _, sizes, _ in parts]),
    )
    assert columns is not None
    return _with_classes(samples, labels, columns, where)


def _columns_of(schema: pyarrow.Schema, path: Path) -> _Columns:
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        features = {str(name): value for name, value in told.items() if isinstance(value, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        features = {}
    structures = [field.name for field in schema if _structure(field.type)]
    plain = [field.name for field in schema if any(test(field.type) for test in _BINARY)]
    stated = [name for name in (*structures, *plain) if features.get(name, {}).get("_type") == "Image"]
    images = stated or structures or plain
    if len(images) > 1 and "image" in images:
        images = ["image"]
    if len(images) != 1:
        what = f"{len(images)} columns may be images: {', '.join(images)[:200]}" if images else "no column of images"
        raise UserError(what, where=str(path), hint="name the column with the bytes of image files `image`")
    candidates = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    label = "label" if "label" in schema.names else candidates[0] if len(candidates) == 1 else None
    names = features.get(label or "", {}).get("names") if label in candidates else None
    known = tuple(check_name(str(name), "a class") for name in names) if isinstance(names, list) else None
    structure = images[0] in structures
    named = structure and any(field.name == "path" for field in schema.field(images[0]).type)
    return _Columns(images[0], structure, named, label, known)


def _structure(type: Any) -> bool:
    return pyarrow.types.is_struct(type) and any(
        field.name == "bytes" and any(test(field.type) for test in _BINARY) for field in type
    )


def _check_equal(columns: _Columns, first: pyarrow.Schema, schema: pyarrow.Schema, path: Path) -> None:
    wanted = [columns.image, *([columns.label] if columns.label else [])]
    if missing := [name for name in wanted if name not in schema.names]:
        raise UserError(f"this table has no column {missing[0]!r}, unlike the first", where=str(path), hint=COPY_AGAIN)
    if schema.field(columns.image).type != first.field(columns.image).type:
        raise UserError(f"{columns.image!r} has another type than in the first table", where=str(path), hint=COPY_AGAIN)


def _with_classes(
    samples: SampleColumns, labels: Sequence[Any], columns: _Columns, where: Path
) -> tuple[SampleColumns, Classes, str | None]:
    names = columns.class_names
    if names is not None:
        if all(type(value) is int and 0 <= value < len(names) for value in labels):
            return samples.labeled(labels), names, None
        known = [value if type(value) is int and 0 <= value < len(names) else None for value in labels]
    else:
        known = [None if value is None or value == -1 else value for value in labels]
    if other := next((value for value in known if value is not None and type(value) not in (int, str)), None):
        remark = f"classes are not used: {columns.label} holds values of type {type(other).__name__}"
        return samples, None, remark
    texts = [None if value is None else str(value) for value in known]
    return labeled_by_text(samples, texts, str(where))


def _id(row: int, name: object) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2] if isinstance(name, str) else ""
    return check_name(f"{row:08d}/{last}" if last not in ("", ".", "..") else f"{row:08d}")


def _bytes_of(chunk: Any, columns: _Columns) -> Any:
    if not columns.structure:
        return chunk
    return pyarrow.compute.struct_field(chunk, "bytes")


def _bytes_type(column: Any) -> Any:
    return column.type.field("bytes").type if pyarrow.types.is_struct(column.type) else column.type


def _lengths(chunk: Any) -> np.ndarray:
    lengths = pyarrow.compute.binary_length(chunk)
    filled: np.ndarray = pyarrow.compute.fill_null(lengths, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return filled


def _bytes(value: Any) -> bytes:
    content: bytes | None = value.as_py()
    if content is None:
        raise OSError(errno.ENODATA, "the row has no bytes of an image")
    return content
