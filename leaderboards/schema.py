"""The board as plain data: groups of columns, rows of models, a cell for each; no image and no markup.

A *group* is what records must share to stand in one column: protocol, version, resolved parameters, images (by
content) and what becomes of gray ones. A *column* is one metric of a group. A *row* is one model with one set of
weights, one version and one way of decoding. Text is shown as ``text.clean`` leaves it; numbers are the records' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from colorbench.stats import excludes_zero, significance
from leaderboards.entries import Excluded, Unfinished

SCHEMA_VERSION = 2
Kind = Literal["competitor", "reference"]


@dataclass(frozen=True)
class Badge:
    """Something to know before believing a number."""

    word: str
    """Two or three words."""
    meaning: str
    """One sentence."""
    tone: Literal["warn", "good", "plain"] = "warn"


@dataclass(frozen=True)
class Improvement:
    """A paired difference from a bound on the same images."""

    value: float
    ci_low: float | None
    ci_high: float | None

    @property
    def clear(self) -> bool:
        """Whether its interval excludes no difference."""
        return excludes_zero(self.ci_low, self.ci_high)

    def shows(self, higher_is_better: bool) -> Literal["better", "worse"] | None:
        """Return what its interval shows."""
        return significance(self.ci_low, self.ci_high, higher_is_better)


@dataclass(frozen=True)
class Cell:
    """One model by one metric."""

    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    ci_method: str | None = None
    n: int = 0
    effective_n: float = 0.0
    first_rank: int | None = None
    last_rank: int | None = None
    over_gray: Improvement | None = None
    over_constant: Improvement | None = None
    """From the best single color, which beats gray, too."""
    warning: str | None = None
    missing: str | None = None
    """Why there is no value; None where there is one."""
    unranked: str | None = None
    """Why this model alone is not ranked by a metric that ranks others."""
    recomputed: bool = False
    """Whether the value was derived again from the rows; else it is the submitter's word."""


@dataclass(frozen=True)
class Column:
    """One metric of a group."""

    id: str
    group: int
    metric: str
    title: str
    unit: str
    higher_is_better: bool | None
    headline: bool
    compared: bool
    """Whether differences between models by it may be believed."""
    explanation: str
    shown: bool
    """Whether the page opens with it."""
    ranked: int = 0
    """Models that are ranked by it."""
    unranked: str | None = None
    """Why nobody is ranked."""
    detectable: float | None = None
    """The smallest difference that these images show with 80 % probability among these models."""
    beats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Row -> rows that it is significantly better than."""


@dataclass(frozen=True)
class Choice:
    """One choice of a protocol, as this group has it."""

    name: str
    value: str
    apart: bool
    """Whether another group of the same protocol has chosen otherwise."""


@dataclass(frozen=True)
class Group:
    """Columns that share everything that could make their numbers differ."""

    number: int
    protocol: str
    version: int
    title: str
    identity_sha256: str
    dataset: str
    fingerprint: str
    preprocessing: str
    gray_policy: str
    n: int
    redistributable: bool
    source: str
    """Where the images come from, and whom to credit for them."""
    records: int
    choices: tuple[Choice, ...]
    headline: str | None
    """Id of the column that it is sorted by."""
    too_few_images: bool
    """Fewer than 30 images."""
    installed: bool
    """Whether the protocol is known here in the same version."""


@dataclass(frozen=True)
class Source:
    """One record behind a row."""

    group: int
    key: str
    record_sha256: str
    badges: tuple[Badge, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    images_per_second: float
    device: str
    checks: tuple[tuple[str, str, str], ...] = ()
    """(name, outcome, detail) of its verification."""


@dataclass(frozen=True)
class Row:
    """One model."""

    id: str
    name: str
    label: str
    """The name, with what tells it from others of that name."""
    kind: Kind
    role: str
    title: str
    parameters: int | None
    card: tuple[tuple[str, str], ...]
    """What its card says: (heading, text)."""
    link: str | None
    """Address of its paper, where the card gives one."""
    badges: tuple[Badge, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Board:
    """Everything that the page and the tables show, but for images and curves."""

    title: str
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """Competitors first, the best by the first group's headline on top; then the bounds."""
    cells: Mapping[str, Mapping[str, Cell]]
    """Row -> column -> cell; every pair has one."""
    unfinished: tuple[Unfinished, ...]
    excluded: tuple[Excluded, ...]
    """Records that cannot be read, or that contradict themselves."""
    version: str
    """Of colorbench."""

    @property
    def competitors(self) -> tuple[Row, ...]:
        """Rows that are ranked."""
        return tuple(row for row in self.rows if row.kind == "competitor")

    @property
    def references(self) -> tuple[Row, ...]:
        """Rows that only say what a number is worth."""
        return tuple(row for row in self.rows if row.kind == "reference")

    def of_group(self, group: int) -> tuple[Column, ...]:
        """Return the columns of a group."""
        return tuple(column for column in self.columns if column.group == group)

    def plain(self) -> dict[str, Any]:
        """Return what ``board.json`` holds."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}
