"""What a conformance check reports, and how its checks are run one after another.

A check is a function that returns one line where its subject passes, raises ``CheckFailed`` where it does not and
``CheckSkipped`` where nothing can be said. A check may need others: it is skipped where one of them did not pass, so
that one fault gives one failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from colorbench.errors import UserError

Kind = Literal["model", "protocol", "dataset"]
Outcome = Literal["passed", "failed", "skipped"]
Subject = TypeVar("Subject")


class CheckFinding(BaseModel):
    """The outcome of one check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Of the check."""
    outcome: Outcome
    detail: str
    """One line: what was found, or why nothing could be said."""
    hint: str | None = None
    """How to fix it; None unless it failed."""

    def __str__(self) -> str:
        line = f"{self.name}: {self.outcome}, {self.detail}"
        return line if self.hint is None else f"{line}. Hint: {self.hint}"


class CheckReport(BaseModel):
    """All findings of one model, protocol or dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    name: str
    """Of what was checked."""
    findings: tuple[CheckFinding, ...]
    seconds: float
    """CPU time of the checks, processes that they started included."""

    @property
    def failures(self) -> tuple[CheckFinding, ...]:
        """The findings that failed, in order."""
        return tuple(one for one in self.findings if one.outcome == "failed")

    @property
    def passed(self) -> bool:
        """Whether no check failed; a skipped check did not fail."""
        return not self.failures

    def raise_for_failures(self) -> None:
        """Raise where a check failed, for use in a test.

        Raises:
            ConformanceError: naming each check that failed, with its hint.
        """
        if not self.passed:
            raise ConformanceError(self)

    def __str__(self) -> str:
        failed = len(self.failures)
        head = f"{failed} of {len(self.findings)} checks failed" if failed else "all checks passed"
        return "\n  ".join([f"{self.kind} {self.name}: {head}", *map(str, self.failures)])


class ConformanceError(AssertionError):
    """A model, protocol or dataset failed checks; ``report`` has all findings."""

    def __init__(self, report: CheckReport) -> None:
        """Keep the report; the message is its failures."""
        super().__init__(str(report))
        self.report = report


class CheckFailed(Exception):
    """A check found a fault."""

    def __init__(self, detail: str, hint: str | None = None) -> None:
        """``detail``: what was found; ``hint``: how to fix it."""
        super().__init__(detail)
        self.detail, self.hint = detail, hint


class CheckSkipped(Exception):
    """A check does not apply to its subject, or cannot be tried here; the message says why."""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One check: its name, the function that makes it, and the checks that must have passed before."""

    name: str
    function: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


def run_checks(
    subject: Subject, checks: Sequence[Check[Subject]], skip: Collection[str] = ()
) -> Iterator[CheckFinding]:
    """Run checks in order; a ``UserError``, which is what code of a plugin becomes, is a failure.

    Args:
        subject: what is checked.
        checks: in an order in which each comes after those that it needs.
        skip: names of checks that are left out.

    Raises:
        UserError: for the name of a check that there is not.
    """
    names = [check.name for check in checks]
    if unknown := [name for name in skip if name not in names]:
        raise UserError(f"unknown check {unknown[0]!r}", hint=f"known: {', '.join(names)}")
    outcomes: dict[str, Outcome] = {}
    for check in checks:
        if check.name in skip:
            finding = CheckFinding(name=check.name, outcome="skipped", detail="skipped on request")
        else:
            finding = _finding(subject, check, outcomes)
        outcomes[check.name] = finding.outcome
        yield finding


def report_of(kind: Kind, name: str, findings: Iterator[CheckFinding]) -> CheckReport:
    """Collect findings into a report, with the CPU time that they took."""
    started = sum(os.times()[:4])
    collected = tuple(findings)
    return CheckReport(kind=kind, name=name, findings=collected, seconds=round(sum(os.times()[:4]) - started, 3))


def _finding(subject: Subject, check: Check[Subject], outcomes: dict[str, Outcome]) -> CheckFinding:
    missing = [name for name in check.needs if outcomes.get(name) != "passed"]
    if missing:
        return CheckFinding(name=check.name, outcome="skipped", detail=f"the check {missing[0]!r} did not pass")
    try:
        return CheckFinding(name=check.name, outcome="passed", detail=_line(check.function(subject)))
    except CheckSkipped as skipped:
        return CheckFinding(name=check.name, outcome="skipped", detail=_line(str(skipped)))
    except CheckFailed as failed:
        return CheckFinding(name=check.name, outcome="failed", detail=_line(failed.detail), hint=failed.hint)
    except UserError as error:
        what = error.what if error.where is None else f"{error.what} ({error.where})"
        return CheckFinding(name=check.name, outcome="failed", detail=_line(what), hint=error.hint)


def _line(text: str) -> str:
    """Return one printable line: details quote messages of foreign code."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:500]
