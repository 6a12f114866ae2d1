"""Loops over pixels that numba compiles: for the processor and float32, and only where a run spends most of its time.

Every compiled loop has a twin in torch for other devices and types, and a test that both agree. The modules of loops
(``*_kernels.py``) are imported by the functions that need them: the compiler takes most of a second to load.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorbench.storage.source_code_hashes import UnknownCode, module_digest

# The types of the loops' arithmetic, which the compiler reads and the type checker need not: one float64 or one signed
# index in between takes half the speed.
f32: Any = np.float32
f64: Any = np.float64
i32: Any = np.int32
i64: Any = np.int64
u32: Any = np.uint32
u64: Any = np.uint64


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function of arrays and numbers that is compiled on its first call and cached beside its file.

    Every operation is rounded by itself and in the order written, so that a pixel's answer depends neither on its place
    nor on the machine. What a function takes from other files is compiled into it: it is compiled again when any file
    that its own imports is another.
    """
    from numba import njit

    kernel: Any = njit(nogil=True, fastmath={"nsz"}, error_model="numpy")(function)
    # If no cache folder is writable, every process compiles its own code.
    with suppress(RuntimeError, UnknownCode):
        sources = _sources(function.__code__.co_filename)
        kernel.enable_caching()
        # The compiler's own stamp is the time and size of the function's file alone.
        kernel._cache._cache_file._source_stamp = sources
        _forgive(kernel)
    return kernel


@cache
def _sources(file: str) -> str:
    """Return the sha256 of a file of kernels and of all that it imports, except libraries."""
    return module_digest(Path(file))


def _forgive(kernel: Any) -> None:
    """Keep working where the cache of compiled code fails: a full or read-only disk, a limit, a damaged file.

    The compiler looks for a place that it may write when a function is made, and takes any later error for its own.
    """
    cache = kernel._cache
    load, save = cache.load_overload, cache.save_overload

    def loaded(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # any error of reading a damaged file; it is compiled again
            return None

    def saved(*arguments: Any) -> None:
        with suppress(OSError, pickle.PickleError, EOFError):
            save(*arguments)

    cache.load_overload, cache.save_overload = loaded, saved


def fused_multiply_add() -> Any:
    """Return a compiled function (a, b, c) -> a b + c that rounds once.

    One instruction on nearly all current processors, and a slower routine with the same result on others.
    """
    from numba.extending import intrinsic

    @intrinsic
    def fused(context: Any, a: Any, b: Any, c: Any) -> Any:
        return a(a, b, c), lambda _, builder, __, arguments: builder.fma(*arguments)

    return fused


def compilable(tensor: Tensor) -> bool:
    """Return whether compiled loops accept this tensor."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def pixels_of(image: Tensor) -> np.ndarray:
    """Return (..., C, H, W) as (N, C, H W), contiguous on the CPU; without a copy where it already is."""
    c, h, w = image.shape[-3:]
    return np.asarray(image.detach().reshape(image.shape[:-3].numel(), c, h * w).contiguous().numpy())


def exact_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of the torch path: float64, except on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64
