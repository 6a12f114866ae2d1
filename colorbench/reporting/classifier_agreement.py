"""Agreement between classifiers: a table of one score of the same models by several classifiers.

A protocol with several classifiers marks each metric with its ``classifier`` and names it ``classified(score,
classifier)``. ``classifiers_table(records, score)`` collects the values of models by classifier from records, and
compares the order of the models between classifiers. Records may come from one or several runs, with the same or
different classifiers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from colorbench.models.classifiers import slug
from colorbench.results import Metric, Record

FEWEST = 3
"""Models below which an order says nothing."""


@dataclass(frozen=True)
class ClassifiersTable:
    """One score of K models by J classifiers."""

    score: str
    """``agreement``."""
    unit: str
    higher_is_better: bool
    models: tuple[str, ...]
    classifiers: tuple[str, ...]
    values: np.ndarray
    """(K, J)."""

    @property
    def ranks(self) -> np.ndarray:
        """(K, J), 1 is best; equal values share the mean of their ranks."""
        from scipy.stats import rankdata  # half a second to import, and most runs have no classifier

        return np.asarray(rankdata(-self.values if self.higher_is_better else self.values, axis=0))

    def correlation(self, one: int, other: int) -> float:
        """Return Kendall's tau-b of two classifiers over the models, -1 .. 1; NaN where one ties all models."""
        from scipy.stats import kendalltau

        a, b = self.values[:, one], self.values[:, other]
        return float("nan") if np.ptp(a) == 0 or np.ptp(b) == 0 else float(kendalltau(a, b).statistic)

    def disputed(self, one: int, other: int) -> list[tuple[str, str]]:
        """Return pairs of models that two classifiers put in opposite orders.

        The first of each is better by ``one``.
        """
        sign = 1 if self.higher_is_better else -1
        a, b = sign * self.values[:, one], sign * self.values[:, other]
        return [
            (self.models[i], self.models[j])
            for i in range(len(a))
            for j in range(len(a))
            if a[i] > a[j] and b[i] < b[j]
        ]


def classified(score: str, classifier: str) -> str:
    """Name of the metric that is one classifier's ``score``: letters, digits and underscores."""
    return f"{score}_{slug(classifier)}"


def classifiers_table(records: Iterable[Record], score: str) -> ClassifiersTable | None:
    """Build the table of one score by all classifiers that rated all of these models.

    References, which are shown the truth, are left out: every classifier puts them first. Classifiers that did not
    classify all models are left out too.

    Args:
        records: of one protocol on the same images, differing in nothing but model and classifiers.
        score: ``top1``, ``agreement``, ``kl`` ...

    Returns:
        None for fewer than two classifiers or three models.

    Raises:
        ValueError: for records that differ otherwise, or two records that tell one classifier's score differently.
    """
    rows = [record for record in records if record.model.card.role != "reference"]
    found: dict[str, dict[str, Metric]] = {}
    names = _labels(rows)
    judgings = set()
    for record, name in zip(rows, names, strict=True):
        candidate = {
            m.classifier: m
            for m in record.metrics
            if m.classifier and m.name in (score, classified(score, m.classifier))
        }
        candidate = {classifier: metric for classifier, metric in candidate.items() if metric.value is not None}
        if candidate:
            judgings.add((record.protocol.name, record.protocol.version, record.dataset.fingerprint, _rest(record)))
        for classifier, metric in candidate.items():
            known = found.setdefault(name, {}).setdefault(classifier, metric)
            if known.value != metric.value:
                raise ValueError(
                    f"{classifier} gives {name} two different values of {score}: {known.value} and {metric.value}"
                )
    if len(judgings) > 1:
        raise ValueError("these records differ in more than model and classifiers")
    models = [name for name in dict.fromkeys(names) if name in found]
    by_model = [found[name] for name in models]
    classifiers = [
        classifier for classifier in (by_model[0] if by_model else {}) if all(classifier in one for one in by_model)
    ]
    if len(classifiers) < 2 or len(models) < FEWEST:
        return None
    first = by_model[0][classifiers[0]]
    values = np.array([[one[classifier].value for classifier in classifiers] for one in by_model], dtype=np.float64)
    return ClassifiersTable(score, first.unit, bool(first.higher_is_better), tuple(models), tuple(classifiers), values)


def scores_classified(records: Iterable[Record]) -> list[str]:
    """List the scores that can be compared and that classifiers gave, in the records' order."""
    found: dict[str, None] = {}
    for record in records:
        for metric in record.metrics:
            if metric.classifier and metric.comparable:
                found[metric.name.removesuffix(f"_{slug(metric.classifier)}")] = None
    return list(found)


def _labels(records: Sequence[Record]) -> list[str]:
    """Return the names of the models, with their decoding where one model was measured with several."""
    decodings: dict[str, set[str]] = {}
    for record in records:
        decodings.setdefault(record.model.name, set()).add(_message(record.model.decoding))
    return [
        f"{record.model.name} ({_message(record.model.decoding)})"
        if len(decodings[record.model.name]) > 1
        else record.model.name
        for record in records
    ]


def _message(decoding: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in decoding.items())


def _rest(record: Record) -> str:
    """Return the identity without the classifiers."""
    return repr(sorted((key, value) for key, value in record.protocol.identity.items() if key != "classifiers"))
