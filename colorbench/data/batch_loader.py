"""Loading of images in batches of equal size, decoded in advance by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from colorbench.data.dataset import Sample
from colorbench.data.image_decoding import UnreadableImage, decode_image
from colorbench.data.preprocessing import Preprocessing

LARGEST_BATCH = 1 << 24
"""Largest number of pixels in a batch of images of native size: 16 images of 1024 x 1024."""

Item = TypeVar("Item")
Result = TypeVar("Result")
GrayPolicy = Literal["keep", "drop"]
"""Whether images without color are evaluated or skipped."""


class SkippedImage(NamedTuple):
    """An image that is not evaluated, and the reason."""

    id: str
    reason: str


@dataclass(frozen=True)
class LoadedBatch:
    """A batch of images of one size, in the order of the samples; empty if it reports only skipped images."""

    ids: tuple[str, ...]
    sha256s: tuple[str, ...]
    gray: tuple[bool, ...]
    labels: tuple[int | None, ...]
    sizes: tuple[tuple[int, int], ...]
    """(H, W) of the images before the preprocessing."""
    rgb8: Tensor
    """(N, 3, H, W) uint8."""
    skipped: tuple[SkippedImage, ...] = ()
    """Images that were skipped since the previous batch."""


class _Loaded(NamedTuple):
    """A preprocessed image, without the pixels of the original."""

    id: str
    sha256: str
    gray: bool
    label: int | None
    size: tuple[int, int]
    pixels: np.ndarray  # (h, w, 3) uint8


@dataclass
class _Pending:
    """The next batch while it is collected."""

    loaded: list[_Loaded] = field(default_factory=list)
    skipped: list[SkippedImage] = field(default_factory=list)

    def takes_another(self) -> bool:
        """Return whether the batch stays within ``LARGEST_BATCH`` with one more image of the same size."""
        height, width = self.loaded[0].pixels.shape[:2]
        return int((len(self.loaded) + 1) * height * width) <= LARGEST_BATCH

    def take(self) -> LoadedBatch:
        batch = LoadedBatch(
            ids=tuple(one.id for one in self.loaded),
            sha256s=tuple(one.sha256 for one in self.loaded),
            gray=tuple(one.gray for one in self.loaded),
            labels=tuple(one.label for one in self.loaded),
            sizes=tuple(one.size for one in self.loaded),
            rgb8=_channels_first([one.pixels for one in self.loaded]),
            skipped=tuple(self.skipped),
        )
        self.loaded, self.skipped = [], []
        return batch


def load_batches(
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int = 1,
    gray_policy: GrayPolicy = "keep",
) -> Iterator[LoadedBatch]:
    """Decode, preprocess and batch images, in the order of ``samples``.

    The batches depend only on the samples, the preprocessing and ``batch_size``. Batches hold up to ``batch_size``
    images of one size; an image of another size starts a new batch. At their own sizes (``native``) a batch holds no
    more than ``LARGEST_BATCH`` pixels, or one image.

    Args:
        samples: images to load.
        preprocessing: applied to each image.
        batch_size: largest number of images in a batch.
        workers: threads that decode in advance; 0 decodes in the calling thread.
        gray_policy: ``drop`` skips images without color.

    Yields:
        Batches; the last one is empty if images were skipped after the one before.

    Raises:
        ValueError: for a batch size below 1 or a negative number of workers.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(f"batch size {batch_size} must be at least 1 and workers {workers} at least 0")
    pending = _Pending()
    for sample, loaded in zip(samples, _ahead(samples, preprocessing, workers, batch_size), strict=True):
        if isinstance(loaded, str):
            pending.skipped.append(SkippedImage(sample.id, loaded))
            continue
        if gray_policy == "drop" and loaded.gray:
            pending.skipped.append(SkippedImage(sample.id, "grayscale image, excluded by --gray drop"))
            continue
        if pending.loaded and pending.loaded[0].pixels.shape != loaded.pixels.shape:
            yield pending.take()
        pending.loaded.append(loaded)
        if len(pending.loaded) == batch_size or (preprocessing.mixed_sizes and not pending.takes_another()):
            yield pending.take()
    if pending.loaded or pending.skipped:
        yield pending.take()


def _ahead(
    samples: Sequence[Sample], preprocessing: Preprocessing, workers: int, batch_size: int
) -> Iterator[_Loaded | str]:
    return map_ahead(lambda sample: _load(sample, preprocessing), samples, workers, batch_size + workers)


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int) -> Iterator[Result]:
    """Apply a function to items by threads that are at most ``ahead`` items ahead, and yield the results in order.

    ``ThreadPoolExecutor.map`` would decode a whole dataset into memory. 0 workers: in the calling thread.
    """
    if workers == 0:
        yield from map(function, items)
        return
    window: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="colorbench-decode") as pool:
        try:
            for item in items:
                window.append(pool.submit(function, item))
                if len(window) > ahead:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()


def _load(sample: Sample, preprocessing: Preprocessing) -> _Loaded | str:
    try:
        image = decode_image(sample)
    except UnreadableImage as error:
        return str(error)
    pixels = np.ascontiguousarray(preprocessing.apply(image.rgb))  # a view would keep the whole image
    height, width = image.rgb.shape[:2]
    return _Loaded(image.id, image.sha256, image.gray, image.label, (height, width), pixels)


def _channels_first(images: Sequence[np.ndarray]) -> Tensor:
    """Stack images (h, w, 3) of one size to (N, 3, h, w); no images give (0, 3, 0, 0)."""
    h, w, _ = images[0].shape if images else (0, 0, 3)
    batch = np.empty((len(images), 3, h, w), np.uint8)
    for position, image in enumerate(images):
        batch[position] = image.transpose(2, 0, 1)
    return torch.from_numpy(batch)


def _cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoding_threads(asked: int | None) -> int:
    """Return the number of threads that load batches: as requested; for None one per core, at most 8."""
    return min(8, _cpu_count()) if asked is None else asked
