"""What ``colorbench verify`` finds: the schema of its JSON, which ``verify --output`` writes and boards read.

A verification belongs to one record: ``record_sha256`` is of the bytes of its ``record.json``. It says what the person
who ran it found, so a board believes those that it is given by name (or makes itself), never one that lies beside a
record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from colorbench.errors import UserError
from colorbench.results.tabular import Tabular
from colorbench.storage import MEGABYTE, read_plain

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["holds", "fails", "unchecked"]

PROMISE = (
    "Verification recomputes the stored numbers from the stored rows. It cannot know whether the rows were ever "
    "measured: a submitter can invent consistent rows. `colorbench verify RECORD --data DIR "
    "--rerun N` checks this: it evaluates N images again, chosen at random by the verifier."
)
"""What verification promises and what it cannot know; also for the pages of a board."""
CLAIMED = (
    "dataset name, source and license",
    "speed, hardware and threads",
    "provenance (command, versions, commit, time)",
)
"""What nothing beside a record can contradict."""

MOST_FINDINGS = 20
"""Maximum number of findings per check: a damaged folder of 10,000 images must not give 10,000 lines."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Check(_Part):
    """One thing that was looked at; a thing may fail in several ways, each a line."""

    name: str
    """``record``, ``rows``, ``arrays``, ``images``, ``predictions``, ``images``, ``model``, ``identity``,
    ``key``, ``scores``, ``metrics``, ``differences``, ``curves``, ``notes``, ``rerun``."""
    outcome: Outcome
    detail: str
    """One line: what was found, or why it could not be looked at."""


class Rerun(_Part):
    """Images that were colorized and scored once more."""

    images: int
    """Drawn at random and compared."""
    seed: int
    """Of the draw."""
    largest: float
    """The largest departure of any stored number in units of max(1, |measured again|), see ``rerun.TOLERANCE``."""
    tolerance: float
    ids: list[str]


class Verification(Tabular, _Part):
    """All checks of one record."""

    schema_version: Literal[2] = 2
    record_sha256: str
    key: str | None
    """None where the record could not be read."""
    model: str | None
    protocol: str | None
    holds: bool
    """Whether nothing failed. What is ``unchecked`` did not fail."""
    checks: list[Check]
    rerun: Rerun | None
    """None where nothing was measured again."""
    claimed: list[str] = []
    """What was not checked and is claimed by the submitter."""
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
            f"{count} {outcome}"
            for outcome in ("holds", "fails", "unchecked")
            if (count := sum(one.outcome == outcome for one in self.checks))
        )
        found = "holds" if self.holds else "does not hold"
        return f"<Verification of {self.model}, {self.protocol}: {found} ({counts})>"


def read_verification(path: Path) -> Verification:
    """Read a file that ``colorbench verify --output`` wrote.

    Raises:
        UserError: where there is none, or it is none.
    """
    hint = "create one with `colorbench verify RECORD --output FILE`"
    data = read_plain(path, 16 * MEGABYTE, missing="no verification report here", hint=hint)
    try:
        return Verification.model_validate_json(data)
    except ValueError as error:
        raise UserError("not a verification report", where=str(path), hint=hint) from error


@dataclass
class Findings:
    """Checks as they are made."""

    checks: list[Check] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    """What is not checked and claimed by the submitter."""

    def claim(self, what: str) -> None:
        """Add something that the submitter claims and nothing here can contradict."""
        if what not in self.claimed:
            self.claimed.append(what)

    def say(self, name: str, outcome: Outcome, detail: str) -> None:
        """Add one line."""
        # Details quote names from strangers: a line stays a line.
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in detail).split())
        self.checks.append(Check(name=name, outcome=outcome, detail=line[:500]))

    def settle(self, name: str, findings: Iterator[str], holds: str) -> bool:
        """Add a line for each finding, or one line that all holds."""
        found = list(findings)
        for one in found[:MOST_FINDINGS]:
            self.say(name, "fails", one)
        if len(found) > MOST_FINDINGS:
            self.say(name, "fails", f"and {len(found) - MOST_FINDINGS} more")
        if not found:
            self.say(name, "holds", holds)
        return not found
