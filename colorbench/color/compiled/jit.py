"""Compilation of pixel loops by numba, for float32 on a CPU; used only where a run spends most of its time.

Every compiled loop has a torch version for other devices and types, and a test that both agree. The modules of loops in
this folder are imported by the functions that need them: the compiler takes most of a second to load.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorbench.storage.source_code_hashes import UnknownCode, module_digest

# Number types of the loops' arithmetic, for the compiler; the type checker sees Any. A single float64 or signed index
# in a loop halves the speed.
f32: Any = np.float32
f64: Any = np.float64
i32: Any = np.int32
i64: Any = np.int64
u32: Any = np.uint32
u64: Any = np.uint64


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function of arrays and numbers that is compiled on its first call and cached beside its file.

    Operations are rounded one by one and in the written order, so that the result of a pixel depends neither on its
    position nor on the machine. Imported values are compiled into the function, so it is compiled again when any
    imported file has changed.
    """
    from numba import njit

    kernel: Any = njit(nogil=True, fastmath={"nsz"}, error_model="numpy")(function)
    # If no cache folder is writable, every process compiles its own code.
    with suppress(RuntimeError, UnknownCode):
        sources = _sources(function.__code__.co_filename)
        kernel.enable_caching()
        # numba's own stamp covers only the time and size of the function's file.
        kernel._cache._cache_file._source_stamp = sources
        _forgive(kernel)
    return kernel


@cache
def _sources(file: str) -> str:
    """Return the sha256 of a file of kernels and of all that it imports, except libraries."""
    return module_digest(Path(file))


def _forgive(kernel: Any) -> None:
    """Continue without a cache if the cache of compiled code fails: full or read-only disk, quota, damaged file.

    numba looks for a writable folder when a function is defined, and raises any later error of the cache.
    """
    cache = kernel._cache
    load, save = cache.load_overload, cache.save_overload

    def loaded(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # reading a damaged file can raise any error; the function is compiled again
            return None

    def saved(*arguments: Any) -> None:
        try:
            save(*arguments)
        except Exception:  # a disk that refuses, or an index that is damaged or names classes that no longer exist
            with suppress(Exception):
                cache.flush()
                save(*arguments)

    cache.load_overload, cache.save_overload = loaded, saved


def fused_multiply_add() -> Any:
    """Return a compiled function (a, b, c) -> a b + c that rounds once.

    This is one instruction on nearly all current processors, and a slower routine with the same result on others.
    """
    from numba.extending import intrinsic

    @intrinsic
    def fused(context: Any, a: Any, b: Any, c: Any) -> Any:
        return a(a, b, c), lambda _, builder, __, arguments: builder.fma(*arguments)

    return fused


def compilable(tensor: Tensor) -> bool:
    """Return whether the compiled loops accept a tensor: float32 on the CPU, without gradient."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def pixels_of(image: Tensor) -> np.ndarray:
    """Reshape (..., C, H, W) on the CPU for compiled loops: a contiguous array (N, C, H W), not copied if possible."""
    c, h, w = image.shape[-3:]
    return np.asarray(image.detach().reshape(image.shape[:-3].numel(), c, h * w).contiguous().numpy())


def exact_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of the path that is not compiled: float64, except on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64
