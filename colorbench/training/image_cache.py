"""Cache of decoded training images in one uint8 file, and random crops from it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset, Sample, UnreadableImage, decode_image, get_preprocessing
from colorbench.data.batch_loader import map_ahead
from colorbench.errors import UserError
from colorbench.storage import Lock, file_sha256, read_cached_json, write_cached_json
from colorbench.storage.atomic_files import set_aside
from colorbench.training.training_preset import CropStage

HELD_SHARE = 0.035
MINIMUM_HELD = 8
INDEX = "index.json"
"""Written last: a digest of the cached files, and the sha256 of each file of the cache."""


@dataclass(frozen=True)
class ImageCache:
    """Decoded images of one size with their hashes and sources."""

    pixels: np.ndarray
    """(n, S, S, 3) uint8, a memory map."""
    hashes: np.ndarray
    """(n,) uint64: the first 8 bytes of each file's sha256, for the overlap check."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(id, reason) of the files that could not be read."""
    sources: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(n,) index of the dataset of each image."""

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices to train on and those of the validation split, (n,) and (m,) int64.

        The split depends on content, so it is the same on every machine, and copies of an image are in one part.
        """
        ordered = np.sort(self.hashes)
        count = min(len(ordered), max(MINIMUM_HELD, round(len(ordered) * HELD_SHARE)))
        validation = self.hashes <= ordered[count - 1]
        return np.flatnonzero(~validation), np.flatnonzero(validation)

    def drawn(self, repeats: Mapping[int, int]) -> np.ndarray:
        """Return the training indices, (m,) int64, those of dataset i ``repeats[i]`` times (default: once)."""
        chosen, _ = self.split()
        if not repeats:
            return chosen
        times = np.array([repeats.get(int(source), 1) for source in self.sources[chosen]])
        return np.repeat(chosen, times)

    def fingerprint(self, indices: np.ndarray) -> str:
        """Return the hexadecimal hash of the contents of ``indices`` (n,), in this order."""
        return sha256(self.hashes[indices].astype("<u8").tobytes()).hexdigest()[:16]


def build_cache(
    datasets: Sequence[Dataset],
    folder: Path,
    size: int,
    workers: int = 2,
    *,
    check: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> ImageCache:
    """Decode every image once, squashed to ``size``; an existing cache of the same files is reused.

    Other processes that need the same cache wait.

    Args:
        datasets: whose images are in the cache, in this order.
        folder: of the cache.
        size: side of the squashed images, in pixels.
        workers: threads that decode.
        check: compare the checksums of an existing cache; one process of a machine is enough.
        say: called with a line about each damaged file; it is set aside, and the cache is made again.

    Raises:
        UserError: if no image can be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _files_digest(datasets, size)
    index = folder / INDEX

    def complete() -> bool:
        return bool((read_cached_json(index) or {}).get("files") == files)

    def damaged() -> list[Path]:
        checksums = read_cached_json(index)["checksums"]
        return [folder / name for name, expected in checksums.items() if _sha256(folder / name) != expected]

    if not complete() or (check and damaged()):
        while (lock := Lock.take(folder / ".building.lock")) is None:
            time.sleep(0.1)
        try:
            if complete() and check:
                for path in damaged():
                    aside = f"it is now {set_aside(path).name}" if os.path.lexists(path) else "it is missing"
                    say(f"{path} is damaged: {aside}, and all images are decoded again")
                    index.unlink(missing_ok=True)
            if not complete():
                _clear(index)
                written = _write_files(datasets, folder, size, workers)
                checksums = {name: file_sha256(folder / name) for name in written}
                write_cached_json(index, {"files": files, "checksums": checksums})
        finally:
            lock.release()
    return open_cache(folder)


def _files_digest(datasets: Sequence[Dataset], size: int) -> str:
    """Return the sha256 of the names, sizes and times of all files, and of the size of the squashed images."""
    digest = sha256(" ".join(str(count) for count in (size, *(len(dataset) for dataset in datasets))).encode())
    for dataset in datasets:
        for sample in dataset.samples:
            digest.update(f"\n{_file_of(sample)} {sample.size} {sample.modified}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None


def _write_files(datasets: Sequence[Dataset], folder: Path, size: int, workers: int) -> Sequence[str]:
    """Write the files of a cache but its index, which is written last; return their names.

    An existing file is removed first: writing under the memory map of another process would end that process.
    """
    samples = [sample for dataset in datasets for sample in dataset.samples]
    config = get_preprocessing(f"squash{size}")

    def read(sample: Sample) -> tuple[np.ndarray, int] | str:
        try:
            image = decode_image(sample)
        except UnreadableImage as error:
            return str(error)
        return config.apply(image.rgb), int(image.sha256[:16], 16)

    names = ("pixels.npy", "hashes.npy", "sources.npy", "skipped.json")
    for name in names:
        _clear(folder / name)
    path = folder / names[0]
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(samples), size, size, 3))
    _reserve(path)
    hashes: list[int] = []
    sources: list[int] = []
    skipped: list[tuple[str, str]] = []
    origin = [number for number, dataset in enumerate(datasets) for _ in dataset.samples]
    for sample, source, decoded in zip(samples, origin, map_ahead(read, samples, workers, 4 * workers), strict=True):
        if isinstance(decoded, str):
            skipped.append((sample.id, decoded))
            continue
        pixels[len(hashes)] = decoded[0]
        hashes.append(decoded[1])
        sources.append(source)
    if not hashes:
        raise UserError("none of the images can be read", hint=f"first reason: {skipped[0][1] if skipped else '-'}")
    pixels.flush()
    np.save(folder / "hashes.npy", np.array(hashes, dtype=np.uint64))
    np.save(folder / "sources.npy", np.array(sources, dtype=np.int64))
    (folder / "skipped.json").write_text(json.dumps(skipped))
    return names


def _clear(path: Path) -> None:
    if path.is_dir():
        set_aside(path)
    else:
        path.unlink(missing_ok=True)


def _file_of(sample: Sample) -> str:
    """Return the file of an image, or its container and its position there."""
    if sample.container is None:
        return str(sample.path.resolve())
    return f"{sample.path.absolute()} {sample.position}"


def open_cache(folder: Path) -> ImageCache:
    """Open a cache written by ``build_cache``."""
    hashes = np.load(folder / "hashes.npy")
    return ImageCache(
        # One row per listed file; unreadable files leave the last rows empty.
        np.load(folder / "pixels.npy", mmap_mode="r")[: len(hashes)],
        hashes,
        tuple((id, reason) for id, reason in json.loads((folder / "skipped.json").read_text())),
        np.load(folder / "sources.npy"),
    )


def crop_batch(
    pixels: np.ndarray, indices: Sequence[int] | np.ndarray, view: CropStage, rng: np.random.Generator
) -> Tensor:
    """Cut a batch of random crops from cached images, half mirrored, as (N, 3, size, size) Lab float32."""
    return rgb_to_lab(cut_rgb(pixels, indices, view, rng))


def cut_rgb(
    pixels: np.ndarray,
    indices: Sequence[int] | np.ndarray,
    view: CropStage,
    rng: np.random.Generator,
    part: slice = slice(None),
) -> Tensor:
    """Cut a batch of random crops from cached images, half mirrored, as (N, 3, size, size) uint8.

    One side length is drawn per batch and one position per image, so that one call resizes all crops. All random
    numbers are drawn for the whole batch, for any ``part``, so that processes that share a batch draw equally.
    """
    side = int(rng.integers(view.low, view.high + 1))
    tops, lefts = rng.integers(0, pixels.shape[1] - side + 1, (2, len(indices)))
    mirrored = rng.random(len(indices)) < 0.5
    wanted = np.asarray(indices)[part]
    crops = np.empty((len(wanted), side, side, 3), np.uint8)
    for crop, index, top, left, mirror in zip(crops, wanted, tops[part], lefts[part], mirrored[part], strict=True):
        image = pixels[index, top : top + side, left : left + side]
        crop[:] = image[:, ::-1] if mirror else image
    rgb = torch.from_numpy(crops).permute(0, 3, 1, 2)
    if side != view.size:
        rgb = interpolate(rgb, (view.size, view.size), mode="bilinear", antialias=True)
    return rgb.contiguous()


def _reserve(path: Path) -> None:
    """Allocate the disk space in advance, since a full disk under a memory map kills the process without a message."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
