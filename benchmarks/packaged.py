"""Random crops of the packaged images as test data for benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from colorbench.data import open_dataset

SIDE = 96
"""Side of a crop in pixels; the images are about 500 wide."""


def crops(folder: Path, count: int, seed: int = 0, *, side: int = SIDE, suffix: str = ".png") -> Path:
    """Write ``count`` crops of the packaged images in turn as files; return the folder."""
    rng = np.random.default_rng(seed)
    originals = [Image.open(sample.path).convert("RGB") for sample in open_dataset().samples]
    folder.mkdir(parents=True, exist_ok=True)
    for position in range(count):
        original = originals[position % len(originals)]
        left, top = (int(rng.integers(0, max(1, length - side))) for length in original.size)
        original.crop((left, top, left + side, top + side)).save(folder / f"{position:04d}{suffix}")
    return folder
