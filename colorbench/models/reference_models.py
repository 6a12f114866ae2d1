"""The three models that stand beside every other, so that its numbers can be read: gray, one color, the truth."""

from __future__ import annotations

GRAY, CONSTANT, TRUTH = "zoo/gray", "zoo/constant", "zoo/ground-truth"
"""Names of the three models."""
BASELINES = {GRAY: "gray", CONSTANT: "constant", TRUTH: "truth"}
"""Names, in the order in which they are measured, and the heads of their columns."""
DIFFERENCES = (GRAY, CONSTANT)
"""Those that differences are taken from, each from those before it."""
