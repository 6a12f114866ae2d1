"""Differences between two models on the same images."""

import itertools
import math

import numpy as np
import pytest

from colorbench.stats.bootstrap import bootstrap_weights, interval
from colorbench.stats.paired import excludes_zero, paired_interval, sign_flip_p, significance


def two_models(rng: np.random.Generator, n: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of two models with common denominators, the second better by ``gain`` on every scale of weight."""
    weights = rng.lognormal(0, 0.7, n)
    difficulty = rng.normal(60, 12, n)
    a = difficulty + rng.normal(0, 2, n)
    b = difficulty + rng.normal(gain, 2, n)
    return np.stack([weights * b, weights], 1), np.stack([weights * a, weights], 1)


def test_the_difference_is_that_of_the_values() -> None:
    a, b = two_models(np.random.default_rng(0), 100, 1.5)
    found = paired_interval(a, b, "ratio", resamples=500)
    assert found.n == 100
    assert found.value == pytest.approx(a[:, 0].sum() / a[:, 1].sum() - b[:, 0].sum() / b[:, 1].sum())
    assert found.interval is not None
    assert found.interval.low < found.value < found.interval.high


def test_pairing_takes_out_what_both_share() -> None:
    a, b = two_models(np.random.default_rng(0), 100, 1.5)
    together = paired_interval(a, b, "ratio", resamples=500).interval
    alone = interval(a, "ratio", resamples=500)
    assert together is not None
    assert alone is not None
    assert together.high - together.low < 0.4 * (alone.high - alone.low)


def test_intervals_of_a_known_difference_cover_it() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        found = paired_interval(*two_models(rng, 60, 1.5), "ratio", resamples=300, seed=trial).interval
        assert found is not None
        hits += found.low <= 1.5 <= found.high
    # Nominal 95 %; 300 trials leave a standard error of 1.3 points.
    assert 0.91 <= hits / 300 <= 0.985


def test_unequal_denominators_agree_with_a_loop_over_resamples() -> None:
    rng = np.random.default_rng(2)
    a = np.stack([rng.normal(30, 5, 50), rng.lognormal(0, 0.3, 50)], 1)
    b = np.stack([rng.normal(28, 5, 50), rng.lognormal(0, 0.3, 50)], 1)

    def difference_and_error(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        rx, ry = x[:, 0].sum() / x[:, 1].sum(), y[:, 0].sum() / y[:, 1].sum()
        influence = (x[:, 0] - rx * x[:, 1]) / x[:, 1].sum() - (y[:, 0] - ry * y[:, 1]) / y[:, 1].sum()
        return rx - ry, math.sqrt((influence**2).sum())

    center, error = difference_and_error(a, b)
    t = []
    for weights in bootstrap_weights(50, 200, seed=9):
        drawn = np.repeat(np.arange(50), weights)  # the same images for both
        difference, spread = difference_and_error(a[drawn], b[drawn])
        t.append((difference - center) / spread)
    low, high = np.quantile(t, [0.025, 0.975])
    found = paired_interval(a, b, "ratio", resamples=200, seed=9).interval
    assert found is not None
    np.testing.assert_allclose([found.low, found.high], [center - error * high, center - error * low], rtol=1e-8)


def test_far_from_0_absolute_differences_are_the_symmetric_bootstrap_t() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(40, 10, 50)
    a, b = (np.stack([truth + rng.normal(gap, 3, 50), truth, np.ones(50)], 1) for gap in (-16, 12))
    found = paired_interval(a, b, "abs_difference", resamples=400, seed=1)
    # |a| - |b| is -(a + b) of the signed differences here.
    x = -(a[:, 0] - truth) - (b[:, 0] - truth)
    error = x.std() / math.sqrt(50)
    t = []
    for weights in bootstrap_weights(50, 400, seed=1):
        drawn = np.repeat(x, weights)
        t.append(abs(drawn.mean() - x.mean()) / (drawn.std() / math.sqrt(50)))
    reach = error * np.quantile(t, 0.95)
    assert found.interval is not None
    np.testing.assert_allclose(
        [found.interval.low, found.interval.high], [x.mean() - reach, x.mean() + reach], atol=0.02 * reach
    )
    assert found.value == pytest.approx(abs((a[:, 0] - truth).mean()) - abs((b[:, 0] - truth).mean()))


def test_a_model_and_itself_differ_by_exactly_0() -> None:
    a, _ = two_models(np.random.default_rng(0), 60, 0)
    found = paired_interval(a, a.copy(), "ratio")
    assert found.value == 0
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (0, 0)


def test_only_images_defined_for_both_count() -> None:
    a, b = two_models(np.random.default_rng(0), 60, 1)
    kept = np.ones(60, bool)
    kept[[2, 30]] = False
    holed_a, holed_b = a.copy(), b.copy()
    holed_a[2], holed_b[30] = np.nan, np.nan
    found = paired_interval(holed_a, holed_b, "ratio", resamples=100)
    assert found == paired_interval(a[kept], b[kept], "ratio", resamples=100)
    assert found.n == 58


def test_fewer_than_30_images_get_no_interval() -> None:
    a, b = two_models(np.random.default_rng(0), 29, 1)
    assert paired_interval(a, b, "ratio").interval is None
    assert paired_interval(a, b, "ratio").n == 29
    with pytest.raises(ValueError, match="one shape"):
        paired_interval(a, b[:5], "ratio")


def test_sign_flips_equal_all_the_signs_there_are() -> None:
    rng = np.random.default_rng(4)
    weights = np.ones(10)
    a, b = rng.normal(1, 2, 10), rng.normal(0, 2, 10)
    sums = [abs(np.dot(signs, a - b)) for signs in itertools.product((-1, 1), repeat=10)]
    exact = np.mean(np.array(sums) >= abs((a - b).sum()) - 1e-12)
    found = sign_flip_p(np.stack([a, weights], 1), np.stack([b, weights], 1), flips=20_000)
    assert found == pytest.approx(exact, abs=0.015)


def test_sign_flips_reject_at_their_level_under_the_null() -> None:
    rng = np.random.default_rng(0)
    p = np.array([sign_flip_p(*two_models(rng, 40, 0), flips=199, seed=i) for i in range(400)])
    # 5 % with a standard error of 1.1 points; and as often below a half as above.
    assert 0.02 <= np.mean(p <= 0.05) <= 0.085
    assert 0.43 <= np.mean(p <= 0.5) <= 0.57


def test_sign_flips_see_a_real_gain_and_refuse_other_weights() -> None:
    a, b = two_models(np.random.default_rng(0), 60, 3)
    assert sign_flip_p(a, b, flips=999) == 1 / 1000
    assert sign_flip_p(a, a, flips=99) == 1
    assert math.isnan(sign_flip_p(a[:0], b[:0]))
    b[0, 1] += 1
    with pytest.raises(ValueError, match="equal denominators"):
        sign_flip_p(a, b)


@pytest.mark.parametrize(
    ("low", "high", "if_higher", "if_lower"),
    [
        (0.1, 2.0, "better", "worse"),
        (-2.0, -0.1, "worse", "better"),
        (-1.0, 1.0, None, None),
        (0.0, 1.0, None, None),
        (None, None, None, None),
        (math.nan, math.nan, None, None),
    ],
)
def test_what_an_interval_shows(
    low: float | None, high: float | None, if_higher: str | None, if_lower: str | None
) -> None:
    assert significance(low, high, True) == if_higher and significance(low, high, False) == if_lower
    assert excludes_zero(low, high) == (if_higher is not None)
