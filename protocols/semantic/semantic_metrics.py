"""Metric specs of ``semantic``: scores of one classifier, and their means over several."""

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
    explanation="Share of images whose class an image classifier names first on the colorized image. Favors colors "
    "that do not mislead the classifier: gray scores high too, since most classes can be recognized by shape.",
)
TOP5 = replace(
    TOP1,
    name="top5",
    title="Top-5",
    explanation="Share of images whose class is among the first five that the classifier names. Favors the same as "
    "top-1.",
)
MINUS_TRUTH = MetricSpec(
    name="top1_minus_truth",
    title="Top-1 minus ground truth",
    unit="points",
    higher_is_better=True,
    lower_bound=-100,
    upper_bound=100,
    explanation="Difference in top-1 from the true colors of the same images. Favors the same as top-1.",
    comparable=False,  # it differs from top1 by a number that is the same for all models
)
MINUS_GRAY = replace(
    MINUS_TRUTH,
    name="top1_minus_gray",
    title="Top-1 minus gray",
    explanation="Difference in top-1 from the gray images: 0 means that the colors do not help the classifier, a "
    "negative value that they mislead it. Favors the same as top-1.",
)
GAP_SHARE = MetricSpec(
    name="top1_gap_share",
    title="Share of the gap",
    unit="%",
    higher_is_better=True,
    explanation="Share of the top-1 gap between gray and true colors that is closed, with Fieller's interval; no value "
    "if the gap itself is not significant. Favors the same as top-1.",
    comparable=False,
    share_of_gap=True,
)
AGREEMENT = replace(
    TOP1,
    name="agreement",
    title="Agreement",
    explanation="Share of images to which an image classifier gives the same class as on the true colors, right or "
    "wrong; needs no labels. Favors colors that are the true ones for the classifier; gray scores high too.",
)
KL = MetricSpec(
    name="kl",
    title="KL from ground truth (nats)",
    unit="",  # so that tables show three decimals
    higher_is_better=False,
    lower_bound=0,
    explanation="How far the classifier's probabilities of all classes are from those on the true colors (KL "
    "divergence in nats; 0: equal). Favors colors that change nothing for the classifier, not only its first class.",
    of_ground_truth=0,
    ground_truth_margin=1e-9,
)
LABELED = (TOP1, MINUS_TRUTH, MINUS_GRAY, GAP_SHARE, TOP5)
"""Metrics that need the classes of the images."""
SCORES = (*LABELED, AGREEMENT, KL)


def scores(*, labeled: bool) -> tuple[MetricSpec, ...]:
    """Return the semantic scores that are available with or without classes."""
    return SCORES if labeled else (AGREEMENT, KL)


def metrics(classifiers: Sequence[str], *, labeled: bool) -> tuple[MetricSpec, ...]:
    """Return the semantic metrics of the classifiers.

    With several, the plain names are the means over them, followed by the scores of each classifier.
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
