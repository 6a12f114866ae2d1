"""Set-up of accelerate for a training: device, processes, precision, and trackers (TensorBoard, Weights & Biases)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from colorbench.errors import UserError, extra_hint
from colorbench.processes import current_launch, export_launch

Dtype = Literal["float32", "bfloat16", "float16"]
_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
PATIENCE = timedelta(hours=6)
"""Timeout of processes that wait for the one that decodes images; torchrun reports a crashed process at once."""
TRACKERS = ("tensorboard", "wandb")
TRACKING_FOLDER = "tracking"
"""Folder of the trackers' files, below the folder of the training."""
TRACKING_PROJECT = "colorbench"


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


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and installed.

    Raises:
        UserError: for an unknown name, or one whose package is missing.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--track cannot be {name!r}", hint=f"choose {' or '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"--track {name} needs the package {name}", hint=extra_hint(name))


def tracking_options(names: Sequence[str], folder: Path | None) -> dict[str, Any]:
    """Return the arguments of ``accelerate.Accelerator`` for trackers that write below the folder of a training.

    Raises:
        UserError: as ``check_trackers``.
    """
    check_trackers(names)
    if not names or folder is None:
        return {}
    from accelerate.utils import ProjectConfiguration

    return {
        "log_with": list(dict.fromkeys(names)),
        "project_config": ProjectConfiguration(logging_dir=str(folder / TRACKING_FOLDER)),
    }


class Tracking:
    """The trackers of one training; only the first of several processes writes."""

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator

    def start(self, config: Mapping[str, Any]) -> None:
        """Start the trackers, which show ``config``: settings by name.

        Raises:
            UserError: for a tracker that cannot start (no login, no network).
        """
        if not self._accelerator.log_with:
            return
        target = Path(self._accelerator.logging_dir)
        target.mkdir(parents=True, exist_ok=True)
        plain = {key: one if isinstance(one, bool | int | float | str) else str(one) for key, one in config.items()}
        try:
            self._accelerator.init_trackers(TRACKING_PROJECT, config=plain, init_kwargs={"wandb": {"dir": str(target)}})
        except Exception as error:  # a tracker is a service of somebody else, with errors of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            hint = "check its login and the network, or train without it"
            raise UserError(f"a tracker cannot start: {reason}", hint=hint) from error

    def log(self, prefix: str, figures: Mapping[str, float], step: int) -> None:
        """Write values by name, as ``prefix/name``."""
        if self._accelerator.log_with:
            self._accelerator.log({f"{prefix}/{name}": value for name, value in figures.items()}, step=step)

    def end(self) -> None:
        """Write what is buffered, and close the trackers."""
        if self._accelerator.log_with:
            self._accelerator.end_training()
