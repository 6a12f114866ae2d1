"""On what a run executes: device, dtype, threads, its place among the processes of a launch, the models it holds."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

import torch

from colorbench.errors import UserError
from colorbench.models import LoadedModel, networks

Result = TypeVar("Result")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


RESERVED_STEPS = 0xFFFFFFF0
"""Slurm's step ids from here on are of batch scripts and interactive shells, which are one process."""


def processes() -> tuple[int, int]:
    """Return (rank, number) of the processes that share this run, from ``torchrun`` or ``srun``.

    (0, 1) for one alone.

    Slurm sets the rank and number of tasks in every job, also for a script or a shell that is one process: only a step
    that ``srun`` started counts.

    Raises:
        UserError: for variables that contradict one another, naming them.
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
    """Return the names of the variables of a launcher that sets both, as ``torchrun`` does.

    Raises:
        UserError: where one of them is set and the other is not.
    """
    names = ("RANK", "WORLD_SIZE")
    given = [name for name in names if os.environ.get(name)]
    if len(given) == 1:
        (other,) = set(names) - set(given)
        what = f"{given[0]}={os.environ[given[0]]} is set and {other} is not"
        raise UserError(what, hint=f"start with torchrun, which sets both, or unset {given[0]}")
    return names if given else None


def _slurm_variables() -> tuple[str, str] | None:
    """Return the names of the variables of a step of several tasks."""
    try:
        step = int(os.environ.get("SLURM_STEP_ID") or os.environ.get("SLURM_STEPID") or RESERVED_STEPS)
    except ValueError:
        step = RESERVED_STEPS
    if step >= RESERVED_STEPS or not os.environ.get("SLURM_PROCID"):
        return None
    count = "SLURM_STEP_NUM_TASKS" if os.environ.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    return ("SLURM_PROCID", count) if os.environ.get(count) else None


def local_rank() -> int:
    """Place among the processes of this machine.

    Raises:
        UserError: for a value that is none, naming the variable.
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
    """Return the device of a name; ``auto`` takes a GPU where there is one, each process of a machine its own.

    Raises:
        UserError: for a name that torch does not know, or a device that is not there.
    """
    local = local_rank()
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
    """Return the dtype in which models compute.

    Raises:
        UserError: for any but float32, bfloat16 and float16.
    """
    if name not in DTYPES:
        raise UserError(f"unknown dtype {name!r}", hint=f"choose {', '.join(DTYPES)}")
    return DTYPES[name]


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


class Residents:
    """Lends models to a device, in evaluation mode; at the end each is where it was, in the mode it was in."""

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
            RunError, torch.OutOfMemoryError: where there is no room for it even alone.
        """
        try:
            self._fetch(model)
            prediction = do()
        except Exception as error:
            if not (_out_of_memory(error) and len(self._homes) > 1 and not self.one_at_a_time):
                raise
            self.one_at_a_time = True
            del error  # its traceback holds tensors
            self._all_home()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._fetch(model)
            prediction = do()
        if self.one_at_a_time:
            self._all_home()
        return prediction

    def _fetch(self, model: LoadedModel) -> None:
        with self._lock:  # batches side by side
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
