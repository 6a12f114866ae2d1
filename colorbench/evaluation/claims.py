"""Claiming shards and decoding their images, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colorbench.data.dataset import Sample
from colorbench.data.loader import LoadedBatch, load_batches
from colorbench.data.preprocessing import Preprocessing
from colorbench.evaluation.config import ExecutionConfig
from colorbench.evaluation.shard_job import EvaluationTask, ShardJob, shard_samples


class Claims:
    """The shards that this process has claimed: taken one after another, given up when written or at the end."""

    def __init__(
        self,
        order: Sequence[tuple[int, list[EvaluationTask]]],
        samples: Sequence[Sample],
        preprocessing: Preprocessing,
        settings: ExecutionConfig,
    ) -> None:
        """Take the shards to try, with the tasks that lack them, in order."""
        self.order, self.samples, self.preprocessing, self.settings = order, samples, preprocessing, settings
        self._claimed: dict[int, ShardJob] = {}

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        for work in self._claimed.values():
            work.release()
        self._claimed.clear()

    def batches(self) -> Iterator[tuple[ShardJob, LoadedBatch | None]]:
        """Yield (shard, batch), and (shard, None) after a shard's last batch."""
        config = self.settings
        for index, lacking in self.order:
            if (work := self._claim(index, lacking)) is None:
                continue
            for batch in load_batches(
                work.samples,
                self.preprocessing,
                batch_size=config.batch_size,
                workers=config.workers,
                gray_policy=config.gray_policy,
            ):
                yield work, batch
            yield work, None

    def finished(self, work: ShardJob) -> None:
        """Give up the claims of a shard that is written, and forget it: a large set has many."""
        work.release()
        self._claimed.pop(work.index, None)

    def _claim(self, index: int, lacking: list[EvaluationTask]) -> ShardJob | None:
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
        work = self._claimed[index] = ShardJob(index, shard_samples(self.samples, index), tasks, locks)
        return work
