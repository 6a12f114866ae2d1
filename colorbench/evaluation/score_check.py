"""Checks of what a protocol gives: names that fit into the rows, and one number an image.

Names are checked before a pass, on the metrics and on the scores of one image; every batch is checked again, since a
protocol may give another batch other columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from colorbench.data.dataset import Sample
from colorbench.data.loader import load_batches
from colorbench.data.preprocessing import get_preprocessing
from colorbench.errors import RunError, UserError
from colorbench.evaluation.batch import GroundTruth, Prediction
from colorbench.evaluation.config import ExecutionConfig
from colorbench.evaluation.interfaces import BatchScores
from colorbench.evaluation.shard_job import EvaluationTask
from colorbench.registry import describe
from colorbench.results.metric_spec import COUNT, FIXED_COLUMNS, MetricSpec
from colorbench.storage.hashing import not_storable

MOST_TRIED = 64
"""Images that are tried until one can be read."""
_NAME = re.compile(r"\w(?:[\w .@+:/()=%-]{0,98}[\w)%])?")
_STATISTIC = re.compile(r"\.s\d+$")


def check_metrics(protocol: str, metrics: Sequence[MetricSpec]) -> None:
    """Refuse metrics whose columns could not be told apart, and bounds that no record can hold.

    Raises:
        UserError: naming the protocol and the metric.
    """
    names = [metric.name for metric in metrics]
    wrong = _wrong_name(names)
    if wrong is None and (twice := [name for name, count in Counter(names).items() if count > 1]):
        wrong = f"two metrics are called {twice[0]!r}"
    if wrong is None and (statistics := [name for name in names if _STATISTIC.search(name)]):
        wrong = f"the metric {statistics[0]!r} has the name of another metric's statistics"
    if wrong is not None:
        raise UserError(f"protocol {protocol}: {wrong}", hint="its author must choose other names")
    for metric in metrics:
        if (why := not_storable(vars(metric))) is not None:
            what = f"protocol {protocol}: the metric {metric.name!r} cannot be stored: {why}"
            raise UserError(what, hint="a record holds finite numbers and text")


def check_columns(protocol: str, columns: Iterable[str]) -> None:
    """Refuse columns whose names the rows cannot hold.

    Raises:
        RunError: naming the protocol and the column.
    """
    if (wrong := _wrong_name(columns)) is not None:
        raise RunError(f"protocol {protocol}: {wrong}", hint="its author must choose other names")


def check_scores(protocol: str, scored: BatchScores, count: int) -> None:
    """Refuse scores of a batch that the rows cannot hold.

    Args:
        protocol: its name.
        scored: what it gave.
        count: images in the batch.

    Raises:
        RunError: naming the protocol and the column or array.
    """
    check_columns(protocol, [*scored.columns, *scored.arrays])
    for name, values in (*scored.columns.items(), *scored.arrays.items()):
        if np.ndim(values) == 0 or len(values) != count:
            given = "one value" if np.ndim(values) == 0 else f"{len(values)} values"
            raise RunError(f"protocol {protocol} gave {given} of {name} for {count} images")
        if np.asarray(values).dtype.kind not in "biuf":
            raise RunError(f"protocol {protocol} gave {name} as {np.asarray(values).dtype}, not as numbers")
    for name, values in scored.columns.items():
        if np.ndim(values) != 1:
            raise RunError(f"protocol {protocol} gave column {name} in {np.ndim(values)} dimensions, not in one")


def check_statistics(protocol: str, metrics: Sequence[MetricSpec], columns: Iterable[str]) -> None:
    """Refuse rows from which a metric cannot be computed.

    Raises:
        RunError: naming the protocol and the column that is missing.
    """
    there = set(columns)
    for metric in metrics:
        for j in range(COUNT[metric.form]):
            if (name := f"{metric.name}.s{j}") not in there:
                hint = f"its scorer must give it in `columns`, or in the summary's `statistics`; form {metric.form}"
                raise RunError(f"protocol {protocol} gave no column {name}", hint=hint)


def check_scorers(tasks: Sequence[EvaluationTask], samples: Sequence[Sample], settings: ExecutionConfig) -> None:
    """Score a gray prediction of the first image that can be read, with every protocol of the unfinished tasks.

    That finds names that the rows cannot hold before hours of work, and loads what scoring needs (compiled routines, a
    classifier), so that the first model of a run is not charged for it.

    Raises:
        RunError: naming the protocol.
    """
    done: set[int] = set()
    images: dict[str, GroundTruth | None] = {}
    for task in tasks:
        if id(task.scorer) in done or task.folder.finished():
            continue
        done.add(id(task.scorer))
        preprocessing = task.scorer.preprocessing
        if preprocessing not in images:
            images[preprocessing] = _first_readable(samples, preprocessing, settings)
        if (truth := images[preprocessing]) is None:
            continue  # the pass will say that there are none
        try:
            scored = task.scorer.score(Prediction(truth, ab=torch.zeros_like(truth.ab)))
            check_scores(task.spec.name, scored, 1)
        except UserError:
            raise
        except Exception as error:
            what = f"protocol {task.spec.name} failed: {describe(error)}"
            raise RunError(what, where=f"image {truth.ids[0]}", hint="--debug shows where") from error


def _first_readable(samples: Sequence[Sample], preprocessing: str, settings: ExecutionConfig) -> GroundTruth | None:
    for sample in samples[:MOST_TRIED]:
        for batch in load_batches(
            [sample], get_preprocessing(preprocessing), batch_size=1, workers=0, gray_policy=settings.gray_policy
        ):
            if batch.ids:
                return GroundTruth(batch.ids, batch.rgb8.to(settings.device), batch.gray, batch.labels)
    return None


def _wrong_name(names: Iterable[str]) -> str | None:
    """What is wrong with a name of a column or metric; None where nothing is."""
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"{name!r} cannot be the name of a column: letters, digits and .@+:/()=%-_ only, at most 100"
        if name in FIXED_COLUMNS:
            return f"the column name {name!r} is taken: every row has {', '.join(FIXED_COLUMNS)}"
    return None
