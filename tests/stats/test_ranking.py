"""Rank intervals: the arithmetic against loops, and whether they hold all true ranks at once."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from colorbench.stats.bootstrap import bootstrap_weights
from colorbench.stats.ranking import FEWEST, rank_models


def models(
    rng: np.random.Generator, n: int, gains: list[float] | np.ndarray, *, own_weights: bool = False
) -> np.ndarray:
    """(K, n, 2) statistics of models that share images of unequal weight and difficulty."""
    weights, hard = rng.lognormal(0, 1, n), rng.normal(60, 12, n)
    rows = []
    for gain in gains:
        w = weights * rng.lognormal(0, 0.2, n) if own_weights else weights
        rows.append(np.stack([w * (hard + gain + rng.normal(0, 4, n)), w], axis=1))
    return np.stack(rows)


def critical_by_loop(statistics: np.ndarray, resamples: int, seed: int) -> tuple[float, np.ndarray]:
    """The critical value and (K, K) standard errors, one resample and one pair at a time."""

    def value_and_influence(sample: np.ndarray) -> tuple[float, np.ndarray]:
        ratio = sample[:, 0].sum() / sample[:, 1].sum()
        return ratio, (sample[:, 0] - ratio * sample[:, 1]) / sample[:, 1].sum()

    def differences(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [value_and_influence(one) for one in sample]
        d = np.array([[a[0] - b[0] for b in found] for a in found])
        return d, np.array([[math.sqrt(((a[1] - b[1]) ** 2).sum()) for b in found] for a in found])

    center, errors = differences(statistics)
    upper = np.triu_indices(len(statistics), 1)
    largest = []
    for weights in bootstrap_weights(statistics.shape[1], resamples, seed):
        drawn, spread = differences(np.repeat(statistics, weights, axis=1))
        largest.append((np.abs(drawn - center)[upper] / spread[upper]).max())
    return float(np.quantile(largest, 0.95, method="higher")), errors


@pytest.mark.parametrize("own_weights", [False, True])
def test_the_critical_value_is_that_of_a_plain_loop(own_weights: bool) -> None:
    statistics = models(np.random.default_rng(0), 40, [0, 1, 2, 2], own_weights=own_weights)
    critical, errors = critical_by_loop(statistics, 100, seed=5)
    found = rank_models(statistics, "ratio", higher_is_better=True, resamples=100, seed=5)
    assert found is not None
    assert found.critical == pytest.approx(critical, rel=1e-9)
    np.testing.assert_allclose(found.errors, errors, rtol=1e-9, atol=1e-12)


def test_groups_of_images_give_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = models(np.random.default_rng(2), 3000, [0, 1, 2, 2, 0.1, 0.2])
    full = rank_models(statistics, "ratio", higher_is_better=True)
    monkeypatch.setattr("colorbench.stats.ranking.GROUPS", 1000)
    grouped = rank_models(statistics, "ratio", higher_is_better=True)
    assert full is not None and grouped is not None
    assert grouped.critical == pytest.approx(full.critical, rel=0.03) and grouped.critical != full.critical
    np.testing.assert_array_equal(grouped.errors, full.errors)


@pytest.mark.parametrize("own_weights", [False, True])
def test_groups_of_images_put_no_more_pairs_in_the_wrong_order(
    monkeypatch: pytest.MonkeyPatch, own_weights: bool
) -> None:
    monkeypatch.setattr("colorbench.stats.ranking.GROUPS", 150)
    wrong = 0
    for draw in range(400):
        statistics = models(np.random.default_rng([7, draw]), 450, [0, 0, 0, 0], own_weights=own_weights)
        found = rank_models(statistics, "ratio", higher_is_better=True, resamples=200, seed=draw)
        assert found is not None
        wrong += found.better.any()
    assert 0.02 <= wrong / 400 <= 0.08, wrong  # 5 %; three standard errors are 3.3 points


def test_small_blocks_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = models(np.random.default_rng(1), 64, [0, 1, 3, 3, 5])
    full = rank_models(statistics, "ratio", higher_is_better=True, resamples=150)
    monkeypatch.setattr("colorbench.stats.ranking._WEIGHTS", 64 * 40)
    monkeypatch.setattr("colorbench.stats.ranking._CELLS", 200)
    monkeypatch.setattr("colorbench.stats.bootstrap._BLOCK", 64 * 7)
    parts = rank_models(statistics, "ratio", higher_is_better=True, resamples=150)
    assert full is not None
    assert parts is not None
    assert parts.critical == pytest.approx(full.critical, rel=1e-10)
    assert np.array_equal(parts.ranks, full.ranks)


def test_ranks_count_who_is_significantly_better_and_worse() -> None:
    # Three groups that are 5 points apart, with errors of about half a point, so that only members tie.
    statistics = models(np.random.default_rng(2), 200, [10, 10, 5, 0, 0, 0])
    found = rank_models(statistics, "ratio", higher_is_better=True, resamples=500)
    assert found is not None
    assert found.ranks.tolist() == [[1, 2], [1, 2], [3, 3], [4, 6], [4, 6], [4, 6]]
    assert (found.better == (found.low > 0)).all()
    low = rank_models(statistics, "ratio", higher_is_better=False, resamples=500)
    assert low is not None
    assert low.ranks.tolist() == [[5, 6], [5, 6], [4, 4], [1, 3], [1, 3], [1, 3]]
    assert np.array_equal(low.better, found.better.T)


def test_the_order_of_the_models_does_not_matter() -> None:
    statistics = models(np.random.default_rng(3), 80, [0, 1, 2, 3, 4])
    order = [3, 0, 4, 2, 1]
    found = rank_models(statistics, "ratio", higher_is_better=True, resamples=300)
    turned = rank_models(statistics[order], "ratio", higher_is_better=True, resamples=300)
    assert found is not None
    assert turned is not None
    assert np.array_equal(found.ranks[order], turned.ranks)
    np.testing.assert_allclose(found.low[np.ix_(order, order)], turned.low, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pattern", ["all equal", "two tied groups", "equal steps"])
def test_all_true_ranks_are_held_at_once(pattern: str) -> None:
    rng = np.random.default_rng(7)
    gains = {"all equal": np.zeros(6), "two tied groups": np.repeat([0, 2.0], 3), "equal steps": np.arange(6) * 0.7}
    truth = gains[pattern]
    truly = truth[:, None] > truth[None]
    first, last = 1 + truly.sum(axis=0), 6 - truly.sum(axis=1)
    hits, width, trials = 0, 0.0, 250
    for trial in range(trials):
        found = rank_models(models(rng, 120, truth), "ratio", higher_is_better=True, resamples=400, seed=trial)
        assert found is not None
        hits += bool(((found.ranks[:, 0] <= first) & (found.ranks[:, 1] >= last)).all())
        width += (found.ranks[:, 1] - found.ranks[:, 0] + 1).mean() / trials
    # Nominal 95 %; 250 trials leave a standard error of 1.4 points. benchmarks.comparison does 1000, on real rows.
    assert hits / trials >= 0.92
    if pattern == "all equal":
        assert width > 5.9
    else:  # an interval that always said 1 to 6 would hold every truth, too
        assert width < 5.5


def test_equal_models_tie_and_hide_no_other_difference() -> None:
    a, b, c = models(np.random.default_rng(4), 100, [0, 0, 5])
    found = rank_models(np.stack([a, a.copy(), c]), "ratio", higher_is_better=True, resamples=300)
    assert found is not None
    assert found.ranks.tolist() == [[2, 3], [2, 3], [1, 1]]
    assert (found.low[0, 1], found.high[0, 1]) == (0, 0)
    # Two that differ on a few images cannot be told apart, and leave the others' critical value alone.
    almost = a.copy()
    almost[: int(FEWEST) - 2, 0] += 5
    beside = rank_models(np.stack([a, almost, c]), "ratio", higher_is_better=True, resamples=300)
    assert beside is not None
    assert beside.ranks[2].tolist() == [1, 1]
    assert not beside.better[1, 0]
    assert beside.high[1, 0] == math.inf
    assert beside.critical < 4


def gaps(rng: np.random.Generator, n: int, sizes: list[float]) -> np.ndarray:
    """(K, n, 3) of absolute differences of means: |mean s0 - mean s1| is about the size."""
    truth = rng.normal(40, 10, n)
    return np.stack([np.stack([truth + gap + rng.normal(0, 4, n), truth, np.ones(n)], axis=1) for gap in sizes])


def test_absolute_differences_are_ranked_by_distance_from_0() -> None:
    statistics = gaps(np.random.default_rng(5), 400, [-6, 6, 2, -2, 0])
    found = rank_models(statistics, "abs_difference", higher_is_better=False, resamples=500)
    assert found is not None
    np.testing.assert_allclose(found.values, np.abs((statistics[..., 0] - statistics[..., 1]).mean(axis=1)))
    # -6 and 6 are as far from 0; so are 2 and -2.
    assert found.ranks.tolist() == [[4, 5], [4, 5], [2, 3], [2, 3], [1, 1]]
    inside = (found.low <= found.values[:, None] - found.values) & (found.values[:, None] - found.values <= found.high)
    assert inside.all()


def test_limits_of_absolute_differences_hold_at_the_kink() -> None:
    rng = np.random.default_rng(6)
    sizes = [0.0, 0.0, 1.0, -1.0]
    truth = np.abs(sizes)
    hits = 0
    for trial in range(200):
        found = rank_models(gaps(rng, 60, sizes), "abs_difference", higher_is_better=False, resamples=300, seed=trial)
        assert found is not None
        apart = truth[:, None] - truth
        hits += bool(((found.low <= apart + 1e-9) & (apart - 1e-9 <= found.high)).all())
    assert hits / 200 >= 0.92


def test_the_detectable_difference_is_detected_in_80_of_100_sets() -> None:
    rng = np.random.default_rng(8)
    first = rank_models(models(rng, 100, np.zeros(5)), "ratio", higher_is_better=True, resamples=500)
    assert first is not None
    assert first.detectable is not None
    seen = 0
    for trial in range(200):
        gains = [first.detectable, 0, 0, 0, 0]
        found = rank_models(models(rng, 100, gains), "ratio", higher_is_better=True, resamples=300, seed=trial)
        assert found is not None
        seen += bool(found.better[0, 1])
    assert 0.68 <= seen / 200 <= 0.92  # a standard error of 2.8 points, and one of the first set's own


def test_images_that_are_not_defined_for_all_count_for_none() -> None:
    statistics = models(np.random.default_rng(0), 60, [0, 1, 2])
    holed = statistics.copy()
    holed[1, 4], holed[2, 9, 0] = np.nan, np.nan
    kept = np.delete(statistics, [4, 9], axis=1)
    found = rank_models(holed, "ratio", higher_is_better=True, resamples=100)
    expected = rank_models(kept, "ratio", higher_is_better=True, resamples=100)
    assert found is not None
    assert expected is not None
    assert found.n == 58
    assert (found.critical, found.detectable) == (expected.critical, expected.detectable)


def test_too_few_images_and_impossible_numbers_get_no_ranks() -> None:
    statistics = models(np.random.default_rng(0), 40, [0, 1])
    assert rank_models(statistics[:, :29], "ratio", higher_is_better=True) is None
    assert rank_models(statistics[:0], "ratio", higher_is_better=True) is None
    assert rank_models(np.zeros((2, 40, 2)), "ratio", higher_is_better=True) is None
    for huge in (np.inf, 1e308, 1e200):
        wild = statistics.copy()
        wild[0, 3, 0] = huge
        found = rank_models(wild, "ratio", higher_is_better=True, resamples=50)
        # A number too large to be squared decides nothing: no ranks, or ranks that claim nothing.
        assert found is None or not found.better.any()
    with pytest.raises(ValueError, match="shape"):
        rank_models(statistics[0], "ratio", higher_is_better=True)
    with pytest.raises(ValueError, match="needs 3"):
        rank_models(statistics, "abs_difference", higher_is_better=False)


def test_a_model_alone_is_first() -> None:
    found = rank_models(models(np.random.default_rng(0), 40, [0]), "ratio", higher_is_better=True)
    assert found is not None
    assert found.ranks.tolist() == [[1, 1]]
    assert found.detectable is None


def test_sixty_models_on_ten_thousand_images_need_little_memory() -> None:
    statistics = models(np.random.default_rng(0), 10_000, np.linspace(0, 3, 60))
    tracemalloc.start()
    found = rank_models(statistics, "ratio", higher_is_better=True, resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is not None
    assert peak < 120e6  # the statistics are 10 MB; weights and products come in blocks
