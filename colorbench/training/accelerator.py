"""Set-up of accelerate for a training: device, processes and precision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from colorbench.errors import UserError
from colorbench.processes import current_launch, export_launch
from colorbench.training.tracking import tracking_options

Dtype = Literal["float32", "bfloat16", "float16"]
_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
PATIENCE = timedelta(hours=6)
"""Timeout of processes that wait for the one that decodes images; torchrun reports a crashed process at once."""


def make_accelerator(device: str, dtype: Dtype, track: Sequence[str] = (), folder: Path | None = None) -> Any:
    """Create the ``accelerate.Accelerator`` of this process, which joins the others of a launch (torchrun, srun).

    Weights stay in float32; ``bfloat16`` and ``float16`` are the precision of convolutions and matrix products.
    Trackers (``track``) write into ``folder``.

    Raises:
        UserError: for an unknown or unavailable dtype, device or tracker.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    if dtype not in get_args(Dtype):
        raise UserError(f"--dtype cannot be {dtype!r}", hint=f"choose {', '.join(get_args(Dtype))}")
    kind, _, number = device.partition(":")
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not have.get(kind):
        at_hand = ", ".join(name for name, there in have.items() if there)
        raise UserError(f"no such device: {device!r}", hint=f"choose {at_hand}")
    if kind == "cuda":
        if number:
            torch.cuda.set_device(int(number))
        if dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
            raise UserError("this GPU has no bfloat16", hint="give --dtype float16 or float32")
    elif dtype == "float16":
        raise UserError(f"training in float16 needs a GPU, not {kind}", hint="give --dtype bfloat16 or float32")
    export_launch(current_launch())  # accelerate does not read the variables of srun
    if not torch.distributed.is_initialized():
        AcceleratorState._reset_state(reset_partial_state=True)  # it keeps state of an earlier training in this process
    return Accelerator(
        cpu=kind == "cpu",
        mixed_precision=_MIXED[dtype],
        **tracking_options(track, folder),
        # The trainer computes BatchNorm's running statistics when they are needed.
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )
