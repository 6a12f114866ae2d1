"""Data classes of the leaderboard: groups of columns, rows of models, cells; no images and no markup.

A *group* is everything that records must share to be in one column: protocol, version, resolved parameters, images (by
content) and gray policy. A *column* is one metric of a group. A *row* is one model with one set of weights, one version
and one way of decoding. Texts have passed ``untrusted_text.clean``; numbers are those of the records.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from colorbench.stats import excludes_zero, significance
from leaderboards.collected_records import Excluded, Unfinished

SCHEMA_VERSION = 4
OTHER = "Other"
ORDER = ("Fidelity", "Distribution", "Semantics", "Representation", "People")
"""Order of the categories on the page; others follow by name, ``Other`` last."""
Kind = Literal["competitor", "reference"]


@dataclass(frozen=True)
class Badge:
    """A short remark on a model or record."""

    word: str
    """Two or three words."""
    meaning: str
    """One sentence."""
    tone: Literal["warn", "good", "plain"] = "warn"


@dataclass(frozen=True)
class Improvement:
    """A paired difference from a baseline on the same images."""

    value: float
    ci_low: float | None
    ci_high: float | None

    @property
    def clear(self) -> bool:
        """Whether its interval excludes 0."""
        return excludes_zero(self.ci_low, self.ci_high)

    def shows(self, higher_is_better: bool) -> Literal["better", "worse"] | None:
        """Return the direction in which it is significant; None if it is not."""
        return significance(self.ci_low, self.ci_high, higher_is_better)


@dataclass(frozen=True)
class Cell:
    """One metric of one model."""

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
    """Difference from the constant-color baseline."""
    warning: str | None = None
    missing: str | None = None
    """Why there is no value; None if there is one."""
    unranked: str | None = None
    """Why this model is not ranked by a metric that ranks others."""
    recomputed: bool = False
    """Whether the value was recomputed from the rows; otherwise it is shown as stored."""


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
    """Whether the protocol declares it comparable between models."""
    explanation: str
    shown: bool
    """Whether it is visible when the page opens."""
    ranked: int = 0
    """Number of models that are ranked by it."""
    unranked: str | None = None
    """Why no model is ranked."""
    detectable: float | None = None
    """Minimal detectable effect (MDE): the smallest difference that these images detect with 80 % power."""
    beats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Row -> rows that it is significantly better than."""


@dataclass(frozen=True)
class Choice:
    """One choice of a protocol and its value in this group."""

    name: str
    value: str
    apart: bool
    """Whether another group of the same protocol has a different value."""


@dataclass(frozen=True)
class Group:
    """Columns that share everything on which their numbers could depend, except the model."""

    number: int
    protocol: str
    category: str
    """What the installed protocol declares; ``Other`` if it is not installed."""
    version: int
    title: str
    identity_sha256: str
    dataset: str
    also_named: tuple[str, ...]
    """Names of other folders with the same images."""
    fingerprint: str
    preprocessing: str
    gray_policy: str
    n: int
    redistributable: bool
    source: str
    """Origin and credits of the images."""
    records: int
    choices: tuple[Choice, ...]
    headline: str | None
    """Id of the column by which rows are sorted."""
    absent: tuple[str, ...]
    """Titles of metrics without a column: no record has a value of them."""
    too_few_images: bool
    """Fewer than 30 images."""
    installed: bool
    """Whether the protocol is installed in the same version."""


@dataclass(frozen=True)
class Source:
    """One record of a row."""

    group: int
    key: str
    record_sha256: str
    badges: tuple[Badge, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    images_per_second: float
    """0 for a folder of predictions."""
    device: str
    checks: tuple[tuple[str, str, str], ...] = ()
    """(name, outcome, detail) of its verification."""


@dataclass(frozen=True)
class Row:
    """One model."""

    id: str
    name: str
    label: str
    """The name, with the properties that distinguish it from others of that name."""
    kind: Kind
    role: str
    title: str
    parameters: int | None
    card: tuple[tuple[str, str], ...]
    """Facts of its model card: (heading, text)."""
    link: str | None
    """Address of its paper, if the card gives one."""
    badges: tuple[Badge, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Category:
    """The groups of one category: one tab of the page."""

    name: str
    fragment: str
    """Id of its section, and the address of its view."""
    groups: tuple[Group, ...]


class RowsAndColumns:
    """Selections from the rows and columns of the board or of one of its tables."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]

    @property
    def competitors(self) -> tuple[Row, ...]:
        """Rows that are ranked."""
        return tuple(row for row in self.rows if row.kind == "competitor")

    @property
    def references(self) -> tuple[Row, ...]:
        """Baselines and oracles, which are not ranked."""
        return tuple(row for row in self.rows if row.kind == "reference")

    def of_group(self, group: int) -> tuple[Column, ...]:
        """Return the columns of a group."""
        return tuple(column for column in self.columns if column.group == group)


@dataclass(frozen=True)
class Board(RowsAndColumns):
    """The content of the page and the tables, except images and curves."""

    title: str
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """Models first, the best by the first group's headline on top; then baselines and oracles."""
    cells: Mapping[str, Mapping[str, Cell]]
    """Row -> column -> cell, for every pair."""
    unfinished: tuple[Unfinished, ...]
    excluded: tuple[Excluded, ...]
    """Records that are unreadable, contradict their rows or failed verification."""
    version: str
    """Version of colorbench."""

    @property
    def meaning_of_intervals(self) -> str:
        """What ``[low, high]`` stands for; empty if no value has an interval. A study has a method of its own."""
        found: dict[tuple[str, str], None] = {}
        for column in self.columns:
            for cell in (cells[column.id] for cells in self.cells.values()):
                if cell.ci_low is not None:
                    method = (cell.ci_method or "").removesuffix(", 95 %")
                    usual = "bootstrap" in method or method in ("", "no variation")
                    found["" if usual else self.groups[column.group].protocol, "" if usual else method] = None
        usual = ("", "") in found
        parts = [f"95 % {'bootstrap ' * usual}confidence interval{' over images' * usual}"]
        return "; ".join([*parts, *(f"of {name}: {method}" for name, method in found if name)]) if found else ""

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories of the groups, in the order of the page."""

        def place(name: str) -> tuple[int, str]:
            known = ORDER.index(name) if name in ORDER else len(ORDER)
            return (known + (name == OTHER), name)

        found: list[Category] = []
        for name in sorted({group.category for group in self.groups}, key=place):
            fragment = "-".join(["results", *re.findall("[a-z0-9]+", name.lower())])
            while any(one.fragment == fragment for one in found):
                fragment += "-"  # names that differ in other characters only
            found.append(Category(name, fragment, tuple(g for g in self.groups if g.category == name)))
        return tuple(found)

    def plain(self) -> dict[str, Any]:
        """Return the content of ``board.json``."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}
