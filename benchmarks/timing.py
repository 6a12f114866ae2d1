"""Timing for the benchmarks: two ways in turn in one process, the median of each, and their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 30) -> tuple[float, float]:
    """Median seconds of both, called in turn, so that a machine whose speed drifts treats them alike."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def report(what: str, ours: float, theirs: float, opponent: str, aim: float) -> None:
    """One line: both times, their ratio and the aim."""
    ratio = theirs / ours
    verdict = "reached" if ratio >= aim else "MISSED"
    times = f"{ours * 1e3:.3f} ms; {opponent}: {theirs * 1e3:.3f} ms"
    print(f"{what}: {times}; {ratio:.1f} times faster (aim {aim:g}, {verdict})")
