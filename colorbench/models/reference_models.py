"""Names of the baseline and reference models in every run: gray, constant color, ground truth."""

from __future__ import annotations

GRAY_MODEL, CONSTANT_MODEL, TRUTH_MODEL = "zoo/gray", "zoo/constant", "zoo/ground-truth"
"""Names of the three models."""
BASELINES = {GRAY_MODEL: "gray", CONSTANT_MODEL: "constant", TRUTH_MODEL: "truth"}
"""Names, in the order of evaluation, and the titles of their columns."""
DIFFERENCES = (GRAY_MODEL, CONSTANT_MODEL)
"""Models from which differences are computed, each also from those before it."""
