"""What is known of a metric before anything is measured."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from colorbench.errors import RunError, UserError
from colorbench.storage.hashes import not_storable


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
    """Name of the classifier whose score it is; None for other metrics."""
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
_NAME = re.compile(r"\w(?:[\w .@+:/()=%-]{0,98}[\w)%])?")
_STATISTIC = re.compile(r"\.s\d+$")


def check_metrics(protocol: str, metrics: Sequence[MetricSpec]) -> None:
    """Raise for metrics with ambiguous columns, and for bounds that cannot be stored.

    Raises:
        UserError: naming the protocol and the metric.
    """
    names = [metric.name for metric in metrics]
    wrong = _wrong_name(names)
    if wrong is None and (twice := [name for name, count in Counter(names).items() if count > 1]):
        wrong = f"two metrics have the same name: {twice[0]!r}"
    if wrong is None and (statistics := [name for name in names if _STATISTIC.search(name)]):
        wrong = f"the metric {statistics[0]!r} has the name of another metric's statistics"
    if wrong is not None:
        raise UserError(f"protocol {protocol}: {wrong}", hint="its author must choose other names")
    for metric in metrics:
        if (why := not_storable(vars(metric))) is not None:
            what = f"protocol {protocol}: the metric {metric.name!r} cannot be stored in a record: {why}"
            raise UserError(what, hint="use finite numbers and text")


def check_columns(protocol: str, columns: Iterable[str]) -> None:
    """Refuse columns whose names the rows cannot hold.

    Raises:
        RunError: naming the protocol and the column.
    """
    if (wrong := _wrong_name(columns)) is not None:
        raise RunError(f"protocol {protocol}: {wrong}", hint="its author must choose other names")


def check_statistics(protocol: str, metrics: Sequence[MetricSpec], columns: Iterable[str]) -> None:
    """Refuse rows from which a metric cannot be computed.

    Raises:
        RunError: naming the protocol and the column that is missing.
    """
    there = set(columns)
    for metric in metrics:
        for j in range(COUNT[metric.form]):
            if (name := f"{metric.name}.s{j}") not in there:
                hint = f"its scorer must give it in `columns`, or in the summary's `statistics`; form {metric.form}"
                raise RunError(f"protocol {protocol} gave no column {name}", hint=hint)


def _wrong_name(names: Iterable[str]) -> str | None:
    """Return what is wrong with the name of a column or metric; None if it is valid."""
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"{name!r} cannot be the name of a column: letters, digits and .@+:/()=%-_ only, at most 100"
        if name in FIXED_COLUMNS:
            return f"the column name {name!r} is taken: every row has {', '.join(FIXED_COLUMNS)}"
    return None
