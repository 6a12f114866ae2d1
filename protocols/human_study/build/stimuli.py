"""The image files of a study: one encoder, no metadata, neutral names, and one file size for all versions of an image.

The files must not reveal which image is real. The real image and every colorization of it go through the same encoder
with the same settings, and are padded with an empty chunk to a common size: the next multiple of 8 KiB above the
largest of them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

CLASS_BYTES = 8192
"""File sizes are multiples of this."""
_PADDING = b"paDd"
"""A private, ancillary chunk, which every decoder ignores (PNG specification, 5.4)."""
_CHUNK = 12
"""Bytes of an empty chunk: length, type and checksum."""
_END = 12
"""Bytes of the closing IEND chunk."""


def encode(rgb: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 as PNG without any metadata."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", optimize=False, compress_level=9)
    return buffer.getvalue()


def padded(png: bytes, size: int) -> bytes:
    """Return the same PNG, padded to ``size`` bytes; ``size`` is at least 12 more than its own.

    Raises:
        ValueError: if it does not fit.
    """
    room = size - len(png) - _CHUNK
    if room < 0:
        raise ValueError(f"an image of {len(png)} bytes does not fit into {size}")
    data = bytes(room)
    chunk = struct.pack(">I", room) + _PADDING + data + struct.pack(">I", zlib.crc32(_PADDING + data))
    return png[:-_END] + chunk + png[-_END:]


def common_size(pngs: Mapping[str, bytes]) -> int:
    """Return the common file size of all versions of one image."""
    return -(-(max(map(len, pngs.values())) + _CHUNK) // CLASS_BYTES) * CLASS_BYTES


def files_of(versions: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Encode all versions of one image, (H, W, 3) uint8 by name, as files of one size."""
    pngs = {name: encode(rgb) for name, rgb in versions.items()}
    size = common_size(pngs)
    return {name: padded(png, size) for name, png in pngs.items()}
