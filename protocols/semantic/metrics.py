"""What is measured: scores by one classifier, and their means where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from colorbench.reporting import classified
from colorbench.results import MetricSpec

TOP1 = MetricSpec(
    name="top1",
    title="Top-1",
    unit="%",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=100,
    explanation="Share of images whose class the classifier names first when it sees the answer's colors; "
    "gray scores high too, since most classes are known by their shape.",
)
TOP5 = replace(
    TOP1,
    name="top5",
    title="Top-5",
    explanation="Share of images whose class is among the classifier's first five.",
)
MINUS_TRUTH = MetricSpec(
    name="top1_minus_truth",
    title="Top-1 minus truth",
    unit="points",
    higher_is_better=True,
    lower_bound=-100,
    upper_bound=100,
    explanation="What the classifier loses against the true colors of the same images.",
    comparable=False,  # it differs from top1 by a number that is the same for all models
)
MINUS_GRAY = replace(
    MINUS_TRUTH,
    name="top1_minus_gray",
    title="Top-1 minus gray",
    explanation="What the classifier gains over the gray images: 0 says that the colors are of no use to it, "
    "less that they mislead it.",
)
GAP_SHARE = MetricSpec(
    name="top1_gap_share",
    title="Share of the gap",
    unit="%",
    higher_is_better=True,
    explanation="Share of the way from gray to the true colors in top-1, with Fieller's interval; none is given "
    "where gray and truth themselves cannot be told apart.",
    comparable=False,
    share_of_gap=True,
)
AGREEMENT = replace(
    TOP1,
    name="agreement",
    title="Agreement",
    explanation="Share of images for which the classifier names the same class as on the true colors; right or "
    "wrong, it needs no labels.",
)
KL = MetricSpec(
    name="kl",
    title="KL from truth (nats)",
    unit="",  # so that tables show three decimals
    higher_is_better=False,
    lower_bound=0,
    explanation="How far the classifier's whole answer moves away from its answer on the true colors (KL divergence "
    "in nats, truth first); 0 is the same answer.",
    of_ground_truth=0,
    ground_truth_margin=1e-9,
)
LABELED = (TOP1, MINUS_TRUTH, MINUS_GRAY, GAP_SHARE, TOP5)
"""These need the classes of the images."""
SCORES = (*LABELED, AGREEMENT, KL)


def scores(*, labeled: bool) -> tuple[MetricSpec, ...]:
    """Return the scores that are available with or without classes."""
    return SCORES if labeled else (AGREEMENT, KL)


def metrics(classifiers: Sequence[str], *, labeled: bool) -> tuple[MetricSpec, ...]:
    """Return the scores of one classifier.

    Of several, their mean has the plain names, and each classifier's own follow.
    """
    specs = scores(labeled=labeled)
    if len(classifiers) == 1:
        return tuple(replace(spec, classifier=classifiers[0]) for spec in specs)
    mean = tuple(
        replace(spec, explanation=f"{spec.explanation} Mean of {len(classifiers)} classifiers.") for spec in specs
    )
    own = [
        replace(
            spec,
            name=classified(spec.name, classifier),
            title=f"{spec.title} by {classifier}",
            classifier=classifier,
            explanation=f"{spec.title} by {classifier}.",
        )
        for classifier in classifiers
        for spec in specs
    ]
    return (*mean, *own)
