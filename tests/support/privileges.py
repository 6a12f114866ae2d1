"""The permissions of an ordinary user, since the superuser may read and write every file."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

import pytest

_VERSION = 0x20080522  # of the interface of capset: 64 bits
_FILES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Let permissions of files hold for this thread and those that it starts, also if the user is the superuser."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "capset"):
        pytest.skip("the superuser's privileges cannot be given up here")
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, of two halves
    assert libc.capget(header, held) == 0
    fewer = type(held)(*held)
    fewer[0] &= ~_FILES  # the permitted ones stay, so that they can be taken back
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0
