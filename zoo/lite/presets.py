"""Training settings of the decoder."""

from __future__ import annotations

from colorbench.training import CropStage, TrainingPreset

PRESETS = {
    "small": TrainingPreset(
        description="about an hour on two CPU cores; the encoder stays frozen; images of 128 pixels",
        cache_size=128,
        views=(
            # The encoder knows objects as large as in images of 224 pixels: crops are shown at 128 or more.
            CropStage(begin=0.0, size=128, low=80, high=128, batch_size=32),
            CropStage(begin=0.8, size=160, low=112, high=128, batch_size=24),
        ),
        steps=6_000,
        learning_rate=2e-3,
        warmup=200,
        decay=0.6,
        optimizer="adamw",
        weight_decay=2e-2,
        decayed="filters",
        reduction="mean",
        clip=1.0,
        average=0.999,
        start="default",
        head="prior",
        prior_floor=1e-5,
        working_size=192,
    ),
}
