"""What a pass works on: tasks (a model under a protocol), and shards in the making."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from colorbench.data.dataset import Sample
from colorbench.evaluation.config import Save
from colorbench.evaluation.interfaces import BatchScores, ProtocolSpec, Scorer
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.models.loading import LoadedModel
from colorbench.results.shard import SHARD
from colorbench.storage.lock import Lock

if TYPE_CHECKING:
    from colorbench.evaluation.run_location import Located


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
    """The images of one shard."""
    return samples[index * SHARD : (index + 1) * SHARD]


def shard_count(count: int) -> int:
    """How many shards ``count`` images make."""
    return -(-count // SHARD)


def missing(tasks: Iterable[EvaluationTask], count: int) -> list[tuple[int, list[EvaluationTask]]]:
    """(shard, the tasks that lack it) for every shard of ``count`` images that is not complete."""
    done = [(task, task.folder.done()) for task in tasks if not task.folder.finished()]
    lacking = ((index, [task for task, there in done if index not in there]) for index in range(shard_count(count)))
    return [(index, lack) for index, lack in lacking if lack]
