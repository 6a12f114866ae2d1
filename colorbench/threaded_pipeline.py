"""Pipeline of stages with bounded queues: prepare (thread) -> predict -> score (threads) -> write (thread).

``prepare`` is an iterator that a separate thread consumes in advance. ``predict`` runs in the caller's thread, one item
at a time, so that models need not be thread-safe; for models that are, several threads predict and score one item each.
``score`` runs in several threads, so that the device does not wait for the CPU. ``write`` runs in one thread and
receives the results in the order of the items. All queues are bounded: a slow stage blocks those before it, and memory
does not grow.
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
"""Maximum number of prepared items in the queue, so that one slow image does not block the device."""
POLL = 0.1
"""Seconds after which a waiting stage checks whether the run was stopped."""


class _Stopped(Exception):
    """Raised in a stage when another stage failed or the caller left."""


@dataclass(frozen=True)
class _End:
    """End marker of the prepared items, with the error that ended them, if any."""

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
    """Yield the items; closing it also closes the underlying generator."""
    yield from items


def run_pipeline(
    items: Iterable[Item],
    predict: Callable[[Item], Predicted],
    score: Callable[[Predicted], Scored],
    write: Callable[[Scored], None],
    *,
    scorers: int,
    predictors: int = 1,
) -> None:
    """Process every item by all stages of a threaded pipeline; return when the last one is written.

    Args:
        items: consumed by one thread, up to ``PREPARED`` in advance.
        predict: called in the caller's thread, in order; with several ``predictors``, by the threads that score.
        score: called by ``scorers`` threads at once.
        write: called by one thread, in the order of the items.
        scorers: number of scoring threads, at least 1.
        predictors: number of items that are predicted at once. If more than 1, so many threads take one item each
            through ``predict`` and ``score``, in place of ``scorers``.

    Raises:
        BaseException: the first error of any stage. Items written before it are kept.
    """
    apart = predictors == 1
    workers = scorers if apart else predictors
    stop = threading.Event()
    prepared: _Queue[Item | _End] = _Queue(PREPARED, stop)
    # As many predictions may wait as there are workers, in addition to those being scored.
    waiting: _Queue[Future[Scored] | None] = _Queue(2 * workers, stop)
    errors: list[BaseException] = []

    def prepare() -> None:
        with contextlib.suppress(_Stopped):
            try:
                # Closed here, not by garbage collection, since a generator may own threads and files.
                with contextlib.closing(_iterate(items)) as source:
                    for item in source:
                        prepared.put(item)
                prepared.put(_End())
            except Exception as error:  # raised again in the caller's thread, after the items before it
                prepared.put(_End(error))

    def both(item: Item) -> Scored:
        return score(predict(item))

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
    pool = ThreadPoolExecutor(workers, thread_name_prefix="colorbench-score")
    reader.start()
    writer.start()
    try:
        with contextlib.suppress(_Stopped):
            try:
                while not isinstance(item := prepared.get(), _End):
                    waiting.put(pool.submit(score, predict(item)) if apart else pool.submit(both, item))
                if item.error is not None:
                    raise item.error
            except Exception:
                # Earlier predictions are still scored and written, since they may complete a shard.
                waiting.put(None)
                writer.join()
                raise
            waiting.put(None)
            writer.join()
    finally:
        stop.set()
        # Scoring is short; a stage that still runs would write while the caller cleans up.
        pool.shutdown(wait=True, cancel_futures=True)
        reader.join()
        writer.join()
    if errors:
        raise errors[0]
