"""The energy score and the expected best of k, against slow loops, known values, and what a proper score promises."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from colorbench.metrics import energy_score, expected_best, mean_distance

GENERATOR = np.random.default_rng(0)


def slow_energy(samples: np.ndarray, truth: np.ndarray) -> float:
    """Two loops over plain numbers."""
    error, spread, pairs = 0.0, 0.0, 0
    for i, one in enumerate(samples):
        error += math.dist(one, truth)
        for j, other in enumerate(samples):
            if i != j:
                spread += math.dist(one, other)
                pairs += 1
    return error / len(samples) - (spread / pairs / 2 if pairs else 0.0)


@pytest.mark.parametrize(("count", "dimension"), [(1, 2), (2, 1), (3, 5), (8, 2), (9, 512)])
def test_the_energy_score_equals_two_loops(count: int, dimension: int) -> None:
    samples, truth = GENERATOR.normal(size=(count, 4, dimension)), GENERATOR.normal(size=(4, dimension))
    found = energy_score(torch.from_numpy(samples), torch.from_numpy(truth))
    assert found.shape == (4,) and found.dtype == torch.float64
    for place in range(4):
        assert float(found[place]) == pytest.approx(slow_energy(samples[:, place], truth[place]), abs=1e-12)


def test_values_that_are_known() -> None:
    # Two samples at 0 and 2, the truth at 1: 1 - 2/2; at 5: 4 - 1.
    pair = torch.tensor([[[0.0]], [[2.0]]])
    assert energy_score(pair, torch.tensor([[1.0]])).tolist() == [0.0]
    assert energy_score(pair, torch.tensor([[5.0]])).tolist() == [3.0]
    # In one dimension it is the CRPS: of N(0, 1) at 0, (sqrt(2) - 1) / sqrt(pi).
    samples = torch.from_numpy(norm.ppf((np.arange(200) + 0.5) / 200)[:, None])
    known = (math.sqrt(2) - 1) / math.sqrt(math.pi)
    assert float(energy_score(samples, torch.zeros(1))) == pytest.approx(known, abs=0.01)


def test_equal_samples_score_their_distance_and_the_truth_scores_zero() -> None:
    truth = torch.tensor([[3.0, 4.0]])
    assert energy_score(torch.zeros(8, 1, 2), truth).tolist() == [5.0]
    assert energy_score(truth.expand(8, 1, 2), truth).tolist() == [0.0]
    assert mean_distance(torch.zeros(1, 1, 2)).tolist() == [0.0]


def test_it_is_never_negative() -> None:
    for scale in (0.1, 1.0, 30.0):
        samples = torch.from_numpy(scale * GENERATOR.normal(size=(8, 200, 2)))
        assert float(energy_score(samples, torch.from_numpy(GENERATOR.normal(size=(200, 2)))).min()) >= 0


def mean_score(draw: np.ndarray, truth: np.ndarray) -> float:
    return float(energy_score(torch.from_numpy(draw.copy()), torch.from_numpy(truth)).mean())


def test_the_true_distribution_beats_every_other() -> None:
    # The truth of each of 4,000 images is drawn from N(m, 10^2) in two dimensions.
    generator = np.random.default_rng(2)
    mean = generator.normal(size=(4000, 2)) * 20
    truth, noise = mean + 10 * generator.normal(size=(4000, 2)), generator.normal(size=(8, 4000, 2))
    right = mean_score(mean + 10 * noise, truth)
    assert right < mean_score(mean + 20 * noise, truth) - 0.5  # doubled spread
    assert right < mean_score(mean + 5 * noise, truth) - 0.5
    assert right < mean_score(np.broadcast_to(mean, (8, 4000, 2)), truth) - 1  # the best single answer
    assert right < mean_score(truth[::-1] + 0 * noise, truth) - 1  # another image's truth
    for shift in (5, -10):
        assert right < mean_score(mean + 10 * noise + shift, truth) - 0.3


def test_it_does_not_depend_on_the_number_of_samples_but_the_best_does() -> None:
    generator = np.random.default_rng(3)
    truth, noise = generator.normal(size=(20000, 2)), generator.normal(size=(16, 20000, 2))
    few, many = mean_score(noise[:2], truth), mean_score(noise, truth)
    assert few == pytest.approx(many, abs=0.03)
    distances = np.linalg.norm(noise - truth, axis=2).T
    assert expected_best(distances[:, :2], 2).mean() > expected_best(distances, 16).mean() + 0.3


@pytest.mark.parametrize("total", [1, 2, 5, 8])
def test_the_expected_best_equals_enumeration(total: int) -> None:
    values = GENERATOR.normal(size=(6, total)).round(1)  # rounded: with ties
    for count in range(1, total + 1):
        enumerated = [np.mean([min(choice) for choice in combinations(row, count)]) for row in values]
        np.testing.assert_allclose(expected_best(values, count), enumerated, atol=1e-12)
    np.testing.assert_allclose(expected_best(values, 1), values.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(expected_best(values, total), values.min(axis=1), atol=1e-12)


@pytest.mark.parametrize("count", [0, -1, 4])
def test_a_best_of_more_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="needs at least"):
        expected_best(np.zeros((2, 3)), count)
