"""How much anybody may ask for: token buckets, kept in memory only."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 20_000
"""Buckets at a time; the longest unused are forgotten."""


@dataclass(frozen=True)
class Rate:
    """So many at once, and so many a second in the long run."""

    burst: float
    per_second: float


@dataclass(frozen=True)
class Rates:
    """Who may ask for what, how often."""

    arrivals: Rate = Rate(120, 2.0)
    """begin, consent, decline and preview, an address: a whole classroom behind one address at once."""
    requests: Rate = Rate(60, 10.0)
    """Everything that a participant's page sends."""
    stimuli: Rate = Rate(600, 20.0)
    """Images, a participant: a few sessions' worth, for reloads."""
    logins: Rate = Rate(5, 0.1)
    """Attempts at the admin's token, an address."""


class Limiter:
    """Token buckets by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, kind: str, who: str, rate: Rate) -> float:
        """Take one; 0 if it was there, else the seconds until there is one."""
        now = self._clock()
        left, then = self._buckets.pop((kind, who), (rate.burst, now))
        left = min(rate.burst, left + (now - then) * rate.per_second)
        allowed = left >= 1
        self._buckets[kind, who] = (left - 1 if allowed else left, now)
        while len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / rate.per_second
