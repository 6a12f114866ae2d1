"""Who is told how a run goes on."""

from __future__ import annotations

import time
from typing import Protocol


class ProgressListener(Protocol):
    """Hears how a run goes on; the command line draws it."""

    def started(self, total: int) -> None:
        """So many images are still to be evaluated."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """``n`` more images are done; speed since the start."""

    def message(self, text: str) -> None:
        """One line for people."""


class ThroughputMeter:
    """Counts images for the listener."""

    def __init__(self, listener: ProgressListener) -> None:
        self.listener, self.count, self.start = listener, 0, time.perf_counter()

    def advance(self, n: int) -> None:
        """``n`` more are done."""
        self.count += n
        self.listener.advanced(n, self.count / max(time.perf_counter() - self.start, 1e-9))


class NullProgress:
    """A listener that says nothing."""

    def started(self, total: int) -> None:
        """Nothing."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""
