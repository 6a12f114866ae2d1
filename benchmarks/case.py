"""One comparison of the performance suite: a part of colorbench and an alternative with the same result."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Limit = Literal["matrix", "memory", "decode"]
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """Two functions with the same result, to be timed in turn in one process."""

    name: str
    ours: Callable[[], object]
    alternative: str
    reference: Callable[[], object]
    aim: float = 1.0
    """Smallest ratio of the alternative's time to ours that is aimed at."""
    limit: Limit | None = None
    """Limit of the machine that applies: matrix products, memory traffic, or decoding on all cores."""
    work: float = 0.0
    """Amount of our work in the unit of the limit: floating-point operations, bytes, or images."""


@dataclass(frozen=True)
class Timing:
    """Medians of one case."""

    case: Case
    ours: float
    """Seconds."""
    reference: float
    """Seconds."""
    ours_peak: float | None
    """MiB above the memory before a call; None if the system does not report it."""
    reference_peak: float | None

    @property
    def ratio(self) -> float:
        """The alternative's time over ours."""
        return self.reference / self.ours


def measure(case: Case, budget: float) -> Timing:
    """Time both functions of a case in turn, after one call of each, for about ``budget`` seconds."""
    ours_peak, reference_peak = peak(case.ours), peak(case.reference)  # also loads and compiles what is needed
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + budget
    while len(times) < LEAST_ROUNDS or time.perf_counter() < end:
        times.append((seconds(case.ours), seconds(case.reference)))
        if len(times) >= LEAST_ROUNDS and sum(times[-1]) > budget:
            break
    ours, reference = (statistics.median(column) for column in zip(*times, strict=True))
    return Timing(case, ours, reference, ours_peak, reference_peak)


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak(work: Callable[[], object]) -> float | None:
    """Return the peak memory of a call above the memory before it, in MiB; None where it cannot be read (Linux only).

    The second of two calls is measured, since the first may load libraries.
    """
    work()
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # otherwise memory that an earlier call freed is used again
        Path("/proc/self/clear_refs").write_text("5")  # resets the highest memory so far
        before = _memory("VmRSS")
        work()
        return max(0.0, _memory("VmHWM") - before)
    except (OSError, AttributeError):
        return None


def _memory(name: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024
