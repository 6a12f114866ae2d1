"""Arrays as compressed .npz files, written piece by piece, and as plain bytes between processes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Serialize arrays as the bytes of a compressed .npz; see ``write_npz``."""
    buffer = io.BytesIO()
    write_npz(buffer, arrays)
    return buffer.getvalue()


def write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz.

    Only a few MB are in memory at a time: arrays may be memory maps that ``arrays`` opens at each access.
    """
    # Level 1: counts are mostly zeros, and higher levels cost ten times the time for a tenth of the bytes.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in arrays:
            values = arrays[name]
            count, step, large = len(values), _rows_at_a_time(values), values.nbytes > _LARGE
            # Above 2 GB the format differs, which must be known in advance.
            with archive.open(f"{name}.npy", "w", force_zip64=large) as part:
                write_header(part, values.dtype, values.shape)
                del values
                for start in range(0, count, step):
                    # Opened again, since the pages of a map stay in memory as long as it is open.
                    part.write(np.ascontiguousarray(arrays[name][start : start + step]).tobytes())


_LARGE = 1 << 31
"""Size in bytes from which a .zip member needs 64-bit fields."""
_PIECE = 4 << 20
"""Bytes of an array in memory at a time."""


def _rows_at_a_time(values: np.ndarray) -> int:
    return max(1, _PIECE // max(1, values.nbytes // max(1, len(values))))


def write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write the header of an .npy file in C order."""
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Serialize arrays as the bytes of an uncompressed .npz."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, np.ndarray]:
    """Read the arrays from the bytes of ``packed``.

    Raises:
        ValueError: for anything else.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return dict(archive)
