"""``colorbench.score``: scoring of stored predictions against ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from colorbench._api.arguments import Data, Protocol, as_dataset, by_protocol
from colorbench._api.errors_and_logging import LogProgress, python_errors
from colorbench.data import Dataset, GrayPolicy
from colorbench.errors import UserError
from colorbench.evaluation import ProgressListener, RunConfig
from colorbench.evaluation import run as run_config
from colorbench.evaluation.requested_models_and_protocols import as_protocol
from colorbench.processes import current_launch, temporary_folder
from colorbench.results import Record
from colorbench.results.record_list import Records


@overload
def score(
    predictions: Path | str,
    ground_truth: Data,
    protocols: list[Any] | tuple[Any, ...],
    *,
    parameters: Mapping[str, Any] | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    output: Path | str | None = None,
    listener: ProgressListener | None = None,
) -> Records: ...
@overload
def score(
    predictions: Path | str,
    ground_truth: Data,
    protocols: Protocol = "fidelity",
    *,
    parameters: Mapping[str, Any] | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    output: Path | str | None = None,
    listener: ProgressListener | None = None,
) -> Record: ...
@python_errors()
def score(
    predictions: Path | str,
    ground_truth: Data,
    protocols: Protocol | Sequence[Protocol] = "fidelity",
    *,
    parameters: Mapping[str, Any] | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    output: Path | str | None = None,
    listener: ProgressListener | None = None,
) -> Record | Records:
    """Score a folder of predictions against ground truth, without loading a model.

    Args:
        predictions: folder of color images, one for every image of the ground truth, under the same relative path;
            the suffix may differ.
        ground_truth: a folder, a ``Dataset``, or another source for ``open_dataset``.
        protocols: one protocol or a list, as for ``run``.
        parameters: parameters of the protocol, as for ``run``: ``{"preprocessing": "native"}``.
        gray_policy: ``keep`` or ``drop`` images without color.
        limit: evaluate this many images, a fixed random subset.
        output: output folder of the results with scores per image; None: they are only returned.
        listener: progress listener; None: messages go to the logger ``colorbench``.

    Returns:
        The record; a list of records if ``protocols`` is a list.

    Raises:
        UserError: for predictions that do not fit the images, and other errors that the caller can fix.
        RunError: for missing or unreadable predictions.

    Example:
        >>> import colorbench
        >>> record = colorbench.score("images/", "images/")
        >>> [round(metric.value, 2) for metric in record.metrics if metric.name in ("ciede2000", "ssim")]
        [0.0, 1.0]
    """
    given = tuple(protocols) if isinstance(protocols, list | tuple) else (protocols,)
    chosen = tuple(one if isinstance(one, str) else as_protocol(one) for one in given)
    records = scored(
        Path(predictions),
        as_dataset(ground_truth),
        chosen,
        by_protocol(parameters or {}, chosen),
        gray_policy=gray_policy,
        limit=limit,
        output=None if output is None else Path(output),
        listener=LogProgress() if listener is None else listener,
    )
    return Records(records) if isinstance(protocols, list | tuple) else records[0]


def scored(
    predictions: Path,
    ground_truth: Dataset,
    protocols: Sequence[Protocol],
    parameters: Mapping[str, Mapping[str, Any]],
    *,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    output: Path | None = None,
    listener: ProgressListener | None = None,
    command: tuple[str, ...] = (),
) -> list[Record]:
    """Score a folder of predictions without a model; see ``score``.

    Raises:
        UserError: as ``run``, for protocols that need a model, and for several processes without ``output``.
    """
    if output is None and current_launch().processes > 1:
        raise UserError("several processes need a folder that they share", hint="give --output")
    with temporary_folder("colorbench-score-") as scratch:
        config = RunConfig(
            models=(f"images:{predictions}",),
            protocols=tuple(protocols),
            data=ground_truth,
            gray_policy=gray_policy,
            parameters=parameters,
            save="gallery" if output is not None else "none",
            output=Path(scratch) if output is None else output,
            baselines=False,
            limit=limit,
            device="cpu",
            command=command,
        )
        records = run_config(config, listener)
    if not records:
        raise UserError(
            f"{protocols[0]} needs participants, so it makes no record here", hint="see `colorbench study build`"
        )
    return records
