"""Timing helpers for benchmarks: two functions in turn in one process, with medians and their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(
    ours: Callable[[], object], reference: Callable[[], object], *, rounds: int = 30, repeats: int = 1
) -> tuple[float, float]:
    """Return the median seconds per call of both functions, called in turn, so that drift affects both equally.

    With ``repeats``, a turn consists of so many calls; the first is left out, since its code and tables are not in the
    caches, which dominates the time of very short work.
    """
    ours(), reference()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, kept in zip((ours, reference), times, strict=True):
            turn = [seconds(work) for _ in range(repeats)]
            kept += turn[1:] or turn
    return statistics.median(times[0]), statistics.median(times[1])


def report(what: str, ours: float, reference: float, opponent: str, aim: float) -> None:
    """Print one line with both times, their ratio and the aim."""
    ratio = reference / ours
    verdict = "reached" if ratio >= aim else "MISSED"
    times = f"{ours * 1e3:.3f} ms; {opponent}: {reference * 1e3:.3f} ms"
    print(f"{what}: {times}; {ratio:.1f} times faster (aim {aim:g}, {verdict})")
