"""Training presets of the classification network."""

from __future__ import annotations

from colorbench.training import CropStage, LearningRateDrop, TrainingPreset

# Text and code agree on these, or only the code states them.
_CROPS = (CropStage(begin=0.0, size=176, low=176, high=176, batch_size=40),)

_SMALL = TrainingPreset(
    description="about 1.5 hours on two CPU cores; images of 128 pixels",
    width=0.2,
    cache_size=128,
    # Small crops first: a step costs less than half, and colors of objects can be learned at 64 pixels.
    views=(
        CropStage(begin=0.0, size=64, low=76, high=128, batch_size=32),
        CropStage(begin=0.8, size=96, low=100, high=128, batch_size=24),
    ),
    steps=18_000,
    learning_rate=1.5e-3,
    warmup=300,
    decay=0.4,
    optimizer="adamw",
    weight_decay=1e-2,
    decayed="filters",
    reduction="mean",
    clip=1.0,
    average=0.999,
    head="prior",
    prior_floor=1e-5,
    working_size=96,
)

PRESETS = {
    "small": _SMALL,
    "base": _SMALL.model_copy(
        update={
            "description": "about ten minutes on an H100 with --dtype bfloat16; images of 128 pixels",
            "width": 0.5,
            "views": (
                CropStage(begin=0.0, size=64, low=64, high=128, batch_size=256),
                CropStage(begin=0.8, size=128, low=100, high=128, batch_size=128),
            ),
            "steps": 14_000,
            "learning_rate": 2e-3,
            "warmup": 500,
            "decay": 0.5,
            "weight_decay": 2e-2,
            "average": 0.9995,
            "working_size": 128,
        }
    ),
    "paper": TrainingPreset(
        description="the paper's text; crop and batch size, which it does not state, as in the released code",
        cache_size=256,
        views=_CROPS,
        steps=450_000,
        learning_rate=3e-5,
        drops=(LearningRateDrop(200_000, 1e-5), LearningRateDrop(375_000, 3e-6)),
        neighbors=5,  # "a typo", says its first author (richzhang/colorization, issue 59)
        prior="smoothed",
        working_size=256,
    ),
    "released": TrainingPreset(
        description="the released code where it differs from the text",
        cache_size=256,
        views=_CROPS,
        steps=450_000,  # its solver allows 500,000; its README says that 450,000 are enough
        learning_rate=3.16e-5,
        drops=(LearningRateDrop(215_000, 3.16e-5 * 0.316), LearningRateDrop(430_000, 3.16e-5 * 0.316**2)),
        neighbors=10,
        prior="soft",
        gray_mask=5.0,
        temperature=1 / 2.606,
        working_size=256,
    ),
}

UNBALANCED_PRESETS = {
    name: preset.model_copy(update={"lam": 1.0, "description": f"{preset.description}; all pixels have equal weight"})
    for name, preset in PRESETS.items()
}
"""Presets of ``zoo/cic-class``: the paper's "Ours (class)", lambda = 1."""
