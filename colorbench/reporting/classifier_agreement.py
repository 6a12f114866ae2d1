"""Agreement between classifiers: one score of the same models by several classifiers, as values and as a table.

A protocol with several classifiers marks each metric with its ``classifier`` and names it
``classified(score, classifier)``. ``classifiers_table(records, score)`` collects the values of models by classifier,
and how far the classifiers agree on the order of the models. The records may come from several runs, with the same
classifiers or others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from colorbench.models.classifiers import slug
from colorbench.reporting import format_number
from colorbench.reporting.terminal_lines import line
from colorbench.results import Metric, Record, too_few_images

FEWEST = 3
"""Smallest number of models for which an order is compared."""


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
        """Ranks (K, J), 1 is best; equal values have their mean rank."""
        from scipy.stats import rankdata  # takes half a second to import; most runs have no classifier

        return np.asarray(rankdata(-self.values if self.higher_is_better else self.values, axis=0))

    def correlation(self, one: int, other: int) -> float:
        """Return Kendall's tau-b of two classifiers over the models, -1 .. 1; NaN if one ties all models."""
        from scipy.stats import kendalltau

        a, b = self.values[:, one], self.values[:, other]
        return float("nan") if np.ptp(a) == 0 or np.ptp(b) == 0 else float(kendalltau(a, b).statistic)

    def disputed(self, one: int, other: int) -> list[tuple[str, str]]:
        """Return the pairs of models that two classifiers rank in opposite order.

        The first of each pair is better by classifier ``one``.
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
    """Return the name of the metric for a classifier's ``score``, in letters, digits and underscores."""
    return f"{score}_{slug(classifier)}"


def classifiers_table(records: Iterable[Record], score: str) -> ClassifiersTable | None:
    """Build the table of one score by all classifiers that rated all of these models.

    References, which are given the true colors, are left out, since every classifier ranks them first. Classifiers that
    did not classify all models are left out, too.

    Args:
        records: records of one protocol on the same images, which differ only in model and classifiers.
        score: ``top1``, ``agreement``, ``kl`` ...

    Returns:
        None for fewer than two classifiers or three models.

    Raises:
        ValueError: for records with other differences, or contradictory scores of one classifier.
    """
    rows = [record for record in records if record.model.card.role != "reference"]
    found: dict[str, dict[str, Metric]] = {}
    names = _labels(rows)
    judgings = set()
    for record, name in zip(rows, names, strict=True):
        own = {
            m.classifier: m
            for m in record.metrics
            if m.classifier and m.name in (score, classified(score, m.classifier))
        }
        own = {classifier: metric for classifier, metric in own.items() if metric.value is not None}
        if own:
            judgings.add((record.protocol.name, record.protocol.version, record.dataset.fingerprint, _rest(record)))
        for classifier, metric in own.items():
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
    """List the comparable scores by classifiers, in the order of the records."""
    found: dict[str, None] = {}
    for record in records:
        for metric in record.metrics:
            if metric.classifier and metric.comparable:
                found[metric.name.removesuffix(f"_{slug(metric.classifier)}")] = None
    return list(found)


def _labels(records: Sequence[Record]) -> list[str]:
    """Return the names of the models, with the decoding if a model was evaluated with several."""
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


def show_classifiers(console: Console, records: Sequence[Record], score: str) -> None:
    """Print the table of one protocol's records, where there are enough classifiers and models for one.

    Args:
        console: where words go.
        records: of one protocol on the same images.
        score: ``agreement``, ``top1`` ...
    """
    table = classifiers_table(records, score)
    if table is None or any(too_few_images(record) for record in records):
        return
    line(
        console,
        Text.assemble(("Agreement between classifiers", "bold"), f" {table.score}, value and rank"),
    )
    console.print(Padding(_values(table), (1, 0)))
    for sentence in _sentences(table):
        console.print(Text(sentence))
    console.print()


def _values(table: ClassifiersTable) -> Table:
    """Build a table with a row per model and a column per classifier: value and rank."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown.add_column("", overflow="fold")
    for classifier in table.classifiers:
        shown.add_column(classifier, justify="right", overflow="fold")
    order = table.ranks.mean(axis=1).argsort(kind="stable")
    for row in order:
        cells = [
            Text(format_number(float(value), table.unit)).append(f"  {rank:g}.", style="dim")
            for value, rank in zip(table.values[row], table.ranks[row], strict=True)
        ]
        shown.add_row(Text(table.models[row]), *cells)
    return shown


def _sentences(table: ClassifiersTable) -> Iterator[str]:
    """Yield how far each two classifiers agree on the order of the models."""
    count = len(table.models) * (len(table.models) - 1) // 2
    for one, other in itertools.combinations(range(len(table.classifiers)), 2):
        tau, disputed = table.correlation(one, other), table.disputed(one, other)
        names = f"{table.classifiers[one]} and {table.classifiers[other]}"
        if math.isnan(tau):
            yield f"{names}: not comparable: one of them gives all models the same score."
            continue
        summary = f"{names}: rank correlation {tau:.2f} (Kendall's tau-b, {len(table.models)} models); "
        if not disputed:
            yield f"{summary}all pairs of models have the same order."
            continue
        pairs = ", ".join(f"{a} / {b}" for a, b in disputed[:3])
        more = " ..." if len(disputed) > 3 else ""
        yield f"{summary}{len(disputed)} of {count} pairs of models have opposite orders: {pairs}{more}."
    if len(table.models) < 5:
        yield f"Of {len(table.models)} models, a rank correlation says little; evaluate more models."
