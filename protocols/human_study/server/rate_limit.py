"""Rate limits: token buckets, in memory only."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 20_000
"""Maximum number of buckets; the least recently used are dropped."""


@dataclass(frozen=True)
class Rate:
    """A burst, and a long-term rate per second."""

    burst: float
    per_second: float


@dataclass(frozen=True)
class Rates:
    """Rate limits by kind of request."""

    arrivals: Rate = Rate(120, 2.0)
    """begin, consent, decline and preview, per address: enough for a whole classroom behind one address."""
    requests: Rate = Rate(60, 10.0)
    """All other requests, per participant."""
    stimuli: Rate = Rate(600, 20.0)
    """Images, per participant: enough for a few sessions, for reloads."""
    logins: Rate = Rate(5, 0.1)
    """Wrong credentials of the admin (form, cookie, Bearer, query), per address."""


class Limiter:
    """Token buckets by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, kind: str, who: str, rate: Rate, *, take: bool = True) -> float:
        """Return 0 and take one token (not without ``take``), or return the seconds until the next if there is none."""
        now = self._clock()
        left, then = self._buckets.pop((kind, who), (rate.burst, now))
        left = min(rate.burst, left + (now - then) * rate.per_second)
        allowed = left >= 1
        self._buckets[kind, who] = (left - 1 if allowed and take else left, now)
        while len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / rate.per_second
