"""Learning rate schedule of a training."""

from __future__ import annotations

from colorbench.training.training_preset import TrainingPreset


def trapezoid(step: int, steps: int, *, warmup: int, decay: float) -> float:
    """Return the factor of the learning rate schedule at a step, 0..1.

    It rises linearly over ``warmup`` steps, stays at 1, and falls linearly over the last ``decay`` share. The flat part
    allows lengthening a training later, since only the fall depends on ``steps``.
    """
    fall = max(1.0, steps * decay)
    return max(0.0, min(1.0, (step + 1) / max(1, warmup), (steps - step) / fall))


def learning_rate(preset: TrainingPreset, step: int, steps: int) -> float:
    """Return the learning rate of a step, counted from 0: that of the last drop, times the trapezoid."""
    rate = preset.learning_rate
    for drop in preset.drops:
        if step >= drop.step:
            rate = drop.learning_rate
    return rate * trapezoid(step, steps, warmup=preset.warmup, decay=preset.decay)
