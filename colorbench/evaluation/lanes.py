"""Lanes: threads that take a batch each, so that one is scored while another is in a network.

A network of many small steps leaves cores idle between them, and scoring a batch keeps one busy at most. Two lanes with
half of the threads each leave hardly any idle. They work only where nothing forbids it: on a processor, and where every
model and protocol of the pass says ``thread_safe``. Answers come out in the order of the batches, whichever lane was
first. A network's last bit may depend on its threads, so a record tells the lanes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

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
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        # Not a ThreadPoolExecutor: Python waits for its threads at the end, so that a slow model would outlive Ctrl-C.
        self._lanes = [
            threading.Thread(target=self._serve, name=f"colorbench-lane-{i}", daemon=True)
            for i in range(count if count > 1 else 0)
        ]

    def __enter__(self) -> Lanes:
        for lane in self._lanes:
            lane.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for _ in self._lanes:
            self._jobs.put(None)
        for lane in self._lanes:
            if not isinstance(error, KeyboardInterrupt):
                lane.join()
        # Torch tells the number of the last thread that set one to those that come after.
        torch.set_num_threads(self.threads)

    def map(self, work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[tuple[Item, Answer]]:
        """Each item with its answer, in order. Where ``items`` end in an error, what was taken is finished first."""
        if not self._lanes:
            yield from ((item, work(item)) for item in items)
            return
        window: deque[tuple[Item, Future[Answer]]] = deque()
        source, failure = iter(items), None
        while failure is None:
            try:
                item = next(source)
            except StopIteration:
                break
            except BaseException as error:  # raised again below
                failure = error
                break
            window.append((item, self._begin(work, item)))
            while window and (len(window) > self.count or window[0][1].done()):  # one waits, so that no lane does
                yield _first(window)
        # Ctrl-C waits for nothing, but what is finished is kept then, too.
        while window and (not isinstance(failure, KeyboardInterrupt) or window[0][1].done()):
            yield _first(window)
        if failure is not None:
            raise failure

    def _begin(self, work: Callable[[Item], Answer], item: Item) -> Future[Answer]:
        future: Future[Answer] = Future()

        def job() -> None:
            try:
                future.set_result(work(item))
            except BaseException as error:  # raised again by whoever asks for the answer
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def _serve(self) -> None:
        torch.set_num_threads(self.threads // self.count)
        with torch.no_grad():  # gradients are switched off for each thread by itself
            while (job := self._jobs.get()) is not None and not self._stop.is_set():
                job()


def _first(window: deque[tuple[Any, Future[Any]]]) -> tuple[Any, Any]:
    item, future = window.popleft()
    return item, future.result()
