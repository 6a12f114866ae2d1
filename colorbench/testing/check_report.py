"""Reports of conformance checks, and the function that runs checks in order.

A check is a function that returns one line if its subject passes, raises ``CheckFailed`` if not, and ``CheckSkipped``
if it does not apply. A check is skipped if another one that it needs did not pass, so that one fault gives one failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from colorbench.errors import UserError, printable, with_hint
from colorbench.evaluation.first_image_checks import random_state_kept

Kind = Literal["model", "protocol", "dataset"]
Outcome = Literal["passed", "failed", "skipped"]
Subject = TypeVar("Subject")


class CheckFinding(BaseModel):
    """The outcome of one check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Name of the check."""
    outcome: Outcome
    detail: str
    """One line: the finding, or the reason for skipping."""
    hint: str | None = None
    """How to fix it; None unless it failed."""

    def __str__(self) -> str:
        return with_hint(f"{self.name}: {self.outcome}, {self.detail}", self.hint)


class CheckReport(BaseModel):
    """All findings of one model, protocol or dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    name: str
    """Name of what was checked."""
    findings: tuple[CheckFinding, ...]
    seconds: float
    """CPU time of the checks, including started processes."""

    @property
    def failures(self) -> tuple[CheckFinding, ...]:
        """The findings that failed, in order."""
        return tuple(one for one in self.findings if one.outcome == "failed")

    @property
    def passed(self) -> bool:
        """Whether no check failed; a skipped check did not fail."""
        return not self.failures

    def raise_for_failures(self) -> None:
        """Raise if a check failed, for use in tests.

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
        """Store the report; the message lists its failures."""
        super().__init__(str(report))
        self.report = report


class CheckFailed(Exception):
    """Raised by a check that found a fault."""

    def __init__(self, detail: str, hint: str | None = None) -> None:
        """Store ``detail``, the finding, and ``hint``, how to fix it."""
        super().__init__(detail)
        self.detail, self.hint = detail, hint


class CheckSkipped(Exception):
    """Raised by a check that does not apply or cannot be run here; the message states the reason."""


@dataclass(frozen=True)
class ConformanceCheck(Generic[Subject]):
    """One check: its name, its function, and the checks that must have passed before."""

    name: str
    function: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


def run_checks(
    subject: Subject, checks: Sequence[ConformanceCheck[Subject]], skip: Collection[str] = ()
) -> Iterator[CheckFinding]:
    """Run checks in order; a ``UserError``, also one from an error of plugin code, is a failure.

    Random generators are restored after the last.

    Args:
        subject: subject of the checks.
        checks: checks, each after those that it needs.
        skip: names of checks that are left out.

    Raises:
        UserError: for an unknown check in ``skip``.
    """
    names = [check.name for check in checks]
    if unknown := [name for name in skip if name not in names]:
        raise UserError(f"unknown check {unknown[0]!r}", hint=f"known: {', '.join(names)}")
    outcomes: dict[str, Outcome] = {}
    with random_state_kept():
        for check in checks:
            if check.name in skip:
                finding = CheckFinding(name=check.name, outcome="skipped", detail="skipped on request")
            else:
                finding = _finding(subject, check, outcomes)
            outcomes[check.name] = finding.outcome
            yield finding


def report_of(kind: Kind, name: str, findings: Iterator[CheckFinding]) -> CheckReport:
    """Collect findings in a report with their CPU time."""
    started = sum(os.times()[:4])
    collected = tuple(findings)
    return CheckReport(kind=kind, name=name, findings=collected, seconds=round(sum(os.times()[:4]) - started, 3))


def _finding(subject: Subject, check: ConformanceCheck[Subject], outcomes: dict[str, Outcome]) -> CheckFinding:
    missing = [name for name in check.needs if outcomes.get(name) != "passed"]
    if missing:
        return CheckFinding(name=check.name, outcome="skipped", detail=f"the check {missing[0]!r} did not pass")
    try:
        return CheckFinding(name=check.name, outcome="passed", detail=printable(check.function(subject)))
    except CheckSkipped as skipped:
        return CheckFinding(name=check.name, outcome="skipped", detail=printable(str(skipped)))
    except CheckFailed as failed:
        return CheckFinding(name=check.name, outcome="failed", detail=printable(failed.detail), hint=failed.hint)
    except UserError as error:
        what = error.what if error.where is None else f"{error.what} ({error.where})"
        return CheckFinding(name=check.name, outcome="failed", detail=printable(what), hint=error.hint)
