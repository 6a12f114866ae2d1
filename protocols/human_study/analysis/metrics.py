"""The metrics of a study, and what of a study makes two of them comparable."""

from __future__ import annotations

from typing import Any

from colorbench.results import MetricSpec
from protocols.human_study.study.schema import Design

NAME = "human-study"
VERSION = 1
HEADLINE = "fooling_rate"
# A board's comparisons draw images alone; participants must be drawn too, so that none of these is compared there:
# the record brings its own differences.
METRICS = (
    MetricSpec(
        name=HEADLINE,
        title="Fooling rate",
        unit="%",
        higher_is_better=True,
        lower_bound=0.0,
        upper_bound=100.0,
        explanation=(
            "How often people called the real image the fake. 50 % would be as good as real; a glaring fake has 0."
        ),
        comparable=False,
    ),
    MetricSpec(
        name="d_prime",
        title="Sensitivity d'",
        unit="",
        higher_is_better=False,
        explanation="How well people told fake from real, free of the scale's ends: 0 is guessing, 1 is plain to see.",
        comparable=False,
    ),
    MetricSpec(
        name="first_chosen",
        title="Side bias",
        unit="%",
        higher_is_better=None,
        lower_bound=0.0,
        upper_bound=100.0,
        explanation="How often people chose the image shown first, whatever it was: 50 % without a bias.",
        comparable=False,
    ),
)


def identity_of(design: Design) -> dict[str, Any]:
    """Return what a board's column is: how a session went and what the analysis leaves out.

    Between and within participants differ here, and so never share a column. The number of participants and of
    images is no part of it: these decide how sure a number is, not what it means.
    """
    settings = design.settings
    return {
        "task": "real-or-fake, one after the other, choose the fake",
        "assignment": settings.assignment,
        "size": settings.size,
        "preprocessing": settings.preprocessing,
        "exposure_ms": settings.exposure_ms,
        "lead_ms": settings.lead_ms,
        "gap_ms": settings.gap_ms,
        "practice": settings.practice,
        "trials": settings.trials,
        "sentinels": settings.sentinels,
        "exclusions": design.exclusions.model_dump(),
    }
