"""Text for a paper: methods paragraphs and findings."""

from __future__ import annotations

from collections.abc import Sequence

from colorbench.reporting import format_number
from colorbench.stats import Interval
from protocols.human_study.analysis.fooling_rates import Analysis
from protocols.human_study.study_folder.design_schema import Design

PLATFORMS = {"lab": "in the laboratory", "prolific": "on Prolific", "mturk": "on Amazon Mechanical Turk"}


def methods_paragraph(analysis: Analysis) -> list[str]:
    """Write participants and task, design, exclusions and statistics, one paragraph each."""
    return [_task(analysis), _design(analysis.study_data.design), _exclusions(analysis), _statistics(analysis)]


def findings(analysis: Analysis) -> str:
    """Return the result of a study as text in sentences, best method first."""
    rows = sorted((row for row in analysis.result.methods if not row.sentinel), key=lambda row: -row.rate.value)
    message = [
        f"{row.method} fooled participants in {percent(row.rate.value, row.rate.interval)} of {row.rate.responses} "
        "ratings"
        for row in rows
    ]
    sentences = [f"{'; '.join(message)}."] if message else []
    sentences.extend(
        f"Random colors (sentinels) fooled them in {percent(row.rate.value, row.rate.interval)} of "
        f"{row.rate.responses}."
        for row in analysis.result.methods
        if row.sentinel
    )
    tested = [one for one in analysis.result.comparisons if one.p_holm == one.p_holm]
    clear = [one for one in tested if one.p_holm < 0.05]
    if tested and not clear:
        sentences.append("No difference between methods was significant at the 5 % level.")
    for one in clear:
        higher, lower = (one.first, one.second) if one.difference.value > 0 else (one.second, one.first)
        sentences.append(
            f"{higher} fooled more often than {lower}, by {points(abs(one.difference.value))} percentage points "
            f"({format_p(one.p_holm)}, adjusted)."
        )
    return " ".join(sentences)


def percent(value: float, interval: Interval | None = None) -> str:
    """Format shares for the text on methods as ``32.30 % [29.10, 35.70]``."""
    message = f"{format_number(100 * value, '%')} %"
    if interval is None:
        return message
    return f"{message} [{format_number(100 * interval.low, '%')}, {format_number(100 * interval.high, '%')}]"


def points(value: float, *, signed: bool = False) -> str:
    """Format a difference of shares for the text on methods, in percentage points."""
    return format_number(100 * value, "%", signed=signed)


def format_p(p: float) -> str:
    """Format p for the text on methods as ``p = 0.013`` or ``p < 0.001``; a dash for no test."""
    if p != p:
        return "–"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _task(analysis: Analysis) -> str:
    study_data, settings = analysis.study_data, analysis.study_data.design.settings
    table = study_data.responses
    participants = table["participant"].nunique()
    where = ""
    if "platform" in table.columns:
        known = [PLATFORMS[name] for name in PLATFORMS if (table["platform"] == name).any()]
        where = f" {' and '.join(known)}" if known else ""
    sentinels = ""
    if settings.sentinels:
        sentinels = (
            f", of which {settings.sentinels} were sentinels that any attentive participant should catch (colors "
            "copied from an unrelated image)"
        )
    practice = ""
    if settings.practice:
        practice = f"After {settings.practice} practice pairs with feedback, which are not analyzed, each"
    return (
        f"{participants} {_plural(participants, 'participant', 'participants')} took part{where}. "
        f"{practice or 'Each'} rated up to "
        f"{settings.trials} pairs without feedback{sentinels}. A pair showed one image twice, once with "
        "its true colors and once with colors that a method had predicted from its lightness, one after the other for "
        f"{settings.exposure_ms / 1000:g} s each at {settings.size} x {settings.size} pixels; participants then chose "
        "without time limit which of the two had fake colors. The order was counterbalanced, and "
        "no participant saw an image in two trials."
    )


def _design(design: Design) -> str:
    settings, rated = design.settings, design.rated
    names = ", ".join(one.name for one in rated)
    tests = sum(not one.practice for one in design.images)
    how = {
        "within": "Every participant rated all methods equally often (within participants); images and methods "
        "were crossed in a balanced design, so that every image was shown with every method about equally often.",
        "between": "Every participant rated one method only (between participants); methods were assigned in turn.",
    }[settings.assignment]
    return (
        f"{len(rated)} {_plural(len(rated), 'method was', 'methods were')} rated ({names}) on {tests} images "
        f"of {design.data.name}. {how} The sequence of pairs was drawn with seed {design.seed} in advance."
    )


def _exclusions(analysis: Analysis) -> str:
    applied, table = analysis.applied, analysis.study_data.responses
    participants, out = table["participant"].nunique(), len(applied.reasons)
    rules = "; ".join(f"{rule.description} ({_counted(rule.participants, rule.trials)})" for rule in applied.rules)
    if not applied.rules:
        return f"No exclusions were registered, and none were made: all {len(table)} responses were analyzed."
    return (
        "Exclusions were fixed in the design file before the first participant, and no others were made. The "
        f"rules were applied in this order: {rules}. {out} of {participants} participants and "
        f"{int((~applied.kept).sum())} of {len(table)} responses were excluded in total; {analysis.result.responses} "
        "responses "
        f"of {analysis.result.participants} participants on {analysis.result.images} images were analyzed. "
        "Rates without any exclusion are reported as well."
    )


def _statistics(analysis: Analysis) -> str:
    pairs = len(analysis.result.comparisons)
    tests = ""
    if pairs:
        tests = (
            " Methods were compared in pairs by t tests on the difference of their rates with the same clustered "
            f"variance, two-sided, p values adjusted for {pairs} {_plural(pairs, 'pair', 'pairs')} by Holm's method."
        )
    return (
        "The fooling rate is the share of pairs in which the real image was called the fake; 50 % would mean that "
        "a method's colors cannot be distinguished from real ones. Responses of one participant are correlated, and so "
        "are responses to one image; 95 % intervals therefore use a variance clustered in both ways (V_participant "
        "+ V_image - V_cell, each part with the small-sample factor G / (G - 1)), on the logit scale, with the t "
        "distribution of min(participants, images) - 1 degrees of freedom. They generalize to other participants "
        f"and other images of the same kinds.{tests} Analysis: colorbench "
        f"{analysis.study_data.design.colorbench_version}."
    )


def _counted(participants: int, trials: int) -> str:
    if participants:
        return f"{participants} {_plural(participants, 'participant', 'participants')}, {trials} trials"
    return f"{trials} {_plural(trials, 'trial', 'trials')}"


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def lines(paragraphs: Sequence[str]) -> str:
    """Return the paragraphs on methods as a text file."""
    return "\n\n".join(paragraphs) + "\n"
