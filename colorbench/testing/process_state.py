"""Observation of a plugin's side effects: its output, and changes of global state."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import ImageFile
from torch.backends import cuda, cudnn

from colorbench.evaluation.first_image_checks import random_state_kept

RANDOM = ("the random state of torch", "the random state of numpy", "the random state of Python")


def _random_state() -> dict[str, Any]:
    """Return the state of the global random generators, by name."""
    states = (torch.get_rng_state().numpy().tobytes(), np.random.get_state(legacy=False), random.getstate())
    return dict(zip(RANDOM, map(repr, states), strict=True))


def is_random(names: dict[str, str]) -> list[str]:
    """Return those of the changed states of the process that belong to random generators."""
    return [name for name in names if name in RANDOM]


def process_state() -> dict[str, Any]:
    """Return all global state on which predictions of other models may depend, by name."""
    return {
        **_random_state(),
        "the default dtype of torch": torch.get_default_dtype(),
        "the default device of torch": torch.get_default_device(),
        "gradients (torch.is_grad_enabled)": torch.is_grad_enabled(),
        "the number of torch's threads": torch.get_num_threads(),
        "torch's precision of matrix products": torch.get_float32_matmul_precision(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn's settings": (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, cuda.matmul.allow_tf32),
        "numpy's error handling": np.geterr(),
        "Pillow's LOAD_TRUNCATED_IMAGES": ImageFile.LOAD_TRUNCATED_IMAGES,
        "the working directory": os.getcwd(),
        "the environment": dict(os.environ),
    }


def seeds_set_by(make: Callable[[], object]) -> list[str]:
    """Return the global random generators that code seeds: their final state does not depend on the initial one.

    Drawing from them is allowed, since torch's layers do so when they are created.
    """
    ends = []
    for seed in (1, 2):
        with random_state_kept():
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            make()
            ends.append(_random_state())
    return [name for name in RANDOM if ends[0][name] == ends[1][name]]


def changed_state(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of the entries that differ between two states of the process."""
    return [name for name, value in before.items() if after[name] != value]


@contextlib.contextmanager
def printed() -> Iterator[list[str]]:
    """Capture what the process prints, from Python and C code alike; the list holds the text at the end.

    Standard error is not captured, since warnings and progress bars belong there.
    """
    text: list[str] = []
    python = io.StringIO()
    with tempfile.TemporaryFile() as file:
        saved = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
            saved = os.dup(1)
            os.dup2(file.fileno(), 1)
        try:
            with contextlib.redirect_stdout(python):
                yield text
        finally:
            if saved is not None:
                # C code has its own buffers, which must be flushed before the descriptor is restored.
                with contextlib.suppress(OSError, AttributeError, TypeError):
                    ctypes.CDLL(None).fflush(None)
                os.dup2(saved, 1)
                os.close(saved)
            file.seek(0)
            text.append(python.getvalue() + file.read().decode(errors="replace"))
