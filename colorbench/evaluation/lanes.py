"""Lanes: threads that take a batch each, so that one is scored while another is in a network.

A network of many small steps leaves cores idle between them, and scoring a batch keeps one busy at most. Two lanes with
half of the threads each leave none idle. They work only where nothing forbids it: on a processor, and where every model
and protocol of the pass says ``thread_safe``. Answers come out in the order of the batches, whichever lane was first.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch

from colorbench.evaluation.work import Settings, Task
from colorbench.models.colorizer import ThreadSafe

Item = TypeVar("Item")
Answer = TypeVar("Answer")

LANES = 2
"""More would hold more batches in memory for little: two already keep each other's gaps filled."""


def lane_count(tasks: Sequence[Task], settings: Settings) -> int:
    """How many lanes a pass over these tasks may have."""
    if settings.device.type != "cpu" or settings.threads < LANES:
        return 1
    parts = [part for task in tasks for part in (task.model.colorizer, task.scorer)]
    return LANES if all(isinstance(part, ThreadSafe) and part.thread_safe for part in parts) else 1


class Lanes:
    """Does one piece of work on every item of a sequence; with one lane in the caller's own thread."""

    def __init__(self, count: int, threads: int) -> None:
        """``threads`` of torch are shared out evenly, since an answer may depend on their number in its last bit."""
        self.count, self.threads = count, threads
        self._pool: ThreadPoolExecutor | None = None
        self._last = threading.local()
        self._opened = time.perf_counter()

    def __enter__(self) -> Lanes:
        if self.count > 1:
            share = self.threads // self.count
            self._pool = ThreadPoolExecutor(self.count, "colorbench-lane", lambda: torch.set_num_threads(share))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            # Torch tells the number of the last thread that set one to those that come after.
            torch.set_num_threads(self.threads)

    def map(self, work: Callable[[Item, float], Answer], items: Iterable[Item]) -> Iterator[tuple[Item, Answer]]:
        """Each item with its answer, in order; ``work`` is also told how many seconds its lane stood idle before."""
        if self._pool is None:
            yield from ((item, self._done(work, item)) for item in items)
            return
        window: deque[tuple[Item, Future[Answer]]] = deque()
        for item in items:
            window.append((item, self._pool.submit(self._done, work, item)))
            while len(window) > self.count:  # one waits, so that no lane does
                item, future = window.popleft()
                yield item, future.result()
        for item, future in window:
            yield item, future.result()

    def _done(self, work: Callable[[Item, float], Answer], item: Item) -> Answer:
        idle = time.perf_counter() - getattr(self._last, "moment", self._opened)
        try:
            with torch.no_grad():  # gradients are switched off for each thread by itself
                return work(item, idle)
        finally:
            self._last.moment = time.perf_counter()
