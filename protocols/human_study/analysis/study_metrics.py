"""The metrics of a study, and the identity that makes two studies comparable."""

from __future__ import annotations

from typing import Any

from colorbench.results import MetricSpec
from protocols.human_study.study_folder.design_schema import Design

NAME = "human-study"
VERSION = 1
HEADLINE = "fooling_rate"
# The comparisons of a leaderboard resample images only. Participants must be resampled too, so none of these is
# compared there: the record contains the differences.
METRICS = (
    MetricSpec(
        name=HEADLINE,
        title="Fooling rate",
        unit="%",
        higher_is_better=True,
        lower_bound=0.0,
        upper_bound=100.0,
        explanation=(
            "How often participants called the real image the fake; 50 %: indistinguishable, 0: always detected. "
            "Favors colors that look real at a short glance, also if they are not the true ones."
        ),
        comparable=False,
    ),
    MetricSpec(
        name="d_prime",
        title="Sensitivity d'",
        unit="",
        higher_is_better=False,
        explanation=(
            "How well participants distinguished fake from real, whichever side they prefer; 0: guessing, higher: "
            "easier to detect. Favors the same as the fooling rate."
        ),
        comparable=False,
    ),
    MetricSpec(
        name="first_chosen",
        title="Side bias",
        unit="%",
        higher_is_better=None,
        lower_bound=0.0,
        upper_bound=100.0,
        explanation="How often participants chose the image shown first; 50 %: no bias.",
        comparable=False,
    ),
)


def identity_of(design: Design) -> dict[str, Any]:
    """Return the identity of a study's metrics in a column: the settings of a session and the exclusions.

    Between and within participants have different identities and never share a column. The numbers of participants and
    images are not included: they affect the precision of a number, not its meaning.
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
