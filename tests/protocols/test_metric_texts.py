"""Explanations of metrics, for a reader who sees them first: what is favored, and why one is primary."""

from __future__ import annotations

import re

import pytest

from colorbench import list_protocols
from colorbench.evaluation import ProtocolSpec, get_protocol

OWN = sorted(name for name in list_protocols() if "/" not in name and "@" not in name)
UNEXPLAINED = re.compile(r"\b(backend|features?|unbiased|kernel)\b")
"""Words of the implementation that a newcomer cannot know."""


@pytest.fixture(params=OWN)
def spec(request: pytest.FixtureRequest) -> ProtocolSpec:
    return get_protocol(request.param).spec


def test_a_metric_with_a_direction_says_what_it_favors(spec: ProtocolSpec) -> None:
    silent = [one.name for one in spec.metrics if one.higher_is_better is not None and "Favors" not in one.explanation]
    assert silent == [], "readers must know why the best model by one metric is not the best by another"


def test_the_primary_metric_says_why_it_is_primary(spec: ProtocolSpec) -> None:
    assert spec.headline_reason and spec.headline_reason[0].islower() and not spec.headline_reason.endswith(".")
    headline = next(one for one in spec.metrics if one.name == spec.headline)
    assert spec.meaning_of(headline).endswith(f" Primary metric, because {spec.headline_reason}.")
    others = [spec.meaning_of(one) for one in spec.metrics if one is not headline]
    assert not any("Primary metric" in text for text in others)


def test_explanations_are_sentences_of_a_page(spec: ProtocolSpec) -> None:
    for one in spec.metrics:
        assert one.explanation[0].isupper() and one.explanation.endswith("."), one.name
        assert "`" not in f"{one.explanation}{spec.headline_reason}", "pages show no Markdown"


def test_the_kernel_distance_is_explained_without_its_formula() -> None:
    spec = get_protocol("distribution").spec
    for metric in spec.metrics[:2]:
        text = metric.explanation
        assert not UNEXPLAINED.search(text), text
        for needed in ("thousandths", "classifier", "look real", "may be negative"):
            assert needed in text, metric.name
    assert "Paired:" in spec.metrics[0].explanation and "0:" in spec.metrics[0].explanation
