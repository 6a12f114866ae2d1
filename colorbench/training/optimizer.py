"""Optimizer of a preset, the moving average of the weights, and BatchNorm's statistics over a split batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from colorbench.training.preset import Preset

MOMENTUM = 0.1
"""Of BatchNorm's running statistics, torch's default."""


def make_optimizer(module: nn.Module, preset: Preset) -> torch.optim.Optimizer:
    """Adam or AdamW on the module's parameters; ``Preset.optimizer`` says how weight decay couples."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if preset.decayed == "all" or p.dim() > 1]
    free = [p for p in parameters if preset.decayed != "all" and p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": preset.weight_decay}]
    if free:
        groups.append({"params": free, "weight_decay": 0.0})
    kind = torch.optim.AdamW if preset.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, preset.learning_rate, betas=preset.betas)


class MovingAverage:
    """Exponential average of a module's floating-point state; its counters are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the state after ``step`` (from 0 on); the first steps are forgotten faster than by the decay."""
        decay = min(self.decay, (step + 1) / (step + 10))
        state = module.state_dict()
        floating = [name for name, value in self.state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.state[n] for n in floating], [state[n] for n in floating], 1 - decay)
        for name in self.state.keys() - floating:
            self.state[name].copy_(state[name])


class BatchStatistics:
    """Running statistics of BatchNorm where a step's batch is split over micro-batches and processes.

    A micro-batch is normalized by its own statistics. The running ones, which the trained model works with, move once
    a step, towards the mean over all micro-batches of all processes: as torch moves them for a whole batch. So they
    are the same on every process and in whatever way a batch is split into equal parts.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        for layer in self.layers:
            layer.momentum = 1.0  # a forward pass leaves the micro-batch's own statistics
        self._before: list[Tensor] = []
        self._sums: list[Tensor] = []

    def _buffers(self) -> list[Tensor]:
        return [b for layer in self.layers for b in (layer.running_mean, layer.running_var) if b is not None]

    @torch.no_grad()
    def begin(self) -> None:
        """Before a step's first micro-batch."""
        self._before = [buffer.clone() for buffer in self._buffers()]
        self._sums = [torch.zeros_like(buffer) for buffer in self._before]

    @torch.no_grad()
    def add(self) -> None:
        """After each forward pass."""
        for total, buffer in zip(self._sums, self._buffers(), strict=True):
            total.add_(buffer)

    @torch.no_grad()
    def finish(self, micro_batches: int, processes: int) -> None:
        """After a step's last micro-batch; ``micro_batches`` of this process."""
        if not self.layers:
            return
        if processes > 1:
            flat = torch.cat(self._sums)
            torch.distributed.all_reduce(flat)
            self._sums = list(torch.split(flat, [len(total) for total in self._sums]))
        for buffer, before, total in zip(self._buffers(), self._before, self._sums, strict=True):
            buffer.copy_(before.lerp(total / (micro_batches * processes), MOMENTUM))
        for layer in self.layers:
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.sub_(micro_batches - 1)  # counts steps


def finite(values: Iterable[Tensor]) -> bool:
    """Whether all are free of NaN and infinity."""
    return all(bool(torch.isfinite(value).all()) for value in values)
