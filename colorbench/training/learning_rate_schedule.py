"""Learning rate over a training."""

from __future__ import annotations

from colorbench.training.training_preset import TrainingPreset


def trapezoid(step: int, steps: int, *, warmup: int, decay: float) -> float:
    """Return a factor in 0..1.

    Linear rise over ``warmup`` steps, then 1, then linear fall over the last ``decay`` share.

    The flat part lets a training be lengthened after the fact: only the fall depends on ``steps``.
    """
    fall = max(1.0, steps * decay)
    return max(0.0, min(1.0, (step + 1) / max(1, warmup), (steps - step) / fall))


def learning_rate(preset: TrainingPreset, step: int, steps: int) -> float:
    """Return the rate of a step, from 0 on: the last drop that was reached, times the trapezoid."""
    rate = preset.learning_rate
    for drop in preset.drops:
        if step >= drop.step:
            rate = drop.learning_rate
    return rate * trapezoid(step, steps, warmup=preset.warmup, decay=preset.decay)
