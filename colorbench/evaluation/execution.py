"""On what a run executes: device, dtype, threads, and its place among the processes of one launch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from colorbench.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def processes() -> tuple[int, int]:
    """(rank, number) of the processes that share this run, from ``torchrun`` or Slurm; (0, 1) for one alone.

    Raises:
        UserError: for a rank that is not below the number.
    """
    for rank_name, count_name in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank_name in os.environ and count_name in os.environ:
            try:
                rank, count = int(os.environ[rank_name]), int(os.environ[count_name])
            except ValueError:
                rank, count = -1, 0
            if not 0 <= rank < count:
                found = f"{rank_name}={os.environ[rank_name]}, {count_name}={os.environ[count_name]}"
                raise UserError(f"no process has this rank: {found}", mend=f"unset {rank_name} for a process alone")
            return rank, count
    return 0, 1


def device_of(name: str) -> torch.device:
    """The device of a name; ``auto`` takes a GPU where there is one, each process of a machine its own.

    Raises:
        UserError: for a name that torch does not know, or a device that is not there.
    """
    local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name in ("auto", "cuda") and gpus:
        return torch.device("cuda", local % gpus)
    if name == "auto":
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"no device is called {name!r}", mend="give auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(f"there is no {name} here: torch sees {gpus} GPUs", mend="use --device cpu")
    return device


def dtype_of(name: str) -> torch.dtype:
    """The dtype in which models compute.

    Raises:
        UserError: for any but float32, bfloat16 and float16.
    """
    if name not in DTYPES:
        raise UserError(f"unknown dtype {name!r}", mend=f"choose {', '.join(DTYPES)}")
    return DTYPES[name]


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def numerics(threads: int | None) -> Iterator[int]:
    """Set threads and exact float32 arithmetic for a run, and restore what was; gives the number of threads.

    Without this a GPU computes float32 convolutions in 10-bit mantissas and picks its algorithm by a stopwatch.
    Gradients are off. Not by inference_mode: tensors cached in it (the bins) could never take part in training.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (torch.get_num_threads(), cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
        with torch.no_grad():
            yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before[0])
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before[1:]
