"""Loops over pixels that numba compiles. Import this late: the compiler takes its time to load.

Only what a run spends most of its time with is compiled, and only for the processor and float32; every compiled loop
has a twin in torch for other devices and types, and a test that both agree.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numba import njit

# The types of the loops' arithmetic, which the compiler reads and the type checker need not: one float64 or one signed
# index in between takes half the speed.
f32: Any = np.float32
f64: Any = np.float64
i32: Any = np.int32
i64: Any = np.int64
u32: Any = np.uint32
u64: Any = np.uint64


def compiled(function: Callable[..., Any]) -> Any:
    """A function of arrays and numbers, compiled on its first call and kept from then on beside its file.

    Every operation is rounded by itself and in the order written, so that a pixel's answer depends neither on its place
    nor on the machine. What a function takes from other files is frozen until its own file changes.
    """
    kernel = njit(nogil=True, fastmath={"nsz"}, error_model="numpy")(function)
    # Where compiled code can be kept nowhere, every process compiles its own.
    with suppress(RuntimeError):
        kernel.enable_caching()
    return kernel
