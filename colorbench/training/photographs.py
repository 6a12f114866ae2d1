"""Photographs for training: decoded once into one uint8 file, then cropped, mirrored and shrunk batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from colorbench.color.lab import rgb_to_lab
from colorbench.data.dataset import Dataset, Sample
from colorbench.data.decoding import UnreadablePhotograph, decode
from colorbench.data.recipes import get_recipe
from colorbench.errors import UserError
from colorbench.training.preset import View

HELD_SHARE = 0.035


@dataclass(frozen=True)
class PhotographCache:
    """Decoded photographs of one size, and who they are."""

    pixels: np.ndarray
    """(n, S, S, 3) uint8, a memory map."""
    hashes: np.ndarray
    """(n,) uint64: the first 8 bytes of each file's sha256, for the overlap check."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(id, reason) of the files that could not be read."""

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices to train on and indices held for every choice; by content, so the same on every machine."""
        order = np.argsort(self.hashes)
        held = round(len(order) * HELD_SHARE)
        return np.sort(order[held:]), np.sort(order[:held])


def build_cache(datasets: Sequence[Dataset], folder: Path, size: int, workers: int = 2) -> PhotographCache:
    """Decode every photograph once, squashed to ``size``; a cache of the same files is taken as it is.

    Raises:
        UserError: if none can be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samples = [sample for dataset in datasets for sample in dataset.samples]
    ids = "\n".join(f"{sample.path.resolve()} {sample.size} {sample.modified} {size}" for sample in samples)
    listing = folder / "files.txt"
    if listing.is_file() and listing.read_text() == ids:
        return PhotographCache(np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "hashes.npy"))
    recipe = get_recipe(f"squash{size}")

    def read(sample: Sample) -> tuple[np.ndarray, int] | str:
        try:
            photograph = decode(sample)
        except UnreadablePhotograph as error:
            return str(error)
        return recipe.apply(photograph.rgb), int(photograph.sha256[:16], 16)

    pixels = np.lib.format.open_memmap(folder / "pixels.part.npy", "w+", np.uint8, (len(samples), size, size, 3))
    hashes: list[int] = []
    skipped: list[tuple[str, str]] = []
    with ThreadPoolExecutor(workers) as pool:
        for sample, answer in zip(samples, pool.map(read, samples), strict=True):
            if isinstance(answer, str):
                skipped.append((sample.id, answer))
                continue
            pixels[len(hashes)] = answer[0]
            hashes.append(answer[1])
    if not hashes:
        raise UserError(
            "none of the photographs can be read", mend=f"first reason: {skipped[0][1] if skipped else '-'}"
        )
    np.save(folder / "pixels.npy", pixels[: len(hashes)])
    np.save(folder / "hashes.npy", np.array(hashes, dtype=np.uint64))
    (folder / "pixels.part.npy").unlink()
    listing.write_text(ids)
    return PhotographCache(
        np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "hashes.npy"), tuple(skipped)
    )


def cut(pixels: np.ndarray, indices: Sequence[int] | np.ndarray, view: View, rng: np.random.Generator) -> Tensor:
    """A batch of random crops, half of them mirrored, as (N, 3, size, size) Lab float32.

    One side is drawn for a batch, a place for every photograph: so one call shrinks all of them.
    """
    side = int(rng.integers(view.low, view.high + 1))
    crops = np.empty((len(indices), side, side, 3), np.uint8)
    tops, lefts = rng.integers(0, pixels.shape[1] - side + 1, (2, len(indices)))
    mirrored = rng.random(len(indices)) < 0.5
    for crop, index, top, left, mirror in zip(crops, indices, tops, lefts, mirrored, strict=True):
        picture = pixels[index, top : top + side, left : left + side]
        crop[:] = picture[:, ::-1] if mirror else picture
    rgb = torch.from_numpy(crops).permute(0, 3, 1, 2)
    if side != view.size:
        rgb = interpolate(rgb, (view.size, view.size), mode="bilinear", antialias=True)
    return rgb_to_lab(rgb.contiguous())
