"""Schema of the JSON of ``colorbench verify``, which ``verify --output`` writes and leaderboards read.

A verification belongs to one record: ``record_sha256`` is the hash of its ``record.json``. It is a statement of whoever
ran it, so a leaderboard uses only verifications that it is given explicitly or makes itself, never a file beside a
record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from colorbench.errors import UserError, printable
from colorbench.results.dataframe_and_html import Tabular
from colorbench.storage import parse_json, read_plain
from colorbench.storage.limits import LARGEST_REPORT

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["holds", "fails", "unchecked"]

PROMISE = (
    "Verification recomputes the stored numbers from the stored rows. It cannot know whether the rows were ever "
    "measured: a submitter can invent consistent rows. To check this, run colorbench verify RECORD --data DIR "
    "--rerun N: it evaluates N images again, chosen at random by the verifier."
)
"""Text on what verification shows and what it cannot, also for the pages of a leaderboard."""
CLAIMED = (
    "dataset name, source and license",
    "speed, hardware and threads",
    "provenance (command, versions, commit, time)",
)
"""Statements of a record that cannot be checked."""

MOST_FINDINGS = 20
"""Largest number of findings per check, so that a damaged folder of 10,000 images does not give 10,000 lines."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Check(_Part):
    """Outcome of one check; a check may fail in several ways, with one entry each."""

    name: str
    """``record``, ``rows``, ``arrays``, ``images``, ``predictions``, ``images``, ``model``, ``identity``,
    ``key``, ``scores``, ``metrics``, ``differences``, ``curves``, ``notes``, ``rerun``."""
    outcome: Outcome
    detail: str
    """One line: the finding, or the reason why it could not be checked."""


class Rerun(_Part):
    """Summary of a rerun."""

    images: int
    """Number of random images that were compared."""
    seed: int
    """Seed of the draw."""
    largest: float
    """Largest deviation of a stored number, in units of max(1, |new value|)."""
    tolerance: float
    ids: list[str]


class Verification(Tabular, _Part):
    """Verification of one record: all checks."""

    schema_version: Literal[2] = 2
    record_sha256: str
    key: str | None
    """None if the record could not be read."""
    model: str | None
    protocol: str | None
    holds: bool
    """Whether no check failed; ``unchecked`` is not a failure."""
    checks: list[Check]
    rerun: Rerun | None
    """None without a rerun."""
    claimed: list[str] = []
    """Unchecked claims of the submitter."""
    promise: str = PROMISE
    colorbench_version: str
    time: str
    """UTC, ISO 8601."""

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per finding, with the columns ``check``, ``outcome`` and ``detail``."""
        import pandas as pd  # half a second to import

        rows = [(one.name, one.outcome, one.detail) for one in self.checks]
        return pd.DataFrame(rows, columns=["check", "outcome", "detail"])

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{count} {word}"
            for outcome, word in (("holds", "ok"), ("fails", "failed"), ("unchecked", "skipped"))
            if (count := sum(one.outcome == outcome for one in self.checks))
        )
        found = "all checks passed" if self.holds else "FAILED"
        return f"<Verification of {self.model}, {self.protocol}: {found} ({counts})>"


def read_verification(path: Path) -> Verification:
    """Read a file that ``colorbench verify --output`` wrote.

    Raises:
        UserError: for a missing or invalid file.
    """
    hint = "create one with `colorbench verify RECORD --output FILE`"
    data = read_plain(path, LARGEST_REPORT, missing="no verification report here", hint=hint)
    try:
        return Verification.model_validate(parse_json(data))
    except ValueError as error:
        raise UserError("not a verification report", where=str(path), hint=hint) from error


@dataclass
class Findings:
    """Collector of the outcomes of checks."""

    checks: list[Check] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    """Unchecked claims of the submitter."""

    def claim(self, what: str) -> None:
        """Add a claim of the submitter that cannot be checked."""
        if (line := printable(what)) not in self.claimed:
            self.claimed.append(line)

    def say(self, name: str, outcome: Outcome, detail: str) -> None:
        """Add the outcome of one check."""
        self.checks.append(Check(name=name, outcome=outcome, detail=printable(detail)))

    def settle(self, name: str, findings: Iterator[str], holds: str) -> bool:
        """Add one entry per finding, or one that the check holds."""
        found = list(findings)
        for one in found[:MOST_FINDINGS]:
            self.say(name, "fails", one)
        if len(found) > MOST_FINDINGS:
            self.say(name, "fails", f"and {len(found) - MOST_FINDINGS} more")
        if not found:
            self.say(name, "holds", holds)
        return not found
