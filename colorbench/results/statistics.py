"""Access to the per-image statistics in the columns of rows, and pairing of rows by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from colorbench.results.metric_spec import COUNT, MetricSpec


def statistics_of(columns: Mapping[str, np.ndarray], metric: MetricSpec) -> np.ndarray:
    """Return the sufficient statistics of a metric, (n, k).

    Raises:
        KeyError: naming the missing column.
    """
    names = [f"{metric.name}.s{j}" for j in range(COUNT[metric.form])]
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1)


def paired_positions(candidate: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """Return the positions of equal content hashes, (m, 2).

    For images that occur twice, the first is paired with the first.
    """
    waiting: dict[str, list[int]] = {}
    for position in reversed(range(len(reference))):
        waiting.setdefault(reference[position], []).append(position)
    found = [(position, waiting[sha256].pop()) for position, sha256 in enumerate(candidate) if waiting.get(sha256)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)
