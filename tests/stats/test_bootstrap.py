"""Intervals over images: the arithmetic against loops, and whether they cover what they promise."""

import math
import tracemalloc

import numpy as np
import pytest

from colorbench.stats.bootstrap import (
    Form,
    bootstrap_weights,
    effective_n,
    estimate,
    interval,
    is_defined,
    metric_value,
)


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 2) of a ratio with unequal weights that go with the scores; the true ratio is 50 + 5 * 0.36 = 51.8."""
    # E[w] = 1, E[w x] with x = 50 + 5 * (log w + 0.18): log w ~ N(-0.18, 0.6^2), so E[w log w] = 0.18.
    log_w = rng.normal(-0.18, 0.6, n)
    score = 50 + 5 * (log_w + 0.18) + rng.normal(0, 8, n)
    return np.stack([np.exp(log_w) * score, np.exp(log_w)], axis=1)


def test_value_of_both_forms() -> None:
    assert metric_value("ratio", np.array([3.0, 4.0])) == 0.75
    assert metric_value("abs_difference", np.array([3.0, 5.0, 4.0])) == 0.5
    assert metric_value("ratio", np.array([[1.0, 2.0], [0.0, 0.0]])).tolist()[0] == 0.5
    assert math.isnan(metric_value("ratio", np.array([1.0, 0.0])))
    with pytest.raises(ValueError, match="needs 3 statistics"):
        metric_value("abs_difference", np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="unknown form"):
        metric_value("sum", np.array([1.0, 2.0]))  # type: ignore[arg-type]


def test_every_resample_draws_n_images_evenly() -> None:
    weights = bootstrap_weights(50, 4000, seed=3)
    assert weights.shape == (4000, 50)
    assert (weights.sum(axis=1) == 50).all()
    # Multinomial: mean 1, variance 1 - 1/n; 4000 draws leave an error of 0.016 in a mean and 0.03 in a variance.
    assert np.abs(weights.mean(axis=0) - 1).max() < 0.07
    assert np.abs(weights.var(axis=0) - 0.98).max() < 0.15
    covariance = np.cov(weights[:, 0], weights[:, 1])[0, 1]
    assert covariance == pytest.approx(-1 / 50, abs=0.06)


def test_a_seed_fixes_the_draw_and_blocks_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    full = bootstrap_weights(40, 100, seed=1)
    assert not np.array_equal(full, bootstrap_weights(40, 100, seed=2))
    monkeypatch.setattr("colorbench.stats.bootstrap._BLOCK", 40 * 7)
    assert np.array_equal(full, bootstrap_weights(40, 100, seed=1))


def test_ten_thousand_images_need_little_memory() -> None:
    statistics = skewed(np.random.default_rng(0), 10_000)
    tracemalloc.start()
    assert interval(statistics, "ratio", resamples=2000) is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # the weights are made in blocks of a fixed size


def interval_by_loop(x: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """Bootstrap-t of a ratio, one resample at a time, as the textbook has it."""

    def ratio_and_error(sample: np.ndarray) -> tuple[float, float]:
        ratio = sample[:, 0].sum() / sample[:, 1].sum()
        residual = sample[:, 0] - ratio * sample[:, 1]
        return ratio, math.sqrt((residual**2).sum()) / sample[:, 1].sum()

    center, error = ratio_and_error(x)
    t = []
    for weights in bootstrap_weights(len(x), resamples, seed):
        ratio, spread = ratio_and_error(np.repeat(x, weights, axis=0))
        t.append((ratio - center) / spread)
    low, high = np.quantile(t, [0.025, 0.975])
    return center - error * high, center - error * low


def test_interval_equals_the_textbook_loop() -> None:
    x = skewed(np.random.default_rng(5), 80)
    found = interval(x, "ratio", resamples=300, seed=4)
    assert found is not None
    assert found.method == "bootstrap-t"
    np.testing.assert_allclose([found.low, found.high], interval_by_loop(x, 300, 4), rtol=1e-9)


def test_intervals_of_a_known_ratio_cover_it() -> None:
    rng = np.random.default_rng(0)
    misses = {"low": 0, "high": 0}
    trials = 400
    for trial in range(trials):
        found = interval(skewed(rng, 60), "ratio", resamples=400, seed=trial)
        assert found is not None
        misses["high"] += found.low > 51.8
        misses["low"] += found.high < 51.8
    # Nominal 95 %; 400 trials leave a standard error of 1.1 points.
    covered = 1 - sum(misses.values()) / trials
    assert 0.92 <= covered <= 0.98
    assert max(misses.values()) / trials < 0.055


def test_intervals_of_an_absolute_difference_cover_it_away_from_0_and_at_0() -> None:
    rng = np.random.default_rng(1)
    for truth in (0.0, 2.0):
        hits = 0
        for trial in range(200):
            measured, reference = rng.normal(10 - truth, 4, 60), rng.normal(10, 4, 60)
            found = interval(
                np.stack([measured, reference, np.ones(60)], 1), "abs_difference", resamples=300, seed=trial
            )
            assert found is not None
            assert 0 <= found.low <= found.high
            hits += found.low <= truth <= found.high
        assert hits / 200 >= 0.91


def test_fewer_than_30_defined_images_get_no_interval() -> None:
    x = skewed(np.random.default_rng(0), 31)
    assert interval(x, "ratio", resamples=100) is not None
    x[[3, 7]] = np.nan
    assert interval(x, "ratio", resamples=100) is None
    assert interval(x[:0], "ratio") is None


def test_images_that_are_not_defined_do_not_count() -> None:
    x = skewed(np.random.default_rng(0), 50)
    with_holes = np.insert(x, [0, 20, 50], np.nan, axis=0)
    with_holes[-1, 0] = 7  # NaN in one statistic is enough
    assert is_defined(with_holes).sum() == 50
    assert estimate(with_holes, "ratio") == estimate(x, "ratio")
    assert effective_n(with_holes, "ratio") == effective_n(x, "ratio")
    assert interval(with_holes, "ratio", resamples=100) == interval(x, "ratio", resamples=100)
    assert math.isnan(estimate(x[:0], "ratio"))


def test_images_that_all_agree_give_an_interval_of_no_width() -> None:
    weights = np.random.default_rng(0).lognormal(size=40)
    found = interval(np.stack([weights * 100 / 3, weights], 1), "ratio")
    assert found is not None
    assert (found.low, found.method) == (found.high, "no variation")
    assert found.low == pytest.approx(100 / 3)
    zeros = interval(np.stack([np.zeros(40), np.ones(40)], 1), "ratio")
    assert zeros is not None
    assert (zeros.low, zeros.high) == (0, 0)


def test_one_image_that_differs_falls_back_to_percentiles() -> None:
    # More than a third of the resamples do not hold it, have no error, and so no t.
    scores = np.zeros(40)
    scores[11] = 40
    found = interval(np.stack([scores, np.ones(40)], 1), "ratio")
    assert found is not None
    assert found.method == "bootstrap percentile"
    assert found.low == 0
    assert found.high == 3


def test_an_interval_ends_at_the_bounds_of_its_metric() -> None:
    scores = np.full(40, 100.0)
    scores[:4] = 20, 60, 90, 95
    x = np.stack([scores, np.ones(40)], 1)
    free, cut = interval(x, "ratio"), interval(x, "ratio", bounds=(0, 90))
    assert free is not None
    assert cut is not None
    assert free.high > 90
    assert (cut.low, cut.high) == (free.low, 90)


def test_a_denominator_of_0_gives_no_interval() -> None:
    assert interval(np.zeros((40, 2)), "ratio") is None


@pytest.mark.parametrize(
    ("form", "columns", "expected"),
    [("ratio", [[1.0], [1.0]], 50.0), ("ratio", [[1.0], [0.0]], 25.0), ("abs_difference", [[5.0], [0.0]], 25.0)],
)
def test_effective_n_counts_equal_weights(form: Form, columns: list[list[float]], expected: float) -> None:
    denominators = np.tile(np.array(columns).ravel(), 25)
    others = np.zeros((50, 1 if form == "ratio" else 2))
    assert effective_n(np.column_stack([others, denominators]), form) == expected


def test_effective_n_falls_where_a_few_images_weigh_most() -> None:
    x = np.ones((100, 2))
    x[0, 1] = 99
    assert effective_n(x, "ratio") == pytest.approx(198**2 / (99**2 + 99))
    assert effective_n(x[:0], "ratio") == 0
