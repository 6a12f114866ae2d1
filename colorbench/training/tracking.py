"""Tracking of a training by TensorBoard or Weights & Biases, through accelerate's trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from colorbench.errors import UserError

TRACKERS = ("tensorboard", "wandb")
FOLDER = "tracking"
"""Folder of the trackers' files, below the folder of the training."""
PROJECT = "colorbench"


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and installed.

    Raises:
        UserError: for an unknown name, or one whose package is missing.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--track cannot be {name!r}", hint=f"choose {' or '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"--track {name} needs the package {name}", hint=f'pip install "colorbench[{name}]"')


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
        "project_config": ProjectConfiguration(logging_dir=str(folder / FOLDER)),
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
            self._accelerator.init_trackers(PROJECT, config=plain, init_kwargs={"wandb": {"dir": str(target)}})
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
