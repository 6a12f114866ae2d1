"""Which answers count: the rules that stand in the design since before the first participant, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas

from colorbench.errors import UserError
from protocols.human_study.analysis.responses import StudyData
from protocols.human_study.study.schema import Exclusions


@dataclass(frozen=True)
class Rule:
    """What one rule left out, of what the rules before it had left in."""

    name: str
    """As in the design."""
    message: str
    """For a reader."""
    participants: int
    trials: int
    """Test and sentinel trials, those of the participants left out included."""


@dataclass(frozen=True)
class Applied:
    """The outcome of all rules."""

    kept: np.ndarray
    """(n,) bool over the rows of the responses."""
    rules: tuple[Rule, ...]
    """In the order applied: participants first, then single trials."""
    reasons: dict[str, str]
    """Participant left out -> name of the first rule that said so."""


def apply(study_data: StudyData) -> Applied:
    """Apply the design's exclusions.

    What a participant is judged by is all their answers, not those that other rules leave.

    Raises:
        UserError: if a rule needs the table of participants and there is none.
    """
    table, rules = study_data.responses, study_data.design.exclusions
    kept = np.ones(len(table), bool)
    flow: list[Rule] = []
    reasons: dict[str, str] = {}
    for name, message, out in _participants(study_data, rules):
        gone = out - set(reasons)
        reasons |= dict.fromkeys(sorted(gone), name)
        rows = table["participant"].isin(gone).to_numpy() & kept
        kept &= ~rows
        flow.append(Rule(name, message, len(gone), int(rows.sum())))
    for name, message, trials in _trials(study_data, rules):
        rows = trials & kept
        kept &= ~rows
        flow.append(Rule(name, message, 0, int(rows.sum())))
    return Applied(kept, tuple(flow), reasons)


def _participants(study_data: StudyData, rules: Exclusions) -> Iterator[tuple[str, str, set[str]]]:
    """Yield (name, description, participants) of every rule about participants."""
    table = study_data.responses
    if rules.complete_only:
        unfinished = table["status"] != "complete"
        yield "complete_only", "did not finish the session", set(table["participant"][unfinished])
    if rules.color_vision:
        participants = study_data.participants
        if "color_vision" not in participants.columns:
            what = "the exclusions ask for color vision, and the table of participants is missing"
            raise UserError(what, hint="give --participants FILE")
        yield (
            "color_vision",
            "said that they do not see all colors",
            set(participants["participant"][participants["color_vision"] == "deficient"].astype(str)),
        )
    if rules.min_sentinel_correct is not None:
        sentinels = table[table["kind"] == "sentinel"]
        caught = 1 - sentinels.groupby("participant")["fooled"].mean()
        message = f"caught fewer than {100 * rules.min_sentinel_correct:g} % of the sentinels"
        # 1e-9: a share of exactly the limit stays, whatever the rounding.
        yield "min_sentinel_correct", message, set(caught.index[caught < rules.min_sentinel_correct - 1e-9])
    if rules.max_same_position is not None:
        tests = table[table["kind"] == "test"]
        first = (tests["response"] == "first").groupby(tests["participant"]).mean()
        most = 0.5 + (first - 0.5).abs()
        message = f"chose the same place in more than {100 * rules.max_same_position:g} % of the test trials"
        yield "max_same_position", message, set(most.index[most > rules.max_same_position + 1e-9])


def _trials(study_data: StudyData, rules: Exclusions) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (name, description, (n,) bool) of every rule about single trials.

    What was not measured is not left out.
    """
    table = study_data.responses
    if rules.min_reaction_ms is not None:
        message = f"answered in less than {rules.min_reaction_ms:g} ms"
        yield "min_reaction_ms", message, (table["reaction_ms"] < rules.min_reaction_ms).to_numpy()
    if rules.max_exposure_error_ms is not None:
        shown: pandas.DataFrame = table[["exposure_first_ms", "exposure_second_ms"]]
        off = (shown - study_data.design.settings.exposure_ms).abs() > rules.max_exposure_error_ms
        message = f"an image seen {rules.max_exposure_error_ms:g} ms too long or too short, or more"
        yield "max_exposure_error_ms", message, off.any(axis=1).to_numpy()
    if rules.max_focus_losses is not None:
        message = "the window lost the focus"
        if rules.max_focus_losses:
            message += f" more than {rules.max_focus_losses} times"
        yield "max_focus_losses", message, (table["focus_losses"] > rules.max_focus_losses).to_numpy()
