"""What the tests of training share: a tiny preset, real images, and trainings in processes of their own."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from colorbench.color import load_prior
from colorbench.data import open_dataset
from colorbench.models import ModelCard
from colorbench.training import CropStage, Trainer, TrainerOptions, TrainingPreset, build_cache, checkpoint
from zoo.cic import CIC
from zoo.cic.presets import PRESETS
from zoo.cic.training_task import ClassificationTraining

TINY = PRESETS["small"].model_copy(
    update={
        "description": "for tests",
        "width": 0.125,
        "cache_size": 40,
        "views": (
            CropStage(begin=0.0, size=16, low=24, high=40, batch_size=8),
            CropStage(begin=0.5, size=24, low=30, high=40, batch_size=4),
        ),
        "steps": 12,
        "learning_rate": 1e-3,
        "warmup": 2,
        "average": 0.99,
        "prior_floor": 0.0,
        "working_size": 24,
    }
)


def write_images(folder: Path) -> Path:
    """Seventy-two real crops as JPEG files, and one file that is not an image."""
    import skimage.data

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee"):
        image = getattr(skimage.data, name)()
        for i in range(24):
            top, left = 40 * (i // 5), 45 * (i % 5)
            Image.fromarray(image[top : top + 90, left : left + 90]).save(folder / f"{name}{i}.jpg")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def make_trainer(images: Path, folder: Path, preset: TrainingPreset = TINY, **options: Any) -> Trainer:
    """A training of the tiny network; ``options`` of ``Options``."""
    cache = build_cache([open_dataset(images)], folder / "images", preset.cache_size)
    torch.manual_seed(0)
    task = ClassificationTraining(preset, load_prior())
    settings = {"checkpoint_every": 4, "log_every": 1, "validate_every": 6, **options}
    card = ModelCard(title="tiny", working_size=preset.working_size, settings={"width": preset.width})
    return Trainer(task, preset, cache, TrainerOptions(folder, **settings), lambda network: CIC(network, card))


class Silent:
    """Listens, and keeps the figures."""

    def __init__(self) -> None:
        self.figures: list[dict[str, float]] = []
        self.validation: list[dict[str, float]] = []

    def advanced(self, step: int, steps: int) -> None:
        return

    def stepped(self, step: int, steps: int, figures: Mapping[str, float], speed: float) -> None:
        self.figures.append(dict(figures))

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        self.validation.append(dict(figures))


class Deadly(Silent):
    """Kills its process at a step, or at a validation."""

    def __init__(self, step: int | None, validation: int | None) -> None:
        super().__init__()
        self.step, self.validation = step, validation

    def advanced(self, step: int, steps: int) -> None:
        if step == self.step:
            die()

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        if step == self.validation:
            die()


def die() -> None:
    """As the kernel does it: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(images: Path, folder: Path, moment: str, number: int) -> None:
    """Train in this process until it is killed, at the ``number``-th save ("half", "unnamed") or at a step."""
    torch.set_num_threads(1)
    if moment in ("half", "unnamed"):
        _die_while_saving(number, moment == "half")
    listener = Deadly(number if moment == "step" else None, number if moment == "validation" else None)
    make_trainer(images, folder).run(listener)


def _die_while_saving(number: int, half: bool) -> None:
    save, saves = torch.save, 0

    def deadly(state: object, file: Any) -> None:
        nonlocal saves
        saves += 1
        if saves < number:
            save(state, file)
            return
        full = io.BytesIO()
        save(state, full)
        content = full.getvalue()
        file.write(content[: len(content) // 2] if half else content)
        file.flush()
        die()

    checkpoint.torch.save = deadly  # this process ends with it


def main(images: Path, folder: Path, predictions: Path) -> None:
    """One of several processes that torchrun starts: train, and keep what this process ends with."""
    torch.set_num_threads(1)
    trainer = make_trainer(images, folder)
    state = trainer.run(Silent())
    gradients = {name: p.grad for name, p in trainer.task.named_parameters()}
    torch.save({"gradients": gradients, "state": state}, predictions / f"rank{trainer.accelerator.process_index}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
