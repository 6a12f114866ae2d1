"""Stages of work joined by bounded queues: prepare (threads) -> predict (one thread) -> score (threads) -> write.

``prepare`` is an iterator that a thread of its own consumes ahead. ``predict`` runs in the caller's thread, one item at
a time, so that nothing is asked of a model and a device has one user. ``score`` runs in several threads, so that the
device does not wait for the processor. ``write`` runs in one thread and sees the results in the order of the items.
Every queue is bounded: a slow stage holds up those before it and memory does not grow.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Predicted = TypeVar("Predicted")
Scored = TypeVar("Scored")

PREPARED = 3
"""Prepared items that may wait: enough that one slow image does not hold up the device."""
POLL = 0.1
"""Seconds after which a stage that waits looks whether the run was stopped."""


class _Stopped(Exception):
    """Another stage failed or the caller left: this one ends without a word."""


@dataclass(frozen=True)
class _End:
    """The last of the prepared items, and the error that ended them."""

    error: Exception | None = None


class _Queue(Generic[Item]):
    """A bounded queue whose waiting ends when the pipeline stops."""

    def __init__(self, size: int, stop: threading.Event) -> None:
        self._queue: queue.Queue[Item] = queue.Queue(size)
        self._stop = stop

    def put(self, item: Item) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=POLL)
            except queue.Full:
                continue
        raise _Stopped

    def get(self) -> Item:
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=POLL)
            except queue.Empty:
                continue
        raise _Stopped


def _iterate(items: Iterable[Item]) -> Generator[Item]:
    """Yield the items; closing it closes a generator that it takes them from."""
    yield from items


def run_pipeline(
    items: Iterable[Item],
    predict: Callable[[Item], Predicted],
    score: Callable[[Predicted], Scored],
    write: Callable[[Scored], None],
    *,
    scorers: int,
) -> None:
    """Send every item through the stages; return when the last one is written.

    Args:
        items: consumed by one thread, ``PREPARED`` ahead.
        predict: called in the caller's thread, in order.
        score: called by ``scorers`` threads at once.
        write: called by one thread, in the order of the items.
        scorers: number of scoring threads, at least 1.

    Raises:
        BaseException: the first error of any stage, as it was raised there. Items written before it stay written.
    """
    stop = threading.Event()
    prepared: _Queue[Item | _End] = _Queue(PREPARED, stop)
    # As many predictions may wait as there are scorers, beside those being scored.
    waiting: _Queue[Future[Scored] | None] = _Queue(2 * scorers, stop)
    errors: list[BaseException] = []

    def prepare() -> None:
        with contextlib.suppress(_Stopped):
            try:
                # Closed here, not when it is collected: a generator may hold threads and files.
                with contextlib.closing(_iterate(items)) as source:
                    for item in source:
                        prepared.put(item)
                prepared.put(_End())
            except Exception as error:  # raised again in the caller's thread, after what came before it
                prepared.put(_End(error))

    def store() -> None:
        try:
            while (future := waiting.get()) is not None:
                write(future.result())
        except _Stopped:
            pass
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)
            stop.set()

    reader = threading.Thread(target=prepare, name="colorbench-prepare", daemon=True)
    writer = threading.Thread(target=store, name="colorbench-write", daemon=True)
    pool = ThreadPoolExecutor(scorers, thread_name_prefix="colorbench-score")
    reader.start()
    writer.start()
    try:
        with contextlib.suppress(_Stopped):
            try:
                while not isinstance(item := prepared.get(), _End):
                    waiting.put(pool.submit(score, predict(item)))
                if item.error is not None:
                    raise item.error
            except Exception:
                # What was predicted before is scored and written: it may complete a shard.
                waiting.put(None)
                writer.join()
                raise
            waiting.put(None)
            writer.join()
    finally:
        stop.set()
        # Scoring is short; a stage that is left behind would write while the caller cleans up.
        pool.shutdown(wait=True, cancel_futures=True)
        reader.join()
        writer.join()
    if errors:
        raise errors[0]
