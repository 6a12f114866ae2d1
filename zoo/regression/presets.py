"""Training presets of the regression networks: those of the classification, as in the paper."""

from __future__ import annotations

from zoo.cic.presets import PRESETS as CLASSIFICATION

PRESETS = {
    name: preset.model_copy(update={"lam": 1.0, "description": f"{preset.description}; Euclidean loss"})
    for name, preset in CLASSIFICATION.items()
}
FINE_TUNING_PRESETS = {
    name: preset.model_copy(update={"description": f"{preset.description}, initialized from the trunk of zoo/cic"})
    for name, preset in PRESETS.items()
}
