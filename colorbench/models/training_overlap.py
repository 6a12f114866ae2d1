"""Overlap of evaluated images with a model's training images, by content hash."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from colorbench.errors import UserError
from colorbench.models.model_card import ModelCard
from colorbench.storage import InvalidTable, array_of


def find_overlap(card: ModelCard, sha256s: Iterable[str]) -> int | None:
    """Count the images that overlap with the model's training images, by content; None if unknown.

    Args:
        card: its ``training_hashes`` names a file, ``package:path``: a .npy of (n,) uint64, each the first 8 bytes,
            big endian, of the sha256 of a training file.
        sha256s: hexadecimal hashes of the evaluated files.

    Raises:
        UserError: if the card names a file that is missing or invalid.
    """
    if card.training_hashes is None:
        return None
    known = _training_hashes(card.training_hashes)
    ours = np.array([int(sha256[:16], 16) for sha256 in sha256s], dtype=np.uint64)
    return int(np.isin(ours, known).sum())


@lru_cache(maxsize=8)
def _training_hashes(name: str) -> np.ndarray:
    package, colon, path = name.partition(":")
    try:
        data = resources.files(package).joinpath(path).read_bytes() if colon else Path(name).read_bytes()
        hashes = array_of(data)
    except (OSError, ImportError, ValueError, InvalidTable) as error:
        hint = "reinstall the model's package, or correct `training_hashes` in its card"
        what = f"the hashes of the training images cannot be read: {error}"
        raise UserError(what, where=name, hint=hint) from error
    if not isinstance(hashes, np.ndarray) or hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise UserError("the hashes of the training images must be a .npy of (n,) uint64", where=name)
    return hashes
