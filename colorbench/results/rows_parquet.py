"""Writing and reading of ``rows.parquet`` (per-image scores), with checks of untrusted tables."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import ArrayLike, DTypeLike

from colorbench.errors import UserError
from colorbench.results.metric_spec import FIXED_COLUMNS
from colorbench.results.shard import Shard

if TYPE_CHECKING:
    import pandas as pd
from colorbench.results.metric_spec import COUNT, MetricSpec
from colorbench.storage.limits import (
    LARGEST_FOOTER,
    LEAST_ROW,
    LONGEST_ID,
    MEGABYTE,
    MOST_CELLS,
    MOST_COLUMNS,
    MOST_ROW_GROUPS,
    UNPACKED_ANYWAY,
    UNPACKED_SHARE,
)
from colorbench.storage.safe_reading import HASH, InvalidTable


def rows_bytes(rows: Shard, columns: Mapping[str, np.ndarray]) -> bytes:
    """Serialize rows as the bytes of ``rows.parquet``, one row per image; equal rows give equal bytes."""
    heights, widths = np.asarray(rows.sizes, np.int32).reshape(-1, 2).T
    labels = [0 if label is None else label for label in rows.labels]
    table = {
        "id": _texts(rows.ids),
        "sha256": _texts(rows.sha256s),
        "label": _numbers(labels, np.int64, known=[label is not None for label in rows.labels]),
        "gray": pyarrow.Array.from_buffers(pyarrow.bool_(), len(rows.gray), [None, _bits(rows.gray)]),
        "height": _numbers(heights, np.int32),
        "width": _numbers(widths, np.int32),
        **{name: _numbers(values, np.float64) for name, values in columns.items()},
    }
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), buffer, compression="zstd")
    return buffer.getvalue()


# Columns are made from buffers and read as lists: pyarrow's numpy conversions import pandas, which takes longer than
# scoring a small set.


def _numbers(values: ArrayLike, dtype: DTypeLike, known: Sequence[bool] | None = None) -> pyarrow.Array:
    array = np.ascontiguousarray(values, dtype)
    valid = None if known is None else _bits(known)
    return pyarrow.Array.from_buffers(
        pyarrow.from_numpy_dtype(array.dtype), len(array), [valid, pyarrow.py_buffer(array)]
    )


def _texts(values: Sequence[str]) -> pyarrow.Array:
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"".join(encoded))]
    return pyarrow.Array.from_buffers(pyarrow.string(), len(encoded), buffers)


def _bits(values: Sequence[bool]) -> pyarrow.Buffer:
    return pyarrow.py_buffer(np.packbits(np.asarray(values, np.bool_), bitorder="little"))


def read_rows(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read content hashes and the protocol's columns of a ``rows.parquet``.

    Raises:
        UserError: for a missing or damaged file.
    """
    try:
        table = _opened(path, path.stat().st_size).read()
        names = [name for name in table.column_names if name not in FIXED_COLUMNS]
        columns = {name: np.array(table[name].to_pylist(), np.float64) for name in names}
        return table["sha256"].to_pylist(), columns
    except (InvalidTable, pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        hint = "remove its folder, then run again"
        raise UserError("these rows cannot be read", where=str(path), hint=hint) from error


_FIXED_TYPES = {
    "id": pyarrow.types.is_string,
    "sha256": pyarrow.types.is_string,
    "label": pyarrow.types.is_integer,
    "gray": pyarrow.types.is_boolean,
    "height": pyarrow.types.is_integer,
    "width": pyarrow.types.is_integer,
}


def rows_table(data: bytes, expected: int) -> pd.DataFrame:
    """Read the bytes of a ``rows.parquet`` as a table of ``expected`` rows.

    Raises:
        InvalidTable: naming the fault. pyarrow.ArrowException, OSError, ValueError: for bytes that are not a table.
    """
    import pandas as pd  # slow to import; a run needs only the functions above

    file = _opened(io.BytesIO(data), len(data))
    schema, count = file.schema_arrow, file.metadata.num_rows
    if len(set(schema.names)) != len(schema.names):
        raise InvalidTable("a column occurs twice")
    for name, fits in _FIXED_TYPES.items():
        if name not in schema.names:
            raise InvalidTable(f"the column {name} is missing")
        kind = schema.field(name).type
        if not fits(kind.value_type if pyarrow.types.is_dictionary(kind) else kind):
            raise InvalidTable(f"the column {name} holds {kind}")
    for name in schema.names:
        if name not in _FIXED_TYPES and not pyarrow.types.is_float64(schema.field(name).type):
            raise InvalidTable(f"a column holds {schema.field(name).type}, not numbers")
    if count != expected:
        raise InvalidTable(f"{count} rows for {expected} images")
    table = file.read(use_threads=False)
    for name in ("id", "sha256", "gray", "height", "width"):
        if table[name].null_count:
            raise InvalidTable(f"the column {name} has gaps")
    columns: dict[str, Any] = {}
    for name in schema.names:
        values = table[name]
        if name in ("id", "sha256"):
            columns[name] = _text_column(name, values)
        elif name == "label":
            numbers = values.cast(pyarrow.int64())
            columns[name] = pd.arrays.IntegerArray(numbers.fill_null(0).to_numpy(), numbers.is_null().to_numpy())
        elif name == "gray":
            columns[name] = values.cast(pyarrow.bool_()).to_numpy()
        else:
            columns[name] = values.to_numpy().astype(np.int64 if name in _FIXED_TYPES else np.float64)
    return pd.DataFrame(columns)


_text_columns: deque[tuple[str, pyarrow.ChunkedArray, pd.Series[str]]] = deque(maxlen=8)
"""The last columns of ids and hashes: records of the same images, such as those of a leaderboard, share them."""


def _text_column(name: str, values: pyarrow.ChunkedArray) -> pd.Series[str]:
    """Return the ids or hashes of a table.

    Raises:
        InvalidTable: for an invalid text, or one that occurs twice.
    """
    import pandas as pd

    for known_name, known, column in _text_columns:
        if known_name == name and values.equals(known):
            return column
    for chunk in values.chunks:
        _check_texts(name, chunk)
    texts = values.to_pylist()
    if len(set(texts)) != len(texts):
        raise InvalidTable("an id occurs twice" if name == "id" else "an image occurs twice")
    column = pd.Series(texts)
    _text_columns.append((name, values, column))
    return column


def _opened(source: Path | io.BytesIO, size: int) -> pyarrow.parquet.ParquetFile:
    """Open a table of ``size`` bytes; nothing but its footer is read, and what it would unpack to is bounded.

    Raises:
        InvalidTable: naming the limit that it exceeds.
    """
    # Strings stay dictionary-encoded, so that long repeated ones fill no memory.
    try:
        file = pyarrow.parquet.ParquetFile(
            source, read_dictionary=["id", "sha256"], thrift_string_size_limit=LARGEST_FOOTER
        )
    except KeyError as error:
        raise InvalidTable("the column id or sha256 is missing") from error
    footer = file.metadata
    count, width = footer.num_rows, footer.num_columns
    if width > MOST_COLUMNS or footer.num_row_groups > MOST_ROW_GROUPS or count * width > MOST_CELLS:
        raise InvalidTable(f"{count} rows of {width} columns in {footer.num_row_groups} groups are too many")
    if count * LEAST_ROW > size:
        raise InvalidTable(f"{count} rows are too many for a file of {size} bytes")
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    chunks = [group.column(j) for group in groups for j in range(width)]
    most = UNPACKED_ANYWAY + UNPACKED_SHARE * size
    unpacked = max(8 * count * width, sum(max(0, chunk.total_uncompressed_size) for chunk in chunks))
    if unpacked > most:
        raise InvalidTable(f"it unpacks from {size / MEGABYTE:.1f} to {unpacked / MEGABYTE:.0f} MB")
    for chunk in chunks:  # other encodings unpack to any size
        if other := set(chunk.encodings) - _ENCODINGS:
            raise InvalidTable(f"the column {chunk.path_in_schema[:100]} is encoded by {', '.join(sorted(other))}")
    return file


_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}
"""Encodings of a table that a run or pandas writes."""


def _check_texts(name: str, chunk: Any) -> None:
    texts = chunk.dictionary if pyarrow.types.is_dictionary(chunk.type) else chunk
    if len(texts) and texts.nbytes > LONGEST_ID * (len(texts) + 1):
        raise InvalidTable(f"a text of the column {name} is too long")
    for text in texts.to_pylist():
        if not text or len(text) > LONGEST_ID or (name == "sha256" and not HASH.fullmatch(text)):
            raise InvalidTable("an image has no id" if not text else f"the column {name} has an invalid value")


def statistics_of(columns: Mapping[str, np.ndarray], metric: MetricSpec) -> np.ndarray:
    """Return the sufficient statistics of a metric from the table of rows, (n, k).

    Raises:
        KeyError: naming the missing column.
    """
    names = [f"{metric.name}.s{j}" for j in range(COUNT[metric.form])]
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1)
