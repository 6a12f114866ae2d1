"""Unfinished shards during a pass: collection of their scores, and the claims of a process on shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from colorbench.data import LoadedBatch, Preprocessing, Sample, load_batches
from colorbench.evaluation.evaluation_tasks import EvaluationTask, Run
from colorbench.evaluation.protocol_interfaces import BatchScores
from colorbench.processes import Claim
from colorbench.results import Shard
from colorbench.results.shard import concatenated, shard_count, shard_samples

Row = tuple[str, str, int | None, bool, tuple[int, int]]
"""id, sha256, label, gray, (H, W) of an evaluated image."""


@dataclass
class Evaluated:
    """Results of a batch: skipped images, and scores per task."""

    rows: list[Row]
    skipped: list[tuple[str, str]]
    """(id, reason)."""
    scored: list[BatchScores | None]
    """Scores per task; None if no image was left."""
    observed: list[np.ndarray | None]
    """Unit statistics per task."""
    seconds: list[dict[str, float]]
    """Per task: stage -> seconds of the thread."""
    warms_up: list[bool]
    """Per task: whether this is its first batch in this process."""
    saved: list[dict[str, str]]
    """Per task: path -> sha256 of the images that were saved."""


@dataclass
class ShardJob:
    """An unfinished shard: the tasks that need it, and their scores so far."""

    index: int
    samples: Sequence[Sample]
    tasks: list[EvaluationTask]
    claims: list[Claim]
    rows: list[Row] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    scored: list[list[BatchScores]] = field(default_factory=list)
    """Lists per task and batch."""
    observed: list[list[np.ndarray]] = field(default_factory=list)
    """Lists per task and batch."""
    seconds: list[dict[str, float]] = field(default_factory=list)
    """Per task, stage -> seconds."""
    warm_up: list[tuple[int, float]] = field(default_factory=list)
    """Per task, see ``Shard.warm_up``."""
    saved: list[dict[str, str]] = field(default_factory=list)
    """Per task, see ``Shard.saved``."""

    def __post_init__(self) -> None:
        self.scored = [[] for _ in self.tasks]
        self.observed = [[] for _ in self.tasks]
        self.seconds = [defaultdict(float) for _ in self.tasks]
        self.warm_up = [(0, 0.0) for _ in self.tasks]
        self.saved = [{} for _ in self.tasks]

    def add(self, batch: Evaluated) -> None:
        """Add the results of a batch."""
        self.rows += batch.rows
        self.skipped += batch.skipped
        for position, (scored, seconds) in enumerate(zip(batch.scored, batch.seconds, strict=True)):
            if scored is not None:
                self.scored[position].append(scored)
            if (statistics := batch.observed[position]) is not None:
                self.observed[position].append(statistics)
            for stage, spent in seconds.items():
                self.seconds[position][stage] += spent
            self.saved[position] |= batch.saved[position]
            if batch.warms_up[position]:
                self.warm_up[position] = (len(batch.rows), sum(seconds.values()))

    def write(self) -> None:
        """Write the shard of every task, its rows in the order of the samples."""
        position = {sample.id: i for i, sample in enumerate(self.samples)}
        order = sorted(range(len(self.rows)), key=lambda i: position[self.rows[i][0]])
        rows = [self.rows[i] for i in order]
        results = zip(self.tasks, self.scored, self.observed, self.seconds, self.warm_up, self.saved, strict=True)
        for task, scored, seen, seconds, warm_up, saved in results:
            shard = Shard(
                ids=tuple(row[0] for row in rows),
                sha256s=tuple(row[1] for row in rows),
                labels=tuple(row[2] for row in rows),
                gray=tuple(row[3] for row in rows),
                sizes=tuple(row[4] for row in rows),
                columns=concatenated([part.columns for part in scored], order),
                arrays=concatenated([part.arrays for part in scored], order),
                skipped=tuple(self.skipped),
                seconds=dict(seconds),
                warm_up=warm_up,
                observed=np.concatenate(seen) if seen else None,
                saved=saved,
            )
            task.folder.write_shard(self.index, shard)

    def release(self) -> None:
        """End the claims."""
        for claim in self.claims:
            claim.release()


def missing(tasks: Iterable[EvaluationTask], count: int) -> list[tuple[int, list[EvaluationTask]]]:
    """Return (shard, tasks that need it) for every pending shard of ``count`` images."""
    done = [(task, task.folder.done()) for task in tasks if not task.folder.finished()]
    lacking = ((index, [task for task, there in done if index not in there]) for index in range(shard_count(count)))
    return [(index, lack) for index, lack in lacking if lack]


class Claims:
    """Claims of this process on shards, taken one by one and released when the shard is written or at the end."""

    def __init__(
        self, order: Sequence[tuple[int, list[EvaluationTask]]], run: Run, preprocessing: Preprocessing
    ) -> None:
        """Set the order of the shards to try, with the tasks that need them."""
        self.order, self.samples, self.preprocessing = order, run.dataset.samples, preprocessing
        self.settings = run.settings
        self._claimed: dict[int, ShardJob] = {}

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        for work in self._claimed.values():
            work.release()
        self._claimed.clear()

    def batches(self) -> Iterator[tuple[ShardJob, LoadedBatch | None]]:
        """Yield (shard, batch), and (shard, None) after the last batch of a shard."""
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
        """End the claims on a written shard and forget it, since large datasets have many."""
        work.release()
        self._claimed.pop(work.index, None)

    def _claim(self, index: int, lacking: list[EvaluationTask]) -> ShardJob | None:
        """Claim the shard for those tasks that still need it and that no other process computes."""
        tasks, claims = [], []
        for task in lacking:
            if task.folder.finished():
                continue
            if (claim := self.settings.claims.take(task.folder.shards, f"{index:05d}")) is None:
                continue
            if task.folder.has(index):
                claim.release()
                continue
            tasks.append(task)
            claims.append(claim)
        if not tasks:
            return None
        work = self._claimed[index] = ShardJob(index, shard_samples(self.samples, index), tasks, claims)
        return work
