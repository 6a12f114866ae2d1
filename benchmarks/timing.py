"""Timing for the benchmarks: two ways in turn in one process, the median of each, and their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(
    ours: Callable[[], object], reference: Callable[[], object], *, rounds: int = 30, repeats: int = 1
) -> tuple[float, float]:
    """Median seconds of a call of both, in turn, so that a machine whose speed drifts treats them alike.

    With ``repeats``, a turn is so many calls in a row, of which the first is left out: it finds its code and tables
    gone from the caches, which for work of a tenth of a millisecond is most of its time.
    """
    ours(), reference()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, kept in zip((ours, reference), times, strict=True):
            turn = [seconds(work) for _ in range(repeats)]
            kept += turn[1:] or turn
    return statistics.median(times[0]), statistics.median(times[1])


def report(what: str, ours: float, reference: float, opponent: str, aim: float) -> None:
    """One line: both times, their ratio and the aim."""
    ratio = reference / ours
    verdict = "reached" if ratio >= aim else "MISSED"
    times = f"{ours * 1e3:.3f} ms; {opponent}: {reference * 1e3:.3f} ms"
    print(f"{what}: {times}; {ratio:.1f} times faster (aim {aim:g}, {verdict})")
