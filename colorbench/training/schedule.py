"""Learning rate over a training."""

from __future__ import annotations


def trapezoid(step: int, steps: int, *, warmup: int, decay: float) -> float:
    """Factor in 0..1: linear rise over ``warmup`` steps, then 1, then linear fall over the last ``decay`` share.

    The flat part lets a training be lengthened after the fact: only the fall depends on ``steps``.
    """
    fall = max(1.0, steps * decay)
    return max(0.0, min(1.0, (step + 1) / max(1, warmup), (steps - step) / fall))
