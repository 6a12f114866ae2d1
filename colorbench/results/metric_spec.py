"""What is known of a metric before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class MetricSpec:
    """What is known of a metric before anything is measured."""

    name: str
    title: str
    """A few words for a table's head."""
    unit: str
    """``%``, ``dB``, ``ΔE00`` ...; empty for a plain number."""
    higher_is_better: bool | None
    """None where neither direction is better (lightness drift, colorfulness itself)."""
    lower_bound: float | None = None
    upper_bound: float | None = None
    explanation: str = ""
    """One sentence for a newcomer."""
    form: Literal["ratio", "abs_difference"] = "ratio"
    """How the value follows from the sums S of the per-image statistics: ``ratio`` S0/S1;
    ``abs_difference`` |S0 - S1|/S2. The statistics stand in the rows' columns ``<name>.s0``, ``<name>.s1`` ..."""
    comparable: bool = True
    """Whether pairs of models may be compared by it (False: shown only)."""
    interval: bool = True
    """Whether a bootstrap interval is honest for it."""
    classifier: str | None = None
    """Whose score it is, where a classifier or person classifiers; see ``evaluation.classifiers``."""
    share_of_gap: bool = False
    """Whether S1 is a gap between two baselines and the value a share of it: the interval is then Fieller's, and there
    is no value where the gap's own interval touches 0."""
    of_ground_truth: float | None = None
    """What the ground truth itself scores on every image (AuC 100, CIEDE2000 0); None where it has no fixed score."""
    ground_truth_margin: float = 0.0
    """A score this near to it belongs to the ground truth: a prediction from lightness alone is farther off."""


FIXED_COLUMNS = ("id", "sha256", "label", "gray", "height", "width")
"""Columns of the rows that say which image a row is of."""
COUNT = {"ratio": 2, "abs_difference": 3}
"""Form of a metric -> number of its statistics."""
