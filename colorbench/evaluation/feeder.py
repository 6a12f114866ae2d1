"""Decoding ahead: a thread that claims shards and loads their photographs while the networks work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

from colorbench.data.dataset import Sample
from colorbench.data.loading import LoadedBatch, load_batches
from colorbench.data.recipes import Recipe
from colorbench.evaluation.work import Settings, Task, Work, shard_samples

AHEAD = 3
"""Decoded batches that may wait: enough that neither side waits for a single slow photograph."""


class Feeder:
    """Claims shards and decodes their photographs in a thread of its own, a few batches ahead.

    Iterating gives (shard, batch), and (shard, None) after a shard's last batch.
    """

    def __init__(
        self, order: Sequence[tuple[int, list[Task]]], samples: Sequence[Sample], recipe: Recipe, settings: Settings
    ) -> None:
        self.order, self.samples, self.recipe, self.settings = order, samples, recipe, settings
        self._queue: queue.Queue[tuple[Work, LoadedBatch | None] | BaseException | None] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._claimed: dict[int, Work] = {}
        self._thread = threading.Thread(target=self._feed, name="colorbench-feeder", daemon=True)

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for work in self._claimed.values():
            work.release()

    def __iter__(self) -> Iterator[tuple[Work, LoadedBatch | None]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def finished(self, work: Work) -> None:
        """Give up the claims of a shard that is written, and forget it: a large set has many."""
        work.release()
        self._claimed.pop(work.index, None)

    def _feed(self) -> None:
        try:
            for index, lacking in self.order:
                if (work := self._claim(index, lacking)) is None:
                    continue
                for batch in self._batches(work):
                    self._put((work, batch))
                    if self._stop.is_set():
                        return
                self._put((work, None))
            self._put(None)
        except BaseException as error:  # raised again by the thread that consumes
            self._put(error)

    def _batches(self, work: Work) -> Iterator[LoadedBatch]:
        s = self.settings
        return load_batches(
            work.samples, self.recipe, batch_size=s.batch_size, workers=s.workers, gray_policy=s.gray_policy
        )

    def _claim(self, index: int, lacking: list[Task]) -> Work | None:
        """The shard for those tasks that still lack it and that no other process is at."""
        tasks, locks = [], []
        for task in lacking:
            if self._stop.is_set() or task.folder.finished() or (lock := task.folder.lock(f"{index:05d}")) is None:
                continue
            if task.folder.has(index):
                lock.release()
                continue
            tasks.append(task)
            locks.append(lock)
        if not tasks:
            return None
        work = Work(index, shard_samples(self.samples, index), tasks, locks)
        self._claimed[index] = work
        return work

    def _put(self, item: tuple[Work, LoadedBatch | None] | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
