"""The one pass: every photograph is decoded once, colorized once by each model, scored by every protocol.

    files -> batches (threads) -> truth Lab -> each model's answer -> Colorization -> each scorer -> shard

A feeder thread claims shards and decodes ahead; lanes colorize and score, a batch each; this thread collects in order
and writes. Neither a shard's limits nor its contents depend on the number of processes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from colorbench.data.dataset import Sample
from colorbench.data.loading import LoadedBatch
from colorbench.data.recipes import Recipe
from colorbench.evaluation.aggregate import concatenated
from colorbench.evaluation.answers import colorize
from colorbench.evaluation.feeder import Feeder
from colorbench.evaluation.lanes import Lanes
from colorbench.evaluation.pictures import keep_predictions, keep_thumbnails
from colorbench.evaluation.protocol import Colorization, ScoredBatch, Truth
from colorbench.evaluation.residents import Residents
from colorbench.evaluation.score_check import check_scores
from colorbench.evaluation.store import Shard
from colorbench.evaluation.stored_predictions import prediction_columns
from colorbench.evaluation.units import observed
from colorbench.evaluation.work import Evaluated, Settings, Task, Work, missing
from colorbench.memory import release_freed_memory
from colorbench.models.stored import StoredPictures


class Listener(Protocol):
    """Hears how a run goes on; the command line draws it."""

    def started(self, total: int) -> None:
        """So many photographs are still to be evaluated."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """``n`` more photographs are done; speed since the start."""

    def message(self, text: str) -> None:
        """One line for people."""


def run_pass(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    recipe: Recipe,
    settings: Settings,
    progress: Progress,
    residents: Residents,
) -> int:
    """Make the missing shards of tasks that share a recipe, but for those that another process holds.

    Returns:
        How many shards were written.

    Raises:
        RunError: a model's wrong answer, a full disk. Finished shards stay.
    """
    written = 0
    order = in_order(tasks, len(samples), settings)
    clock = _Clock(settings.lanes)

    def evaluate(item: tuple[Work, LoadedBatch | None]) -> Evaluated | None:
        work, batch = item
        if batch is None:
            return None
        with clock.working():
            return _evaluate(work.tasks, batch, recipe, settings, residents)

    with Feeder(order, samples, recipe, settings) as feeder, Lanes(settings.lanes, settings.threads) as lanes:
        for (work, _), evaluated in lanes.map(evaluate, feeder):
            if evaluated is None:
                with clock.stopped():
                    _write(work)
                feeder.finished(work)
                release_freed_memory()
                written += 1
            else:
                work.add(evaluated, settings.lanes, clock.idle())
                progress.advance(len(evaluated.rows) + len(evaluated.skipped))
    return written


class _Clock:
    """Tells how long lanes stood still: the time in which one had nothing to do counts as its share of all lanes."""

    def __init__(self, lanes: int) -> None:
        self._lanes, self._working, self._stopped = lanes, 0, False
        self._idle, self._told, self._last = 0.0, 0.0, time.perf_counter()
        self._lock = threading.Lock()

    def idle(self) -> float:
        """Seconds since the last call."""
        with self._lock:
            self._go_on()
            new, self._told = self._idle - self._told, self._idle
        return new

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """What a lane does."""
        self._change(working=1)
        try:
            yield
        finally:
            self._change(working=-1)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Time that is nobody's idleness."""
        self._change(stopped=True)
        try:
            yield
        finally:
            self._change(stopped=False)

    def _change(self, working: int = 0, stopped: bool | None = None) -> None:
        with self._lock:
            self._go_on()
            self._working += working
            self._stopped = self._stopped if stopped is None else stopped

    def _go_on(self) -> None:
        now = time.perf_counter()
        if not self._stopped:
            self._idle += (now - self._last) * (1 - self._working / self._lanes)
        self._last = now


def in_order(tasks: Sequence[Task], count: int, settings: Settings) -> list[tuple[int, list[Task]]]:
    """The missing shards: every w-th first, which are this process's own, then the others', from the far end.

    Processes that start at different moments see different shards missing, so that no fixed part would cover all.
    """
    work = missing(tasks, count)
    own = work[settings.rank :: settings.processes]
    mine = {index for index, _ in own}
    return own + [entry for entry in reversed(work) if entry[0] not in mine]


class Progress:
    """Counts photographs for the listener."""

    def __init__(self, listener: Listener) -> None:
        self.listener, self.count, self.start = listener, 0, time.perf_counter()

    def advance(self, n: int) -> None:
        """``n`` more are done."""
        self.count += n
        self.listener.advanced(n, self.count / max(time.perf_counter() - self.start, 1e-9))


def _evaluate(
    tasks: Sequence[Task], batch: LoadedBatch, recipe: Recipe, settings: Settings, residents: Residents
) -> Evaluated:
    """Colorize a batch with every model and score it with every protocol."""
    evaluated = Evaluated(
        rows=list(zip(batch.ids, batch.sha256s, batch.labels, batch.gray, batch.sizes, strict=True)),
        skipped=[(one.id, one.reason) for one in batch.skipped],
        scored=[None] * len(tasks),
        observed=[None] * len(tasks),
        seconds=[{} for _ in tasks],
    )
    if not batch.ids:
        return evaluated
    begun = time.perf_counter()
    truth = truth_of(batch, settings)
    _ = truth.lightness  # every model needs it: made before the first one's time is taken
    for seconds in evaluated.seconds:
        seconds["prepare"] = time.perf_counter() - begun
    by_model: dict[int, list[int]] = {}
    for place, task in enumerate(tasks):
        by_model.setdefault(id(task.model), []).append(place)
    for places in by_model.values():
        begun = time.perf_counter()
        model = tasks[places[0]].model
        ask = partial(colorize, model, truth, batch.sizes, settings.seed, recipe.name, settings.dtype)
        colorization = residents.work(model, ask)
        colorized = time.perf_counter()
        seen = observed(colorization)
        for place in places:
            evaluated.observed[place] = seen
            evaluated.seconds[place]["colorize"] = colorized - begun
            evaluated.scored[place] = _score(tasks[place], colorization, settings, evaluated.seconds[place])
    return evaluated


def truth_of(batch: LoadedBatch, settings: Settings) -> Truth:
    """The photographs of a batch on the run's device."""
    return Truth(batch.ids, batch.rgb8.to(settings.device), batch.gray, batch.labels, batch.sha256s)


def _score(task: Task, colorization: Colorization, settings: Settings, seconds: dict[str, float]) -> ScoredBatch:
    costs = colorization.truth.costs
    costs.begin()
    begun = time.perf_counter()
    scored = task.scorer.score(colorization)
    check_scores(task.spec.name, scored, len(colorization.truth.ids))
    if isinstance(task.model.colorizer, StoredPictures):
        scored = replace(scored, columns={**scored.columns, **prediction_columns(colorization)})
    scored_at, seconds["score"] = time.perf_counter(), time.perf_counter() - begun + costs.charged
    costs.begin()
    if task.save != "none":
        keep_thumbnails(task.folder, colorization, settings.gallery)
    if task.save == "predictions":
        keep_predictions(task.folder, colorization, settings.predictions)
    seconds["write"] = time.perf_counter() - scored_at + costs.charged
    return scored


def _write(work: Work) -> None:
    """Write the shard of every task, its rows in the order of the samples."""
    place_of = {sample.id: place for place, sample in enumerate(work.samples)}
    order = sorted(range(len(work.rows)), key=lambda i: place_of[work.rows[i][0]])
    rows = [work.rows[i] for i in order]
    for task, scored, seen, seconds in zip(work.tasks, work.scored, work.observed, work.seconds, strict=True):
        shard = Shard(
            ids=tuple(row[0] for row in rows),
            sha256s=tuple(row[1] for row in rows),
            labels=tuple(row[2] for row in rows),
            gray=tuple(row[3] for row in rows),
            sizes=tuple(row[4] for row in rows),
            columns=concatenated([part.columns for part in scored], order),
            arrays=concatenated([part.arrays for part in scored], order),
            skipped=tuple(work.skipped),
            seconds=dict(seconds),
            observed=np.concatenate(seen) if seen else None,
        )
        task.folder.write_shard(work.index, shard)
