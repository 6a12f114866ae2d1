"""Execution environment of a run: device, dtype, threads, memory, and models on the device."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

import torch

from colorbench.errors import UserError
from colorbench.models import LoadedModel, networks
from colorbench.processes import current_launch

Result = TypeVar("Result")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device_of(name: str) -> torch.device:
    """Return the device with a name; ``auto`` is a GPU if available, another one for each process of a machine.

    Raises:
        UserError: for an unknown name or a device that is not available.
    """
    local = current_launch().local_rank
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
