"""Scores of several colorizations of one image: the energy score, and the expected best of some of them."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor


def energy_score(samples: Tensor, truth: Tensor) -> Tensor:
    """Return the energy score of samples of a distribution, 0 or more; lower is better.

    The mean distance of the samples from the truth, less half of the mean distance between two different samples. In
    expectation it is lowest for the distribution that the truth is drawn from, so that spread pays only where it is
    true; and it does not depend on the number of samples. Equal samples score their distance from the truth.
    Source: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA 2007; without the
    pairs of a sample with itself, as in Ferro, "Fair scores for ensemble forecasts", 2014.

    Args:
        samples: (K, ..., D), K at least 1; the distance is Euclidean in the last dimension.
        truth: (..., D).

    Returns:
        (...) float64.
    """
    samples, truth = samples.double(), truth.double()
    error = torch.stack([torch.linalg.vector_norm(one - truth, dim=-1) for one in samples]).mean(dim=0)
    return error - mean_distance(samples) / 2


def mean_distance(samples: Tensor) -> Tensor:
    """Return the mean distance of the energy score between two different samples: (K, ..., D) -> (...); 0 for one."""
    total = torch.zeros_like(samples[0, ..., 0])
    for one, other in combinations(samples, 2):
        total += torch.linalg.vector_norm(one - other, dim=-1)
    return total / max(1, comb(len(samples), 2))


def expected_best(values: np.ndarray, count: int) -> np.ndarray:
    """Return the expected best of ``count`` of the values: the mean, over all choices, of the smallest.

    Args:
        values: (N, K), of K samples each.
        count: 1 (the mean of all) to K (the smallest of all).

    Returns:
        (N,).

    Raises:
        ValueError: for a count outside 1 to K.
    """
    total = values.shape[1]
    if not 1 <= count <= total:
        raise ValueError(f"the best of {count} needs at least as many samples, and at least one; there are {total}")
    # The i-th smallest is the best of those choices that take it and otherwise only larger ones.
    weights = np.array([comb(total - 1 - i, count - 1) for i in range(total)]) / comb(total, count)
    return np.asarray(np.sort(values, axis=1) @ weights)
