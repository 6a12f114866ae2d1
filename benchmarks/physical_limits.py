"""Measure the limits of the machine: matrix products, memory traffic and image decoding."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from PIL import Image

from benchmarks.case import Limit, seconds
from colorbench.data import Sample

ROUNDS = 5
SIDE = 1536
"""Side of the matrices."""
NUMBERS = 1 << 24
"""Numbers that are copied, 64 MiB, more than caches hold."""


@dataclass(frozen=True)
class PhysicalLimits:
    """The highest measured rates of this machine."""

    matrix: float
    """Floating-point operations per second, float32, all threads of torch."""
    memory: float
    """Bytes per second that are read and written."""
    decode: float
    """Images per second that Pillow decodes, one thread per core."""

    def share(self, limit: Limit, work: float, spent: float) -> float:
        """Return the share of a limit that ``work`` in ``spent`` seconds reaches."""
        return float(work / spent / getattr(self, limit))


def measure_limits(samples: Sequence[Sample]) -> PhysicalLimits:
    """Measure the limits; the best of several rounds each."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    source, target = torch.randn(NUMBERS), torch.empty(NUMBERS)
    paths = [sample.path for sample in samples]

    def decode() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda path: Image.open(path).convert("RGB").load(), paths))

    def best(work: Callable[[], object]) -> float:
        work()
        return min(seconds(work) for _ in range(ROUNDS))

    return PhysicalLimits(
        matrix=2 * SIDE**3 / best(lambda: a @ b),
        memory=2 * 4 * NUMBERS / best(lambda: target.copy_(source)),
        decode=len(paths) / best(decode),
    )


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
