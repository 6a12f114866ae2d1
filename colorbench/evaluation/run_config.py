"""Configuration of a run (``RunConfig``) and of its execution (``ExecutionConfig``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from colorbench.data import Dataset, GrayPolicy, prediction_names
from colorbench.data.batch_loader import decoding_threads
from colorbench.errors import UserError
from colorbench.evaluation import devices_and_memory
from colorbench.models import LoadedModel
from colorbench.processes import Launch, WorkClaims
from colorbench.results import fixed_ids

Save = Literal["none", "gallery", "predictions"]
LEVELS: tuple[Save, ...] = get_args(Save)
"""Levels of saved images, each including those before it."""
BATCH_SIZE = 16


@dataclass(frozen=True)
class RunConfig:
    """Configuration of one command: all arguments of ``colorbench run``."""

    models: Sequence[str | LoadedModel | object]
    protocols: Sequence[str | object]
    """Names, optionally with a preset (``auc``, ``auc@cic2016``), or objects or classes with a ``spec``."""
    data: Dataset
    """Dataset of the evaluation: the role ``test``."""
    roles: Mapping[str, Dataset] = field(default_factory=dict)
    """Further datasets by role (``train``), for protocols that train something."""
    gray_policy: GrayPolicy = "keep"
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Protocol -> parameter -> value."""
    decode: str | None = None
    temperature: float | None = None
    seed: int = 0
    batch_size: int | Literal["auto"] = BATCH_SIZE
    """``auto``: found before the first shard, as large as memory allows."""
    device: str = "auto"
    dtype: str = "float32"
    threads: int | None = None
    """None for torch's default."""
    workers: int | None = None
    """Decoding threads; None for one per core, at most 8."""
    save: Save = "gallery"
    output: Path = Path("runs")
    resume: bool = True
    baselines: bool = True
    """Whether gray, constant and ground truth are run in the same pass."""
    limit: int | None = None
    command: tuple[str, ...] = ()
    """The command line, for the record."""


def check(request: RunConfig) -> None:
    """Raise for invalid settings in the configuration of a run.

    Raises:
        UserError: naming the flag.
    """
    if not request.models:
        raise UserError("--model is required", hint="for example zoo/cic")
    if not request.protocols:
        raise UserError("--protocol is required", hint="for example auc")
    if request.save not in LEVELS:
        raise UserError(f"--save cannot be {request.save!r}", hint=f"choose {', '.join(LEVELS)}")
    if request.gray_policy not in get_args(GrayPolicy):
        raise UserError(f"--gray cannot be {request.gray_policy!r}", hint="choose keep or drop")
    for name, value, minimum in (
        ("--batch-size", None if request.batch_size == "auto" else request.batch_size, 1),
        ("--threads", request.threads, 1),
        ("--workers", request.workers, 0),
        ("--limit", request.limit, 1),
    ):
        if isinstance(value, str) or (value is not None and value < minimum):
            raise UserError(f"{name} must be at least {minimum}, not {value}")
    devices_and_memory.dtype_of(request.dtype)


PREDICTORS = 4
"""Largest number of batches that are predicted at once; each needs memory."""


@dataclass(frozen=True)
class ExecutionConfig:
    """Settings of the execution of a pass."""

    device: torch.device
    dtype: torch.dtype
    batch_size: int
    """Largest number of images in a batch, as far as it is known; see ``auto_batch``."""
    workers: int
    seed: int
    gray_policy: GrayPolicy
    threads: int
    gallery: frozenset[str]
    """Ids of images for which thumbnails are saved."""
    predictions: Mapping[str, str]
    """Id -> path below ``predictions/``."""
    rank: int = 0
    processes: int = 1
    claims: WorkClaims = field(default_factory=WorkClaims)
    """Claims on parts of the work, among processes that share the output."""
    local_processes: int = 1
    """Number of processes of this machine."""
    auto_batch: bool = False
    """Whether the batch size is found before the first shard."""

    def predictors(self, models: Iterable[LoadedModel]) -> int:
        """Return the number of batches to predict at once with these models."""
        safe = self.device.type == "cpu" and all(model.thread_safe for model in models)
        return min(PREDICTORS, self.threads) if safe else 1


def execution_config(
    request: RunConfig, ids: Sequence[str], threads: int, launch: Launch, claims: WorkClaims
) -> ExecutionConfig:
    """Return the execution settings for the configuration of a run in this process.

    Args:
        request: the configuration.
        ids: of the images, after any limit.
        threads: number of torch's threads.
        launch: the processes that share the run.
        claims: of this process.

    Raises:
        UserError: for a device that is not available.
    """
    return ExecutionConfig(
        device=devices_and_memory.device_of(request.device),
        dtype=devices_and_memory.dtype_of(request.dtype),
        batch_size=BATCH_SIZE if request.batch_size == "auto" else request.batch_size,
        workers=decoding_threads(request.workers),
        seed=request.seed,
        gray_policy=request.gray_policy,
        threads=threads,
        gallery=fixed_ids(ids),
        predictions=prediction_names(ids) if request.save == "predictions" else {},
        rank=launch.rank,
        processes=launch.processes,
        claims=claims,
        local_processes=launch.local_processes,
        auto_batch=request.batch_size == "auto",
    )
