"""What a pass works on: tasks (a model under a protocol), shards in the making, and the claims on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from colorbench.data import Preprocessing, Sample, load_batches
from colorbench.data.loader import LoadedBatch
from colorbench.evaluation.config import ExecutionConfig, Save
from colorbench.evaluation.interfaces import BatchScores, ProtocolSpec, Scorer
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.evaluation.run_location import Located
from colorbench.models import LoadedModel
from colorbench.results.shard import SHARD
from colorbench.storage import Lock

Row = tuple[str, str, int | None, bool, tuple[int, int]]
"""id, sha256, label, gray, (H, W) of an evaluated image."""


@dataclass(frozen=True)
class EvaluationTask:
    """One model under one protocol, and where its record is made."""

    model: LoadedModel
    spec: ProtocolSpec
    scorer: Scorer
    folder: RunDirectory
    key: str
    save: Save
    located: Located
    """Its fingerprint and plan."""


@dataclass
class Evaluated:
    """What came of a batch."""

    rows: list[Row]
    skipped: list[tuple[str, str]]
    """(id, reason)."""
    scored: list[BatchScores | None]
    """Per task; None where no image was left."""
    observed: list[np.ndarray | None]
    """Per task: what ``units.observed`` gives."""
    seconds: list[dict[str, float]]
    """Per task, stage -> seconds of the thread that did it."""


@dataclass
class ShardJob:
    """A shard in the making: the tasks that lack it, and what they scored so far."""

    index: int
    samples: Sequence[Sample]
    tasks: list[EvaluationTask]
    locks: list[Lock]
    rows: list[Row] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    scored: list[list[BatchScores]] = field(default_factory=list)
    """Per task, per batch."""
    observed: list[list[np.ndarray]] = field(default_factory=list)
    """Per task, per batch."""
    seconds: list[dict[str, float]] = field(default_factory=list)
    """Per task, stage -> seconds."""

    def __post_init__(self) -> None:
        self.scored = [[] for _ in self.tasks]
        self.observed = [[] for _ in self.tasks]
        self.seconds = [defaultdict(float) for _ in self.tasks]

    def add(self, batch: Evaluated) -> None:
        """Add a batch."""
        self.rows += batch.rows
        self.skipped += batch.skipped
        for position, (scored, seconds) in enumerate(zip(batch.scored, batch.seconds, strict=True)):
            if scored is not None:
                self.scored[position].append(scored)
            if (statistics := batch.observed[position]) is not None:
                self.observed[position].append(statistics)
            for stage, spent in seconds.items():
                self.seconds[position][stage] += spent

    def release(self) -> None:
        """Give up the claims."""
        for lock in self.locks:
            lock.release()


def shard_samples(samples: Sequence[Sample], index: int) -> Sequence[Sample]:
    """Return the images of one shard."""
    return samples[index * SHARD : (index + 1) * SHARD]


def shard_count(count: int) -> int:
    """Return how many shards ``count`` images make."""
    return -(-count // SHARD)


def missing(tasks: Iterable[EvaluationTask], count: int) -> list[tuple[int, list[EvaluationTask]]]:
    """Return (shard, the tasks that lack it) for every shard of ``count`` images that is not complete."""
    done = [(task, task.folder.done()) for task in tasks if not task.folder.finished()]
    lacking = ((index, [task for task, there in done if index not in there]) for index in range(shard_count(count)))
    return [(index, lack) for index, lack in lacking if lack]


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
