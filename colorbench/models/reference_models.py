"""The three models that stand beside every other, so that its numbers can be read: gray, one color, the truth."""

from __future__ import annotations

GRAY_MODEL, CONSTANT_MODEL, TRUTH_MODEL = "zoo/gray", "zoo/constant", "zoo/ground-truth"
"""Names of the three models."""
BASELINES = {GRAY_MODEL: "gray", CONSTANT_MODEL: "constant", TRUTH_MODEL: "truth"}
"""Names, in the order in which they are measured, and the heads of their columns."""
DIFFERENCES = (GRAY_MODEL, CONSTANT_MODEL)
"""Those that differences are taken from, each from those before it."""
