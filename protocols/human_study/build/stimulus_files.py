"""The image files of a study: one encoder, no metadata, neutral names, and one file size for all versions of an image.

The files must not reveal which image is real. The real image and every colorization of it go through the same encoder
with the same settings, and are padded with an empty chunk to a common size: the next multiple of 8 KiB above the
largest of them.
"""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from colorbench.storage import file_sha256, write_atomic
from protocols.human_study.build.color_vision_plates import DIGITS, draw_plate
from protocols.human_study.study_folder.design_schema import Stimulus
from protocols.human_study.study_folder.file_names import FORM_FOLDER, STIMULI, plate_name

CLASS_BYTES = 8192
"""File sizes are multiples of this."""
_PADDING = b"paDd"
"""A private, ancillary chunk, which every decoder ignores (PNG specification, 5.4)."""
_CHUNK = 12
"""Bytes of an empty chunk: length, type and checksum."""
_END = 12
"""Bytes of the closing IEND chunk."""


def encode(rgb: np.ndarray) -> bytes:
    """Encode a stimulus, (H, W, 3) uint8, as a PNG file without any metadata."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", optimize=False, compress_level=9)
    return buffer.getvalue()


def _padded(png: bytes, size: int) -> bytes:
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


def _common_size(pngs: Mapping[str, bytes]) -> int:
    """Return the common file size of all versions of one image."""
    return -(-(max(map(len, pngs.values())) + _CHUNK) // CLASS_BYTES) * CLASS_BYTES


def files_of(versions: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Encode all versions of a stimulus, (H, W, 3) uint8 by name, as files of one size."""
    pngs = {name: encode(rgb) for name, rgb in versions.items()}
    size = _common_size(pngs)
    return {name: _padded(png, size) for name, png in pngs.items()}


def write_stimuli(
    output: Path,
    responses: Mapping[str, Mapping[str, Path]],
    ids: Sequence[str],
    needed: set[tuple[str, str]],
    truth: str,
    seed: int,
) -> list[Stimulus]:
    """Write the files of all needed stimuli under random names.

    Args:
        output: the study's folder.
        responses: model -> id of the image -> PNG of its prediction.
        ids: of the images.
        needed: (id, model) of the versions that a trial shows.
        truth: model whose predictions are the real images.
        seed: of the names.
    """
    rng = np.random.default_rng([seed, 2])
    folder = output / STIMULI
    shutil.rmtree(folder, ignore_errors=True)
    stimuli = []
    for id in ids:
        versions = {"": _read(responses[truth][id])}
        versions |= {model: _read(paths[id]) for model, paths in responses.items() if (id, model) in needed}
        if len(versions) == 1:
            continue  # an image that is not shown
        for name, data in files_of(versions).items():
            path = folder / f"{rng.bytes(8).hex()}.png"
            write_atomic(path, data, durable=False)
            digest = file_sha256(path)
            stimuli.append(Stimulus(file=path.name, image=id, method=name or None, sha256=digest))
    return sorted(stimuli, key=lambda stimulus: stimulus.file)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def draw_digits(count: int, seed: int) -> list[str]:
    """Draw the digits of the color-vision plates."""
    drawn: list[str] = np.random.default_rng([seed, 1]).permutation(list(DIGITS))[:count].tolist()
    return drawn


def write_plates(output: Path, digits: Sequence[str], seed: int) -> None:
    """Write the color-vision plates of a study into its form."""
    for number, digit in enumerate(digits):
        buffer = io.BytesIO()
        Image.fromarray(draw_plate(digit, number, seed)).save(buffer, "PNG")
        write_atomic(output / FORM_FOLDER / plate_name(number), buffer.getvalue(), durable=False)
