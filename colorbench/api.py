"""For notebooks: ``colorbench.run`` and ``colorbench.load_model``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colorbench.data.dataset import Dataset
from colorbench.data.loading import GrayPolicy
from colorbench.data.sources import open_dataset
from colorbench.evaluation.pictures import Save
from colorbench.evaluation.record import Record
from colorbench.evaluation.request import RunRequest
from colorbench.evaluation.run import run as run_request
from colorbench.models.loading import LoadedModel, load_model

__all__ = ["load_model", "run"]


def run(
    model: str | LoadedModel,
    protocol: str = "auc",
    data: Dataset | Path | str | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    decode: str | None = None,
    temperature: float | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    workers: int | None = None,
    save: Save = "gallery",
    output: Path | str = "runs",
    anchors: bool = True,
) -> Record:
    """Measure one model under one protocol.

    Args:
        model: a name, or what ``load_model`` gave.
        protocol: a name, with a preset or not.
        data: a folder or another source that ``--data`` takes; None: the packaged photographs.
        parameters: of the protocol.
        decode, temperature: of a model that predicts a distribution.
        gray_policy, limit, seed, batch_size, device, dtype, threads, workers, save, output, anchors: as the flags
            of ``colorbench run``.

    Raises:
        UserError: for anything that the caller can mend.

    Example:
        >>> import colorbench
        >>> record = colorbench.run("zoo/gray", "auc", "photographs/", anchors=False)
        >>> [metric.name for metric in record.metrics]
        ['auc_raw', 'auc_rebalanced', 'auc_rebalanced_stable']
    """
    dataset = data if isinstance(data, Dataset) else open_dataset(None if data is None else str(data))
    request = RunRequest(
        models=(model,),
        protocols=(protocol,),
        data=dataset,
        gray_policy=gray_policy,
        parameters={} if parameters is None else {protocol: parameters},
        decode=decode,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        threads=threads,
        workers=workers,
        save=save,
        output=Path(output),
        anchors=anchors,
        limit=limit,
    )
    return run_request(request)[0]
