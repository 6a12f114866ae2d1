"""Training settings of the classification network."""

from __future__ import annotations

from colorbench.training.preset import Preset, View

PRESETS = {
    "small": Preset(
        description="two CPU cores, about an hour; photographs of 128 pixels",
        width=0.2,
        cache_size=128,
        # Small crops first: a step costs less than half, and what colour a thing has shows at 64 pixels already.
        views=(
            View(begin=0.0, size=64, low=88, high=128, batch_size=32),
            View(begin=0.7, size=96, low=100, high=128, batch_size=24),
        ),
        steps=13_500,
        learning_rate=1.5e-3,
        warmup=300,
        decay=0.4,
        betas=(0.9, 0.99),
        weight_decay=1e-2,
        clip=1.0,
        average=0.999,
        neighbours=10,
        lam=0.5,
        working_size=96,
    ),
}
