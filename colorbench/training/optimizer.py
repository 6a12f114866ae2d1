"""Optimizer of a preset and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from colorbench.training.training_preset import TrainingPreset


def make_optimizer(module: nn.Module, preset: TrainingPreset) -> torch.optim.Optimizer:
    """Create Adam or AdamW for the module's parameters, by the preset's ``optimizer``."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if preset.decayed == "all" or p.dim() > 1]
    free = [p for p in parameters if preset.decayed != "all" and p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": preset.weight_decay}]
    if free:
        groups.append({"params": free, "weight_decay": 0.0})
    kind = torch.optim.AdamW if preset.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, preset.learning_rate, betas=preset.betas)


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return torch's exponential moving average of a network's parameters; ``update_parameters`` takes a step in.

    Args:
        network: network to average; its buffers are copied at each step, not averaged.
        decay: decay in 0..1; early steps have the smaller decay ``(n + 1) / (n + 10)`` after n steps.
    """

    @torch.no_grad()
    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        n = int(count)
        torch._foreach_lerp_(list(averaged), list(current), 1 - min(decay, (n + 1) / (n + 10)))

    return AveragedModel(network, multi_avg_fn=average)
