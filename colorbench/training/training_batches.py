"""Order of the training images, and preparation of batches in advance.

The batch of a step depends on seed and step only. A resumed training therefore uses the same batches as an
uninterrupted one, and processes that share a batch agree on it without communication.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.training.image_cache import cut_rgb
from colorbench.training.training_preset import TrainingPreset

AHEAD = 3
"""Number of batches that one thread prepares in advance."""


class Order:
    """Endless sequence of images: in each round every image once in a new random order."""

    def __init__(self, indices: np.ndarray, preset: TrainingPreset, steps: int, seed: int) -> None:
        """Set up the order; an index that occurs several times is drawn that often in each round."""
        self.indices, self.preset, self.steps, self.seed = indices, preset, steps, seed
        # Position of the first step of each phase in the endless order.
        self._begins: list[tuple[int, int, int]] = []
        seen = first = 0
        for view, following in zip(preset.views, [*(view.begin for view in preset.views[1:]), None], strict=True):
            self._begins.append((first, seen, view.batch_size))
            if following is not None:
                last = math.ceil(following * steps)
                seen, first = seen + (last - first) * view.batch_size, last
        self._round = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, round_: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1, round_]).permutation(self.indices)

    def at(self, step: int) -> np.ndarray:
        """Return the images of a step, (batch size,)."""
        first, seen, size = [begin for begin in self._begins if step >= begin[0]][-1]
        position = seen + (step - first) * size
        picked: list[np.ndarray] = []
        while size:
            round_, index = divmod(position, len(self.indices))
            piece = self._round(round_)[index : index + size]
            picked.append(piece)
            position, size = position + len(piece), size - len(piece)
        return np.concatenate(picked)

    def crops(self, step: int) -> np.random.Generator:
        """Return the random generator for the crops of a step."""
        return np.random.default_rng([self.seed, 2, step])


class Feed:
    """The micro-batches of this process, step by step, prepared in advance by a thread."""

    def __init__(
        self, pixels: np.ndarray, order: Order, *, parts: Sequence[tuple[int, int]], device: torch.device
    ) -> None:
        """Set up the feed; ``parts``: (number, of how many) for each micro-batch of this process in a step."""
        self.pixels, self.order, self.parts, self.device = pixels, order, parts, device
        self.waited = 0.0
        """Total seconds that steps had to wait."""
        self._pool = ThreadPoolExecutor(1, "images")
        self._made: dict[int, Future[list[Tensor]]] = {}

    def take(self, step: int) -> list[Tensor]:
        """Return the Lab micro-batches of a step, (n, 3, size, size) each, on the device."""
        started = time.perf_counter()
        for ahead in range(step, min(step + 1 + AHEAD, self.order.steps)):
            if ahead not in self._made:
                self._made[ahead] = self._pool.submit(self._make, ahead)
        batches = self._made.pop(step).result()
        self.waited += time.perf_counter() - started
        if self.device.type == "cpu":
            return batches
        return [rgb_to_lab(batch.to(self.device, non_blocking=True)) for batch in batches]

    def close(self) -> None:
        """Stop the thread and discard prepared batches."""
        for made in self._made.values():
            made.cancel()
        self._pool.shutdown(wait=True)
        self._made.clear()

    def _make(self, step: int) -> list[Tensor]:
        view = self.order.preset.view_at(step, self.order.steps)
        indices = self.order.at(step)
        batches = []
        for number, of in self.parts:
            size = len(indices) // of
            part = slice(number * size, (number + 1) * size)
            rgb = cut_rgb(self.pixels, indices, view, self.order.crops(step), part)
            # 8-bit pixels are a quarter of the bytes to transfer, and the device converts them to Lab faster than a
            # CPU.
            if self.device.type == "cpu":
                batches.append(rgb_to_lab(rgb))
            else:
                batches.append(rgb.pin_memory() if self.device.type == "cuda" else rgb)
        return batches
