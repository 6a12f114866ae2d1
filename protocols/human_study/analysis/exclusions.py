"""Exclusions of responses by the rules of the design, and whether these were fixed before the first participant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from colorbench.errors import UserError
from colorbench.reporting import counted
from protocols.human_study.analysis.response_reading import StudyData
from protocols.human_study.study_folder.design_schema import Exclusions


@dataclass(frozen=True)
class Rule:
    """Exclusions by one rule, of what the previous rules had kept."""

    name: str
    """As in the design."""
    description: str
    """For a reader."""
    participants: int
    trials: int
    """Excluded test and sentinel trials, including those of excluded participants."""

    @property
    def counts(self) -> str:
        """The numbers of participants, if any, and responses, as text."""
        responses = counted(self.trials, "response")
        return f"{counted(self.participants, 'participant')}, {responses}" if self.participants else responses


@dataclass(frozen=True)
class Applied:
    """The result of all rules."""

    kept: np.ndarray
    """(n,) bool over the rows of the responses."""
    rules: tuple[Rule, ...]
    """In the order applied: participants first, then single trials."""
    reasons: dict[str, str]
    """Excluded participant -> name of the first rule that applied."""
    changes: tuple[str, ...] | None
    """Rules that were changed after the first participant: ``min_reaction_ms from 100 to 300``; None: unknown."""

    @property
    def status(self) -> str:
        """Whether the rules were fixed before the first participant, as shown in tables."""
        if self.changes is None:
            return "not known"
        return "changed after the first participant" if self.changes else "pre-specified"

    @property
    def flow(self) -> str:
        """The rules that excluded responses, as text."""
        rules = [rule for rule in self.rules if rule.trials]
        return "; ".join(f"{rule.description} ({rule.counts})" for rule in rules)


def apply(study_data: StudyData) -> Applied:
    """Apply the design's exclusions to the responses of a study.

    Rules about participants use all their responses, not only those that other rules keep.

    Raises:
        UserError: if a rule needs the table of participants and there is none.
    """
    table, rules = study_data.responses, study_data.design.exclusions
    kept = np.ones(len(table), bool)
    flow: list[Rule] = []
    reasons: dict[str, str] = {}
    for name, description, out in _participants(study_data, rules):
        gone = out - set(reasons)
        reasons |= dict.fromkeys(sorted(gone), name)
        rows = table["participant"].isin(gone).to_numpy() & kept
        kept &= ~rows
        flow.append(Rule(name, description, len(gone), int(rows.sum())))
    for name, description, trials in _trials(study_data, rules):
        rows = trials & kept
        kept &= ~rows
        flow.append(Rule(name, description, 0, int(rows.sum())))
    return Applied(kept, tuple(flow), reasons, _changes(study_data.first_exclusions, rules))


def _changes(first: dict[str, Any] | None, rules: Exclusions) -> tuple[str, ...] | None:
    """Return the rules that differ from those before the first participant; a rule that did not exist is left out."""
    if first is None:
        return None
    now = rules.model_dump()
    return tuple(
        f"{name} from {_limit(first[name])} to {_limit(now[name])}"
        for name in now
        if name in first and first[name] != now[name]
    )


def _limit(value: float | bool | None) -> str:
    if value is None:
        return "not applied"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _participants(study_data: StudyData, rules: Exclusions) -> Iterator[tuple[str, str, set[str]]]:
    """Yield (name, description, participants) of every rule about participants."""
    table = study_data.responses
    if rules.complete_only:
        unfinished = table["status"] != "complete"
        yield "complete_only", "did not finish the session", set(table["participant"][unfinished])
    if rules.color_vision:
        participants = study_data.participants
        if "color_vision" not in participants.columns:
            what = "the exclusions use color vision, but the table of participants is missing"
            raise UserError(what, hint="use --participants FILE")
        yield (
            "color_vision",
            "reported a color vision deficiency",
            set(participants["participant"][participants["color_vision"] == "deficient"].astype(str)),
        )
    if rules.min_sentinel_correct is not None and study_data.design.settings.sentinels:
        sentinels = table[table["kind"] == "sentinel"]
        caught = 1 - sentinels.groupby("participant")["fooled"].mean()
        description = f"detected fewer than {100 * rules.min_sentinel_correct:g} % of the sentinels"
        # 1e-9: a share of exactly the limit is kept despite rounding.
        yield "min_sentinel_correct", description, set(caught.index[caught < rules.min_sentinel_correct - 1e-9])
    if rules.max_same_position is not None:
        tests = table[table["kind"] == "test"]
        first = (tests["response"] == "first").groupby(tests["participant"]).mean()
        most = 0.5 + (first - 0.5).abs()
        description = f"chose the same position in more than {100 * rules.max_same_position:g} % of the test trials"
        yield "max_same_position", description, set(most.index[most > rules.max_same_position + 1e-9])


def _trials(study_data: StudyData, rules: Exclusions) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (name, description, (n,) bool) of every rule about single trials.

    A value that was not measured excludes nothing.
    """
    table = study_data.responses
    if rules.min_reaction_ms is not None:
        description = f"responded in less than {rules.min_reaction_ms:g} ms"
        yield "min_reaction_ms", description, (table["reaction_ms"] < rules.min_reaction_ms).to_numpy()
    if rules.max_exposure_error_ms is not None:
        shown: pandas.DataFrame = table[["exposure_first_ms", "exposure_second_ms"]]
        off = (shown - study_data.design.settings.exposure_ms).abs() > rules.max_exposure_error_ms
        description = f"an image was shown more than {rules.max_exposure_error_ms:g} ms too long or too short"
        yield "max_exposure_error_ms", description, off.any(axis=1).to_numpy()
    if rules.max_focus_losses is not None:
        description = "the window lost the focus"
        if rules.max_focus_losses:
            description += f" more than {counted(rules.max_focus_losses, 'time')}"
        yield "max_focus_losses", description, (table["focus_losses"] > rules.max_focus_losses).to_numpy()
