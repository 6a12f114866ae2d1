"""Memory that a run or a training frees is kept for what it needs next, up to a limit.

The C library hands each large block back to the system as soon as it is free, and fetches it anew, page by page, for
the next batch: for a small network that is a tenth of its time. Kept without a limit, memory would grow with every
image of another size, since what was freed fits no other.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import lru_cache

KEPT = 1 << 30
"""Bytes of freed memory that stay with the process."""
# Options of mallopt(3). One arena: those of further threads are too small for a batch.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0, _ARENA_MAX: 1}


class _Counts(ctypes.Structure):
    """``struct mallinfo2`` of mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def keep_freed_memory() -> None:
    """Keep freed memory in this process from now on: only for programs of our own, before their work.

    Does nothing where the C library is not glibc, or where the user has set it up already (``MALLOC_...``,
    ``GLIBC_TUNABLES``).
    """
    set_up = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if set_up or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in _KEEPING.items():
        libc.mallopt(option, value)


def release_freed_memory(beyond: int = KEPT) -> bool:
    """Give freed memory back to the system where it is more than ``beyond`` bytes.

    To be called now and then: finding out takes microseconds, and giving back costs the next batch a tenth of its time.

    Returns:
        Whether memory was given back; False where the C library cannot tell how much is free.
    """
    libc = _counting_libc()
    if libc is None:
        return False
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            _, resident, shared, *_ = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in file.read().split())
    except (OSError, ValueError):
        return False
    # Not what malloc says is free: pages that were given back stay free in its books.
    if resident - shared - libc.mallinfo2().uordblks <= beyond:
        return False
    libc.malloc_trim(0)
    return True


@lru_cache(maxsize=1)
def _counting_libc() -> ctypes.CDLL | None:
    """Return the C library, where it is a glibc that counts in 64 bits (2.33 or newer)."""
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return None
    libc.mallinfo2.restype = _Counts
    return libc
