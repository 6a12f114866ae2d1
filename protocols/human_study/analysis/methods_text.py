"""Text for a paper: methods paragraphs and findings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas

from colorbench.reporting import counted, format_number
from colorbench.stats import MINIMUM_IMAGES, MINIMUM_PARTICIPANTS, Interval
from protocols.human_study.analysis.fooling_rates import Analysis
from protocols.human_study.study_folder.design_schema import Design

PLATFORMS = {"lab": "in the laboratory", "prolific": "on Prolific", "mturk": "on Amazon Mechanical Turk"}
COLOR_VISION = {"normal": "normal", "deficient": "deficient", "unsure": "unsure", "unsaid": "without a statement"}
DEVICES = {"desktop": "desktop computer", "tablet": "tablet", "phone": "phone"}


def methods_paragraph(analysis: Analysis) -> list[str]:
    """Write participants and task, the sample, design, exclusions and statistics, one paragraph each."""
    design = _design(analysis.study_data.design)
    return [_task(analysis), *_sample(analysis), design, _exclusions(analysis), _statistics(analysis)]


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
    settings = analysis.study_data.design.settings
    sentinels = ""
    if settings.sentinels:
        one = settings.sentinels == 1
        sentinels = (
            f", {settings.sentinels} of them {'a sentinel' if one else 'sentinels'} that any attentive participant "
            "should detect (colors copied from an unrelated image)"
        )
    practice = ""
    if settings.practice:
        practice = f"After {counted(settings.practice, 'practice pair')} with feedback (not analyzed), each"
    unfinished = (_participants(analysis)["status"] != "complete").any()
    return (
        f"{_people(analysis)} {practice or 'Each'} rated {'up to ' if unfinished else ''}"
        f"{counted(settings.trials, 'pair')} without feedback{sentinels}. A pair showed one image twice, once with "
        "its true colors and once with colors that a method had predicted from its lightness, one after the other for "
        f"{settings.exposure_ms / 1000:g} s each at {settings.size} x {settings.size} pixels. The screen was empty for "
        f"{settings.lead_ms / 1000:g} s before the first image and for {settings.gap_ms / 1000:g} s between the "
        "images. Participants then chose without time limit which of the two had fake colors. The order was "
        "counterbalanced, and no participant saw an image in two trials."
    )


def _participants(analysis: Analysis) -> pandas.DataFrame:
    """Return the table of all who consented, or else the responses, which have a status, too."""
    study_data = analysis.study_data
    return study_data.participants if "status" in study_data.participants.columns else study_data.responses


def _people(analysis: Analysis) -> str:
    table, responded = _participants(analysis), analysis.study_data.responses["participant"].nunique()
    where = ""
    if "platform" in table.columns:
        known = [PLATFORMS[name] for name in PLATFORMS if (table["platform"] == name).any()]
        where = f" {' and '.join(known)}" if known else ""
    if table is analysis.study_data.responses:
        return f"{counted(responded, 'participant')} took part{where}."
    consented, finished = len(table), int((table["status"] == "complete").sum())
    if consented == responded == finished:
        return f"{counted(consented, 'participant')} consented{where} and finished."
    return (
        f"{counted(consented, 'participant')} consented{where}, {responded} rated at least one pair after practice, "
        f"and {finished} finished."
    )


def _sample(analysis: Analysis) -> list[str]:
    """Return the paragraph on color vision and devices of participants with responses; empty without a table."""
    table, responded = analysis.study_data.participants, analysis.study_data.responses["participant"].unique()
    if "participant" not in table.columns:
        return []
    table = table[table["participant"].astype(str).isin(responded)]
    sentences = []
    vision, devices = (
        {} if name not in table.columns else table[name].value_counts().to_dict() for name in ("color_vision", "device")
    )
    if stated := [f"{vision[name]} {text}" for name, text in COLOR_VISION.items() if vision.get(name)]:
        sentences.append(f"Own statements on color vision: {', '.join(stated)}.")
    if {"plates", "plates_correct"} <= set(table.columns):
        shown, correct = (pandas.to_numeric(table[name]).fillna(0) for name in ("plates", "plates_correct"))
        if (shown > 0).any():
            read = correct[shown > 0]
            sentences.append(
                f"Color vision plates, which excluded nobody: {read.mean():.1f} of {int(shown.max())} read correctly "
                f"on average over {counted(len(read), 'participant')} (lowest: {int(read.min())})."
            )
    if used := [counted(devices[name], noun) for name, noun in DEVICES.items() if devices.get(name)]:
        sentences.append(f"Devices: {', '.join(used)}.")
    return [f"Sample: {counted(len(table), 'participant')} with responses. {' '.join(sentences)}"] if sentences else []


def _design(design: Design) -> str:
    settings, rated = design.settings, design.rated
    names = ", ".join(one.name for one in rated)
    how = {
        "within": "Every participant rated all methods equally often (within participants); images and methods "
        "were crossed in a balanced design, so that every image was shown with every method about equally often.",
        "between": "Every participant rated one method only (between participants); methods were assigned in turn.",
    }[settings.assignment]
    if len(rated) == 1:
        how = "Every participant rated this method."
    return (
        f"{counted(len(rated), 'method was', 'methods were')} rated ({names}) on {counted(len(design.tests), 'image')} "
        f'of the dataset "{design.data.name}". {how} The sequence of pairs was drawn with seed {design.seed} in '
        "advance."
    )


def _exclusions(analysis: Analysis) -> str:
    applied, table, result = analysis.applied, analysis.study_data.responses, analysis.result
    if applied.changes:
        source = f"The exclusions were changed after the first participant: {', '.join(applied.changes)}."
    elif not applied.rules:
        source = "No exclusions were made."
    elif applied.changes is None:
        source = "No other exclusions were made than those of the design file."
    else:
        source = "The exclusions were pre-specified: the design file had them before the first participant."
        source += " No others were made."
    sentinels = int(applied.kept.sum()) - result.responses
    rest = ""
    if sentinels:
        rest = f" {counted(sentinels, 'response is', 'responses are')} to sentinels and not part of the rates."
    analyzed = (
        f"{counted(result.responses, 'response was', 'responses were')} analyzed, of "
        f"{counted(result.participants, 'participant')} on {counted(result.images, 'image')}.{rest}"
    )
    if not applied.rules:
        return f"{source} {analyzed}"
    rules = "; ".join(f"{rule.description} ({rule.counts})" for rule in applied.rules)
    return (
        f"{source} The rules were applied in this order: {rules}. In total, {len(applied.reasons)} of "
        f"{counted(table['participant'].nunique(), 'participant')} and {int((~applied.kept).sum())} of "
        f"{counted(len(table), 'response')} were excluded. {analyzed} Rates without any exclusion are reported as well."
    )


def _statistics(analysis: Analysis) -> str:
    tested = sum(one.p_holm == one.p_holm for one in analysis.result.comparisons)
    intervals = tests = ""
    if any(row.rate.interval for row in analysis.result.methods):
        intervals = (
            " Responses of one participant are correlated, and so are responses to one image; 95 % intervals therefore "
            "use a variance clustered in both ways (V_participant + V_image - V_cell, each part with the small-sample "
            "factor G / (G - 1)), on the logit scale, with the t distribution of min(participants, images) - 1 degrees "
            "of freedom. They generalize to other participants and other images of the same kinds."
        )
    if tested:
        tests = (
            " Methods were compared in pairs by t tests on the difference of their rates with the same clustered "
            f"variance, two-sided, p values adjusted for {counted(tested, 'pair')} by Holm's method."
        )
    if not intervals:
        tests += (
            " Intervals and tests were not computed: they need responses of at least "
            f"{MINIMUM_PARTICIPANTS} participants to at least {MINIMUM_IMAGES} images."
        )
    return (
        "The fooling rate is the share of pairs in which the real image was called the fake; 50 % would mean that "
        f"a method's colors cannot be distinguished from real ones.{intervals}{tests} Analysis: colorbench "
        f"{analysis.study_data.design.colorbench_version}."
    )


def note_lines(notes: Sequence[str]) -> list[str]:
    """Return the notes of an analysis as sentences."""
    return [f"Note: {note}." for note in notes]


def lines(paragraphs: Sequence[str]) -> str:
    """Return the paragraphs on methods as a text file."""
    return "\n\n".join(paragraphs) + "\n"
