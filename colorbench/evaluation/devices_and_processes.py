"""Execution environment of a run: device, dtype, threads, rank among processes, and models on the device."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar
from uuid import uuid4

import torch

from colorbench.errors import UserError
from colorbench.models import LoadedModel, networks
from colorbench.storage import digest_of

Result = TypeVar("Result")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


RESERVED_STEPS = 0xFFFFFFF0
"""Slurm's step ids from here on belong to batch scripts and interactive shells, which are single processes."""


def processes() -> tuple[int, int]:
    """Return (rank, number) of the processes that share this run, from ``torchrun`` or ``srun``.

    (0, 1) for a single process.

    Slurm sets rank and number of tasks in every job, also for a single script or shell, so only steps that ``srun``
    started count.

    Raises:
        UserError: for contradictory variables, naming them.
    """
    names = _torch_variables() or _slurm_variables()
    if names is None:
        return 0, 1
    try:
        rank, count = (int(os.environ[name]) for name in names)
    except ValueError:
        rank, count = -1, 0
    if not 0 <= rank < count:
        found = ", ".join(f"{name}={os.environ[name]}" for name in names)
        raise UserError(f"invalid process rank: {found}", hint=f"unset {' and '.join(names)} for a single process")
    return rank, count


def _torch_variables() -> tuple[str, str] | None:
    """Return the names of the rank and size variables of a launcher such as ``torchrun``; None without them.

    Raises:
        UserError: if only one of them is set.
    """
    names = ("RANK", "WORLD_SIZE")
    given = [name for name in names if os.environ.get(name)]
    if len(given) == 1:
        (other,) = set(names) - set(given)
        what = f"{given[0]}={os.environ[given[0]]} is set and {other} is not"
        raise UserError(what, hint=f"start with torchrun, which sets both, or unset {given[0]}")
    return names if given else None


def _slurm_variables() -> tuple[str, str] | None:
    """Return the names of Slurm's variables in a step of several tasks; None otherwise."""
    try:
        step = int(os.environ.get("SLURM_STEP_ID") or os.environ.get("SLURM_STEPID") or RESERVED_STEPS)
    except ValueError:
        step = RESERVED_STEPS
    if step >= RESERVED_STEPS or not os.environ.get("SLURM_PROCID"):
        return None
    count = "SLURM_STEP_NUM_TASKS" if os.environ.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    return ("SLURM_PROCID", count) if os.environ.get(count) else None


def _local_rank() -> int:
    """Return the rank of this process among the processes of this machine.

    Raises:
        UserError: for an invalid value, naming the variable.
    """
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        if text := os.environ.get(name):
            if not text.isdecimal():
                raise UserError(
                    f"{name}={text} is not a valid process number", hint=f"unset {name} for a single process"
                )
            return int(text)
    return 0


def device_of(name: str) -> torch.device:
    """Return the device with a name; ``auto`` is a GPU if available, another one for each process of a machine.

    Raises:
        UserError: for an unknown name or a device that is not available.
    """
    local = _local_rank()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name in ("auto", "cuda") and gpus:
        return torch.device("cuda", local % gpus)
    if name == "auto":
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}", hint="give auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(f"there is no {name} here: torch sees {gpus} GPUs", hint="use --device cpu")
    return device


def dtype_of(name: str) -> torch.dtype:
    """Return the dtype with a name, in which a device computes.

    Raises:
        UserError: for names other than float32, bfloat16 and float16.
    """
    if name not in DTYPES:
        raise UserError(f"unknown dtype {name!r}", hint=f"choose {', '.join(DTYPES)}")
    return DTYPES[name]


@contextlib.contextmanager
def numerics(threads: int | None) -> Iterator[int]:
    """Set threads and exact float32 arithmetic for a run and restore them afterwards; yields the number of threads.

    Otherwise a GPU computes float32 convolutions with 10-bit mantissas (TF32) and chooses algorithms by timing.
    Gradients are off, but not by inference_mode: tensors cached in it (the bins) could not be used in training later.
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


class Residents:
    """Models that are moved to a device in evaluation mode, and restored at the end."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.one_at_a_time = False
        self._homes: dict[int, tuple[LoadedModel, torch.device]] = {}
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Residents:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._all_home()
        finally:
            self._stack.close()

    def work(self, model: LoadedModel, do: Callable[[], Result]) -> Result:
        """Return the result of ``do`` while the model is on the device.

        Raises:
            RunError, torch.OutOfMemoryError: if the device has too little memory even for this model alone.
        """
        try:
            self._fetch(model)
            prediction = do()
        except Exception as error:
            if not (_out_of_memory(error) and len(self._homes) > 1 and not self.one_at_a_time):
                raise
            self.one_at_a_time = True
            del error  # its traceback references tensors
            self._all_home()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._fetch(model)
            prediction = do()
        if self.one_at_a_time:
            self._all_home()
        return prediction

    def _fetch(self, model: LoadedModel) -> None:
        with self._lock:  # batches in parallel
            if id(model) in self._homes:
                return
            self._stack.enter_context(networks.evaluation_mode(model.colorizer))
            self._homes[id(model)] = (model, networks.device_of(model.colorizer) or torch.device("cpu"))
            model.to(self.device)

    def _all_home(self) -> None:
        with self._lock:
            for model, home in self._homes.values():
                model.to(home)
            self._homes.clear()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or isinstance(error.__cause__, torch.OutOfMemoryError)


def launch_token(processes: int) -> str:
    """Return a token that is the same in all processes of one command, and in no other command."""
    if processes == 1:
        return uuid4().hex
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")
    known = {name: os.environ.get(name, "") for name in (*names, "SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")}
    # Without a scheduler the processes of a launch have one parent, on one machine.
    return digest_of(known if known["SLURM_JOB_ID"] else {**known, "parent": os.getppid()})
