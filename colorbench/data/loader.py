"""Photographs in batches of equal size, decoded ahead by threads; the only place that feeds the engine pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from colorbench.data.dataset import Sample
from colorbench.data.decoding import UnreadablePhotograph, decode
from colorbench.data.preprocessing import Recipe

LARGEST_BATCH = 1 << 24
"""Pixels in a batch of images at their own sizes: sixteen of 1024 x 1024, fewer of larger ones."""

Item = TypeVar("Item")
Result = TypeVar("Result")
GrayPolicy = Literal["keep", "drop"]


class SkippedPhotograph(NamedTuple):
    """A photograph that is not evaluated, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class LoadedBatch:
    """Photographs of one size, in the order of their samples. Empty where only skips are left to report."""

    ids: tuple[str, ...]
    sha256s: tuple[str, ...]
    gray: tuple[bool, ...]
    labels: tuple[int | None, ...]
    sizes: tuple[tuple[int, int], ...]
    """(H, W) of the photographs before the recipe."""
    rgb8: Tensor
    """(N, 3, H, W) uint8."""
    skipped: tuple[SkippedPhotograph, ...] = ()
    """Those passed over since the batch before."""


class _Loaded(NamedTuple):
    """What is kept of a photograph: its pixels only as the recipe leaves them, however large the file."""

    id: str
    sha256: str
    gray: bool
    label: int | None
    size: tuple[int, int]
    pixels: np.ndarray  # (h, w, 3) uint8


@dataclass
class _Pending:
    """What will be the next batch."""

    loaded: list[_Loaded] = field(default_factory=list)
    skipped: list[SkippedPhotograph] = field(default_factory=list)

    def takes_another(self) -> bool:
        """Whether one more image of the same size leaves the batch small enough for memory."""
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
    samples: Sequence[Sample], recipe: Recipe, *, batch_size: int, workers: int = 1, gray_policy: GrayPolicy = "keep"
) -> Iterator[LoadedBatch]:
    """Decode, apply the recipe and batch, in the order of ``samples``.

    How photographs fall into batches depends on the samples, the recipe and ``batch_size`` alone. Batches hold up to
    ``batch_size`` photographs of one size; a photograph of another size begins the next. At their own sizes
    (``native``) a batch holds no more than ``LARGEST_BATCH`` pixels, or one photograph.

    Args:
        samples: what to load.
        recipe: applied to each.
        batch_size: largest number of photographs in a batch.
        workers: threads that decode ahead; 0 decodes in the caller's.
        gray_policy: ``drop`` passes over photographs that have no colour themselves.

    Yields:
        Batches; the last is empty where photographs were passed over after the one before.

    Raises:
        ValueError: for a batch size below 1 or a negative number of workers.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(f"batch size {batch_size} must be at least 1 and workers {workers} at least 0")
    pending = _Pending()
    for sample, answer in zip(samples, _ahead(samples, recipe, workers, batch_size), strict=True):
        if isinstance(answer, str):
            pending.skipped.append(SkippedPhotograph(sample.id, answer))
            continue
        if gray_policy == "drop" and answer.gray:
            pending.skipped.append(SkippedPhotograph(sample.id, "gray photograph, left out by policy"))
            continue
        if pending.loaded and pending.loaded[0].pixels.shape != answer.pixels.shape:
            yield pending.take()
        pending.loaded.append(answer)
        if len(pending.loaded) == batch_size or (recipe.mixed_sizes and not pending.takes_another()):
            yield pending.take()
    if pending.loaded or pending.skipped:
        yield pending.take()


def _ahead(samples: Sequence[Sample], recipe: Recipe, workers: int, batch_size: int) -> Iterator[_Loaded | str]:
    return map_ahead(lambda sample: _load(sample, recipe), samples, workers, batch_size + workers)


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int) -> Iterator[Result]:
    """Return ``function`` of every item in order, made by threads that are at most ``ahead`` items ahead.

    ``ThreadPoolExecutor.map`` would decode a whole dataset into memory. No workers: in the caller's thread.
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


def _load(sample: Sample, recipe: Recipe) -> _Loaded | str:
    try:
        photograph = decode(sample)
    except UnreadablePhotograph as error:
        return str(error)
    pixels = np.ascontiguousarray(recipe.apply(photograph.rgb))  # a crop would keep the whole picture alive
    height, width = photograph.rgb.shape[:2]
    return _Loaded(photograph.id, photograph.sha256, photograph.gray, photograph.label, (height, width), pixels)


def _channels_first(pictures: Sequence[np.ndarray]) -> Tensor:
    """(N, 3, h, w) of pictures (h, w, 3) of one size; (0, 3, 0, 0) of none."""
    h, w, _ = pictures[0].shape if pictures else (0, 0, 3)
    batch = np.empty((len(pictures), 3, h, w), np.uint8)
    for place, picture in enumerate(pictures):
        batch[place] = picture.transpose(2, 0, 1)
    return torch.from_numpy(batch)
