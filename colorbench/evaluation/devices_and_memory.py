"""Execution environment of a run: device, dtype, threads, memory, and models on the device."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil
import torch

from colorbench.errors import ModelFailed, RunError, UserError, is_out_of_memory
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
        if self.device.type == "cuda":
            # For models that compute on the current GPU: each process of a machine has its own.
            self._stack.enter_context(torch.cuda.device(self.device))
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
            ModelFailed: if the model fails.
            torch.OutOfMemoryError: if the device has too little memory even for this model alone.
        """
        try:
            return self._work(model, do)
        except RunError as error:
            raise ModelFailed(model.full_name, error) from error

    def _work(self, model: LoadedModel, do: Callable[[], Result]) -> Result:
        try:
            self._fetch(model)
            result = do()
        except Exception as error:
            if not (ran_out_of_memory(error) and len(self._homes) > 1 and not self.one_at_a_time):
                raise
            self.one_at_a_time = True
            del error  # its traceback references tensors
            self._all_home()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._fetch(model)
            result = do()
        if self.one_at_a_time:
            self._all_home()
        return result

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


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, says that memory is exhausted, on the CPU or on a GPU."""
    while error is not None:
        if is_out_of_memory(error):
            return True
        if isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _NO_MEMORY):
            return True
        error = error.__cause__
    return False


def _release(error: BaseException | None) -> None:
    """Release the tensors of a failed batch, which the frames of its errors hold."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()  # an error and the future that raised it hold one another


_NO_MEMORY = ("out of memory", "alloc_failed")


def smaller_batch(error: BaseException, batch_size: int, say: Callable[[str], None]) -> int | None:
    """Return half the batch size after an error that says that memory is exhausted; None for any other error.

    Args:
        error: of a batch.
        batch_size: largest number of images in a batch.
        say: called with a line about the new batch size.
    """
    if batch_size == 1 or not ran_out_of_memory(error):
        return None
    _release(error)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
        torch.cuda.empty_cache()
    say(f"out of memory with batches of {batch_size}: going on with {batch_size // 2}")
    return batch_size // 2


MEMORY_SHARE = 0.4
"""Share of the free memory that the predictions of a batch may take; scoring and decoding need the rest."""
SLOW = 1.0
"""Seconds of a batch beyond which larger ones are not tried, since they would be no faster."""


class MemoryMeter:
    """Memory that predictions take on a device, since it was created."""

    def __init__(self, device: torch.device, batches: int = 1) -> None:
        """Measure the free memory.

        Args:
            device: of the predictions.
            batches: that this machine predicts at once, in threads and processes that share the memory of the CPU.
        """
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
            free = torch.cuda.mem_get_info(device)[0]
        else:
            self._before, free = _resident(), _free_memory() // batches
        self.limit = MEMORY_SHARE * free

    def used(self) -> int:
        """Return the largest number of bytes so far."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return _largest_resident() - self._before


def largest_batch(attempt: Callable[[int], object], memory: MemoryMeter, most: int) -> int:
    """Return a batch size, found by doubling from 1 while memory and time allow it.

    Args:
        attempt: predicts a batch of a size.
        memory: of the device.
        most: largest size.
    """
    size = 1
    while 2 * size <= most and 2 * memory.used() <= memory.limit:
        started = time.perf_counter()
        try:
            attempt(2 * size)
        except Exception:  # too little memory, or a model for single images; the size before works
            break
        size *= 2
        if time.perf_counter() - started > SLOW:
            break
    return size


def _free_memory() -> int:
    """Return the bytes of memory that this process may still take; a cluster limits each job by cgroups."""
    free = psutil.virtual_memory().available
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        own = root / Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                free = min(free, _free_in(folder))
    return int(free)


def _free_in(cgroup: Path) -> int:
    try:
        limit, used = (int((cgroup / f"memory.{name}").read_text()) for name in ("max", "current"))
        cached = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, ValueError, KeyError):
        return sys.maxsize  # no limit
    return max(0, limit - used + int(cached))


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _largest_resident() -> int:
    """Return the largest number of bytes in memory of this process so far."""
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
