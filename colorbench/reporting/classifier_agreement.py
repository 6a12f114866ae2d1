"""Does the verdict depend on the judge? One score of the same models by several classifiers, side by side.

A protocol that lets several judge marks each metric with its ``judge`` and names it ``judged(score, judge)``. From
records ``judges_table(records)`` takes every such score apart again: values of models by judge, and how far the judges
agree on the order of the models. Records may come from one run or from several, with the same judges or with others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from colorbench.models.classifiers import slug
from colorbench.results.record import Metric, Record

FEWEST = 3
"""Models below which an order says nothing."""


@dataclass(frozen=True)
class JudgesTable:
    """One score of K models by J judges."""

    score: str
    """``agreement``."""
    unit: str
    higher_is_better: bool
    models: tuple[str, ...]
    judges: tuple[str, ...]
    values: np.ndarray
    """(K, J)."""

    @property
    def ranks(self) -> np.ndarray:
        """(K, J), 1 is best; equal values share the mean of their ranks."""
        from scipy.stats import rankdata  # half a second to import, and most runs have no judge

        return np.asarray(rankdata(-self.values if self.higher_is_better else self.values, axis=0))

    def correlation(self, one: int, other: int) -> float:
        """Kendall's tau-b of two judges over the models, -1 .. 1; NaN where one of them tells no model from another."""
        from scipy.stats import kendalltau

        a, b = self.values[:, one], self.values[:, other]
        return float("nan") if np.ptp(a) == 0 or np.ptp(b) == 0 else float(kendalltau(a, b).statistic)

    def disputed(self, one: int, other: int) -> list[tuple[str, str]]:
        """Pairs of models that two judges put in opposite orders; the first of each is better by ``one``."""
        sign = 1 if self.higher_is_better else -1
        a, b = sign * self.values[:, one], sign * self.values[:, other]
        return [
            (self.models[i], self.models[j])
            for i in range(len(a))
            for j in range(len(a))
            if a[i] > a[j] and b[i] < b[j]
        ]


def judged(score: str, judge: str) -> str:
    """Name of the metric that is one judge's ``score``: letters, digits and underscores."""
    return f"{score}_{slug(judge)}"


def judges_table(records: Iterable[Record], score: str) -> JudgesTable | None:
    """One score by all judges that judged all of these models.

    References, which are shown the truth, are left out: every judge puts them first. Judges who did not judge all
    models are left out too.

    Args:
        records: of one protocol on the same photographs, differing in nothing but model and judges.
        score: ``top1``, ``agreement``, ``kl`` ...

    Returns:
        None for fewer than two judges or three models.

    Raises:
        ValueError: for records that differ otherwise, or two records that tell one judge's score differently.
    """
    rows = [record for record in records if record.model.card.role != "reference"]
    found: dict[str, dict[str, Metric]] = {}
    names = _labels(rows)
    judgings = set()
    for record, name in zip(rows, names, strict=True):
        mine = {m.judge: m for m in record.metrics if m.judge and m.name in (score, judged(score, m.judge))}
        mine = {judge: metric for judge, metric in mine.items() if metric.value is not None}
        if mine:
            judgings.add((record.protocol.name, record.protocol.version, record.dataset.fingerprint, _rest(record)))
        for judge, metric in mine.items():
            known = found.setdefault(name, {}).setdefault(judge, metric)
            if known.value != metric.value:
                raise ValueError(f"{judge} gives {name} two values of {score}: {known.value} and {metric.value}")
    if len(judgings) > 1:
        raise ValueError("these records differ in more than model and judges")
    models = [name for name in dict.fromkeys(names) if name in found]
    by_model = [found[name] for name in models]
    judges = [judge for judge in (by_model[0] if by_model else {}) if all(judge in one for one in by_model)]
    if len(judges) < 2 or len(models) < FEWEST:
        return None
    first = by_model[0][judges[0]]
    values = np.array([[one[judge].value for judge in judges] for one in by_model], dtype=np.float64)
    return JudgesTable(score, first.unit, bool(first.higher_is_better), tuple(models), tuple(judges), values)


def scores_judged(records: Iterable[Record]) -> list[str]:
    """Names of the scores that can be compared and that judges gave, in the records' order."""
    found: dict[str, None] = {}
    for record in records:
        for metric in record.metrics:
            if metric.judge and metric.comparable:
                found[metric.name.removesuffix(f"_{slug(metric.judge)}")] = None
    return list(found)


def _labels(records: Sequence[Record]) -> list[str]:
    """Names of the models; with their decoding where one model was measured with several."""
    decodings: dict[str, set[str]] = {}
    for record in records:
        decodings.setdefault(record.model.name, set()).add(_words(record.model.decoding))
    return [
        f"{record.model.name} ({_words(record.model.decoding)})"
        if len(decodings[record.model.name]) > 1
        else record.model.name
        for record in records
    ]


def _words(decoding: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in decoding.items())


def _rest(record: Record) -> str:
    """The identity but for the judges."""
    return repr(sorted((key, value) for key, value in record.protocol.identity.items() if key != "classifiers"))
