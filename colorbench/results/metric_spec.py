"""``MetricSpec``: the declaration of a metric by a protocol, and checks of the columns of its rows."""

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
    """The declaration of a metric by a protocol."""

    name: str
    title: str
    """A few words for a table's head."""
    unit: str
    """``%``, ``dB``, ``ΔE00`` ...; empty for a plain number."""
    higher_is_better: bool | None
    """None if neither direction is better (lightness drift, colorfulness)."""
    lower_bound: float | None = None
    upper_bound: float | None = None
    explanation: str = ""
    """Explanation in one sentence, for a newcomer."""
    form: Literal["ratio", "abs_difference"] = "ratio"
    """Function of the sums S of the per-image statistics: ``ratio`` S0/S1; ``abs_difference`` |S0 - S1|/S2. The
    statistics are in the columns ``<name>.s0``, ``<name>.s1`` ... of the rows."""
    comparable: bool = True
    """Whether models may be compared by it (False: only displayed)."""
    interval: bool = True
    """Whether a bootstrap interval is valid for it."""
    classifier: str | None = None
    """Name of the classifier that gives the score; None for other metrics."""
    share_of_gap: bool = False
    """Whether the value is a share of the gap S1 between two baselines. The interval is then Fieller's, and there is no
    value if the interval of the gap contains 0."""
    of_ground_truth: float | None = None
    """Score of the ground truth itself on every image (AuC 100, CIEDE2000 0); None without a fixed score."""
    ground_truth_margin: float = 0.0
    """A score within this margin is that of the ground truth; a prediction from lightness alone is farther off."""


FIXED_COLUMNS = ("id", "sha256", "label", "gray", "height", "width")
"""Columns of the rows that describe the image."""
COUNT = {"ratio": 2, "abs_difference": 3}
"""Form of a metric -> number of its statistics."""
_NAME = re.compile(r"\w(?:[\w .@+:/()=%-]{0,98}[\w)%])?")
_STATISTIC = re.compile(r"\.s\d+$")


def check_metrics(protocol: str, metrics: Sequence[MetricSpec]) -> None:
    """Raise for specs of metrics with ambiguous columns or bounds that cannot be stored.

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
    """Raise for columns of a metric's spec whose names the rows cannot hold.

    Raises:
        RunError: naming the protocol and the column.
    """
    if (wrong := _wrong_name(columns)) is not None:
        raise RunError(f"protocol {protocol}: {wrong}", hint="its author must choose other names")


def check_statistics(protocol: str, metrics: Sequence[MetricSpec], columns: Iterable[str]) -> None:
    """Raise for rows from which a metric cannot be computed.

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
    """Return the fault in the name of a column or metric; None if it is valid."""
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"{name!r} cannot be the name of a column: letters, digits and .@+:/()=%-_ only, at most 100"
        if name in FIXED_COLUMNS:
            return f"the column name {name!r} is taken: every row has {', '.join(FIXED_COLUMNS)}"
    return None
