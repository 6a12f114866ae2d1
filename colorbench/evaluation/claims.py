"""Claiming shards and decoding their images, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colorbench.data.dataset import Sample
from colorbench.data.loader import LoadedBatch, load_batches
from colorbench.data.preprocessing import Recipe
from colorbench.evaluation.config import Settings
from colorbench.evaluation.shard_job import Task, Work, shard_samples


class Claims:
    """The shards that this process has claimed: taken one after another, given up when written or at the end."""

    def __init__(
        self, order: Sequence[tuple[int, list[Task]]], samples: Sequence[Sample], recipe: Recipe, settings: Settings
    ) -> None:
        """Take the shards to try, with the tasks that lack them, in order."""
        self.order, self.samples, self.recipe, self.settings = order, samples, recipe, settings
        self._claimed: dict[int, Work] = {}

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        for work in self._claimed.values():
            work.release()
        self._claimed.clear()

    def batches(self) -> Iterator[tuple[Work, LoadedBatch | None]]:
        """Yield (shard, batch), and (shard, None) after a shard's last batch."""
        config = self.settings
        for index, lacking in self.order:
            if (work := self._claim(index, lacking)) is None:
                continue
            for batch in load_batches(
                work.samples,
                self.recipe,
                batch_size=config.batch_size,
                workers=config.workers,
                gray_policy=config.gray_policy,
            ):
                yield work, batch
            yield work, None

    def finished(self, work: Work) -> None:
        """Give up the claims of a shard that is written, and forget it: a large set has many."""
        work.release()
        self._claimed.pop(work.index, None)

    def _claim(self, index: int, lacking: list[Task]) -> Work | None:
        """Claim the shard for those tasks that still lack it and that no other process works on."""
        tasks, locks = [], []
        for task in lacking:
            if task.folder.finished() or (lock := task.folder.lock(f"{index:05d}")) is None:
                continue
            if task.folder.has(index):
                lock.release()
                continue
            tasks.append(task)
            locks.append(lock)
        if not tasks:
            return None
        work = self._claimed[index] = Work(index, shard_samples(self.samples, index), tasks, locks)
        return work
