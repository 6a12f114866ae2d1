"""Training: batches in, checkpoints out. Kill it at any moment; resumed, it goes on where the last checkpoint stood.

Everything that decides the next step (weights, optimizer, moving average, random state, the order of photographs) is
in the checkpoint, so that a resumed run ends in the same weights as one that was never stopped.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from colorbench.errors import RunError, UserError
from colorbench.training.photographs import PhotographCache, cut
from colorbench.training.preset import Preset
from colorbench.training.schedule import trapezoid

INITIAL_PHOTOGRAPHS = 48
LEAST_PHOTOGRAPHS = 64


class Task(Protocol):
    """A network with its loss, to be trained: an ``nn.Module`` whose ``forward`` is the loss."""

    network: nn.Module

    def initialize(self, lightness: Tensor, seed: int) -> None:
        """Set the weights before the first step, from (N, 1, H, W) photographs."""
        ...

    def __call__(self, lightness: Tensor, ab: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and the figures to log."""
        ...


class Listener(Protocol):
    """Who is told how it goes."""

    def stepped(self, step: int, steps: int, figures: Mapping[str, float], images_per_second: float) -> None:
        """Called every ``log_every`` steps with means since the last call."""
        ...


@dataclass(frozen=True)
class Options:
    """How a training is run, which does not decide its result on one machine."""

    folder: Path
    """Where checkpoints and the log go."""
    steps: int
    seed: int = 0
    device: str = "cpu"
    resume: bool = True
    checkpoint_every: int = 500
    log_every: int = 100


class Trainer:
    """One training on one device."""

    def __init__(self, task: nn.Module, preset: Preset, cache: PhotographCache, options: Options) -> None:
        self.preset, self.cache, self.options = preset, cache, options
        self.chosen, self.held = cache.split()
        if len(self.chosen) < LEAST_PHOTOGRAPHS:
            raise UserError(
                f"{len(self.chosen)} photographs are too few to train on", mend=f"give at least {LEAST_PHOTOGRAPHS}"
            )
        self.rng = np.random.default_rng(options.seed)
        self.order: list[int] = []
        self.step = 0
        self.seconds = 0.0
        torch.manual_seed(options.seed)
        module: Any = task  # a Task and a Module at once, which no type of typing says
        self.task = module.to(options.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(_groups(task, preset.weight_decay), preset.learning_rate, betas=preset.betas)
        self.averaged = {name: value.clone() for name, value in self.task.network.state_dict().items()}

    @property
    def checkpoint(self) -> Path:
        """The one file that a training goes on from."""
        return self.options.folder / "checkpoint.pt"

    def run(self, listener: Listener) -> dict[str, Tensor]:
        """Train to the end; returns the averaged weights of the network."""
        if self.options.resume and self.checkpoint.is_file():
            self._restore()
        elif self.checkpoint.is_file():
            where = str(self.options.folder)
            raise UserError("there is a training already", where=where, mend="resume it, or give another -o")
        else:
            self._initialize()
            self._save()
        begun = time.perf_counter() - self.seconds
        sums: dict[str, float] = {}
        seen, since = 0, time.perf_counter()
        while self.step < self.options.steps:
            figures, count = self._advance()
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
            seen += count
            self.seconds = time.perf_counter() - begun
            if self.step % self.options.log_every == 0 or self.step == self.options.steps:
                n = (self.step - 1) % self.options.log_every + 1
                means = {name: value / n for name, value in sums.items()}
                speed = seen / (time.perf_counter() - since)
                self._log(means, speed)
                listener.stepped(self.step, self.options.steps, means, speed)
                sums, seen, since = {}, 0, time.perf_counter()
            if self.step % self.options.checkpoint_every == 0 or self.step == self.options.steps:
                self._save()
        return self.averaged

    def _initialize(self) -> None:
        view = self.preset.views[0]
        picked = self.rng.choice(self.chosen, min(INITIAL_PHOTOGRAPHS, len(self.chosen)), replace=False)
        lab = cut(self.cache.pixels, picked, view, self.rng)
        self.task.initialize(lab[:, :1].contiguous(), self.options.seed)
        self.task.to(self.options.device).to(memory_format=torch.channels_last)
        self.averaged = {name: value.clone() for name, value in self.task.network.state_dict().items()}

    def _advance(self) -> tuple[dict[str, float], int]:
        """One step; returns the figures of its batch and how many images it saw."""
        view = self.preset.view_at(self.step, self.options.steps)
        if len(self.order) < view.batch_size:
            self.order = self.rng.permutation(self.chosen).tolist()
        picked, self.order = self.order[: view.batch_size], self.order[view.batch_size :]
        lab = cut(self.cache.pixels, picked, view, self.rng).to(self.options.device)
        rate = trapezoid(self.step, self.options.steps, warmup=self.preset.warmup, decay=self.preset.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = self.preset.learning_rate * rate
        self.task.train()
        loss, figures = self.task(lab[:, :1], lab[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.task.parameters(), self.preset.clip)
        if not bool(torch.isfinite(norm)):
            raise RunError(
                f"the gradient is not finite at step {self.step}; the checkpoint before it stays",
                where=str(self.checkpoint),
                mend="resume with a lower learning rate",
            )
        self.optimizer.step()
        self._average()
        self.step += 1
        return {name: float(value) for name, value in figures.items()}, len(picked)

    @torch.no_grad()
    def _average(self) -> None:
        # The average forgets the first steps faster than its own decay would.
        decay = min(self.preset.average, (self.step + 1) / (self.step + 10))
        state = self.task.network.state_dict()
        names = [name for name, value in self.averaged.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.averaged[n] for n in names], [state[n] for n in names], 1 - decay)

    def _save(self) -> None:
        state = {
            "network": self.task.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "step": self.step,
            "order": torch.tensor(self.order, dtype=torch.int64),
            "random": _plain(self.rng.bit_generator.state),
            "seconds": self.seconds,
            "preset": self.preset.model_dump(mode="json"),
        }
        partial = self.checkpoint.with_suffix(".partial")
        try:
            self.options.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.checkpoint)
        except OSError as error:
            raise RunError(
                f"cannot write a checkpoint: {error.strerror}",
                where=str(self.checkpoint),
                mend="the one before it stays; make room, then resume",
            ) from error

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.options.device, weights_only=True)
        if state["preset"] != self.preset.model_dump(mode="json"):
            raise UserError(
                "the checkpoint was made with other settings",
                where=str(self.checkpoint),
                mend="give the same preset, or another -o",
            )
        self.task.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged, self.step, self.seconds = state["averaged"], state["step"], state["seconds"]
        self.order = state["order"].tolist()
        self.rng.bit_generator.state = _whole(state["random"])

    def _log(self, means: Mapping[str, float], speed: float) -> None:
        path = self.options.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *means, "images_per_second"])
            writer.writerow([self.step, *(f"{value:.6g}" for value in means.values()), f"{speed:.1f}"])


def _groups(task: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    # Biases and BatchNorm are free to grow: decay is meant for filters.
    filters = [p for p in task.parameters() if p.dim() > 1]
    others = [p for p in task.parameters() if p.dim() <= 1]
    return [{"params": filters, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A generator's state in types that ``torch.load(weights_only=True)`` reads: its 128-bit integers as text."""
    return {k: _plain(v) if isinstance(v, dict) else str(v) if isinstance(v, int) else v for k, v in state.items()}


def _whole(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: _whole(v) if isinstance(v, dict) else int(v) if isinstance(v, str) and v.isdigit() else v
        for k, v in state.items()
    }
