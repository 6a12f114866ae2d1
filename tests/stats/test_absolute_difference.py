"""The interval of |a| - |b| where one or both are near 0; ``benchmarks/absolute_coverage.py`` has more of it."""

import numpy as np
import pytest

from benchmarks.absolute_coverage import coverage, made, statistics
from colorbench.stats.paired import paired_interval, sign_flip_p
from tests.support.normal import normal_coverage


@pytest.mark.parametrize("means", [(8, 0), (0, 0)])
def test_the_interval_covers_where_a_difference_is_0(means: tuple[float, float]) -> None:
    found = coverage(made(0.5, 1, False), means, 60, samples=100, seed=1, beside=False)
    # Nominal 95 %; 100 samples leave a standard error of 2.2 points. Percentiles cover 86-89 % beside a 0.
    assert 0.90 <= found["covers"] <= 0.995


# (correlation, spread of the second, means in standard errors): where other choices of the constants covered 92.5 %
# or less, 97.1 % or more.
CELLS = [
    (0.5, 1, (2, 2)),
    (0.8, 1, (2, 2)),
    (0.5, 1, (2, 0)),
    (0.5, 1, (0, 0)),
    (-0.9, 1, (0, 0)),
    (0, 2, (0, 0.5)),
    (0, 2, (1.5, 1.5)),
    (0.5, 2, (8, 0)),
    (0.5, 1, (8, 8)),
]


@pytest.mark.parametrize(("correlation", "spread", "means"), CELLS)
def test_it_covers_93_to_97_percent_of_normal_estimates(
    correlation: float, spread: float, means: tuple[float, float]
) -> None:
    assert 0.93 <= normal_coverage(correlation, spread, means) <= 0.97


def test_one_end_is_open_to_both_signs() -> None:
    rng = np.random.default_rng(0)
    a, b = statistics(np.stack([rng.normal(6, 1, 100), rng.normal(0, 3, 100)], axis=1))
    found = paired_interval(a, b, "abs_difference").interval
    assert found is not None
    # |a| - |b| is about |a| at most.
    assert found.high <= 6 + 0.6 and found.low < found.high
    turned = paired_interval(b, a, "abs_difference").interval
    assert turned is not None
    np.testing.assert_allclose([turned.low, turned.high], [-found.high, -found.low], atol=0.02)


def test_signs_of_both_models_change_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = np.stack([rng.normal(0.3, 1, 80), rng.normal(0.1, 2, 80)], axis=1)
    found = [paired_interval(*statistics(rows * sign), "abs_difference").interval for sign in (1.0, -1.0)]
    assert found[0] is not None and found[1] is not None
    np.testing.assert_allclose([found[0].low, found[0].high], [found[1].low, found[1].high], rtol=1e-6)


def test_models_that_differ_by_a_constant_have_no_width() -> None:
    rows = np.random.default_rng(2).normal(5, 1, (40, 1))
    found = paired_interval(*statistics(np.hstack([rows + 1, rows])), "abs_difference").interval
    assert found is not None
    np.testing.assert_allclose([found.low, found.high], [1, 1], atol=1e-4)
    all_equal = paired_interval(*statistics(np.tile([3.0, 1.0], (40, 1))), "abs_difference").interval
    assert all_equal is not None and (all_equal.low, all_equal.high, all_equal.method) == (2, 2, "no variation")


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.9])
def test_interval_and_flips_agree_on_clear_cases(side: float, correlation: float) -> None:
    rng = np.random.default_rng(3)
    for gap, differs in ((2.0, True), (0.0, False)):
        deviations = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], 60)
        a, b = statistics(deviations - deviations.mean(axis=0) * (1 - 0.1) + [3 + gap, 3 * side])
        found = paired_interval(a, b, "abs_difference").interval
        assert found is not None
        assert (found.low > 0) == differs == (sign_flip_p(a, b, "abs_difference", flips=999) <= 0.05)


@pytest.mark.parametrize("means", [(6, -6), (8, -6), (8, -4)])
def test_interval_and_flips_agree_on_opposite_sides(means: tuple[float, float]) -> None:
    # Each end of either is drawn from its own random numbers, so that they differ where p is near 0.05.
    assert coverage(made(0.5, 1, False), means, 60, samples=100, seed=2)["disagree"] <= 0.03
