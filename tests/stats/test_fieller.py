"""Fieller's interval: its algebra against the test that defines it, its coverage, and when no share is given."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import ttest_1samp

from colorbench.evaluation import metrics_of
from colorbench.results import MetricSpec
from colorbench.stats.fieller import share_of_gap


def predictions(n: int, *, share: float, rng: np.random.Generator, sets: int = 1) -> np.ndarray:
    """(sets, n, 2) model minus gray and truth minus gray of right (1) and wrong (0) answers, as classifiers give them:
    most images are known in gray too, some are lost without colors, a few are known in gray alone."""
    kind = rng.random((sets, n))
    gap = np.where(kind < 0.15, 1.0, np.where(kind < 0.19, -1.0, 0.0))
    closed = np.where(rng.random((sets, n)) < share, gap, 0.0)
    noise = rng.choice([-1.0, 0.0, 1.0], p=[0.02, 0.96, 0.02], size=(sets, n)) * (gap == 0)
    return np.stack([closed + noise, gap], axis=2)


def test_the_limits_are_where_the_paired_test_of_the_share_turns() -> None:
    """A share r is inside exactly where a t test of "the mean of x - r y is 0" does not reject it."""
    pairs = predictions(650, share=0.4, rng=np.random.default_rng(3))[0]
    found = share_of_gap(pairs)

    def rejected_by(r: float) -> float:
        return 0.05 - float(ttest_1samp(pairs[:, 0] - r * pairs[:, 1], 0).pvalue)

    assert found.value == pytest.approx(pairs[:, 0].mean() / pairs[:, 1].mean())
    assert found.interval is not None
    assert found.interval.low == pytest.approx(brentq(rejected_by, -5, found.value), abs=1e-9)
    assert found.interval.high == pytest.approx(brentq(rejected_by, found.value, 5), abs=1e-9)
    test = ttest_1samp(pairs[:, 1], 0).confidence_interval(0.95)
    assert (found.gap_low, found.gap_high) == pytest.approx((test.low, test.high))


@pytest.mark.parametrize(("n", "share"), [(100, 0.5), (650, 0.3)])
def test_95_of_100_intervals_hold_the_share(n: int, share: float) -> None:
    """Where the gap is not resolved the set is unbounded or all shares, and counts as holding it when it does: so
    coverage is asked of the defining inequality for all sets, and of the interval for those that have one."""
    sets = 800
    pairs = predictions(n, share=share, rng=np.random.default_rng(n), sets=sets)
    found = [share_of_gap(one) for one in pairs]
    bounded = [one.interval for one in found if one.interval is not None]
    covered = sum(one.low <= share <= one.high for one in bounded)
    unbounded_held = sum(
        ttest_1samp(pair[:, 0] - share * pair[:, 1], 0).pvalue >= 0.05
        for pair, one in zip(pairs, found, strict=True)
        if one.interval is None
    )
    # 800 sets: a standard error of 0.8 points.
    assert 0.93 <= (covered + unbounded_held) / sets <= 0.97
    if n == 650:
        assert len(bounded) == sets


def test_a_gap_that_touches_0_gives_no_share() -> None:
    rng = np.random.default_rng(0)
    nothing = rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=(200, 2))
    found = share_of_gap(nothing)
    assert found.gap_low < 0 < found.gap_high
    assert (found.resolved, found.value, found.interval) == (False, None, None)


def test_gray_closes_nothing_and_truth_all_of_the_gap() -> None:
    pairs = predictions(100, share=0.5, rng=np.random.default_rng(1))[0]
    gray = share_of_gap(np.stack([0 * pairs[:, 1], pairs[:, 1]], axis=1))
    truth = share_of_gap(np.stack([pairs[:, 1], pairs[:, 1]], axis=1))
    assert gray.interval is not None and truth.interval is not None
    assert (gray.value, gray.interval.low, gray.interval.high) == pytest.approx((0, 0, 0), abs=1e-9)
    assert (truth.value, truth.interval.low, truth.interval.high) == pytest.approx((1, 1, 1), abs=1e-9)


def test_images_without_a_value_do_not_count_and_few_images_give_none() -> None:
    pairs = predictions(300, share=0.5, rng=np.random.default_rng(2))[0]
    some = pairs.copy()
    some[::2] = np.nan
    assert share_of_gap(some) == share_of_gap(pairs[1::2])
    few = share_of_gap(np.tile([1.0, 1.0], (29, 1)))
    assert (few.value, few.interval, few.n) == (None, None, 29)
    assert share_of_gap(np.zeros((0, 2))).value is None
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        share_of_gap(np.zeros((3, 3)))


def test_a_record_says_that_the_gap_is_not_resolved() -> None:
    spec = MetricSpec("share", "share", "%", True, comparable=False, share_of_gap=True)
    resolved = predictions(650, share=0.4, rng=np.random.default_rng(3))[0]
    for pairs, is_resolved in ((resolved, True), (resolved * [1, 0], False)):
        columns = {"share.s0": 100 * pairs[:, 0], "share.s1": pairs[:, 1]}
        metric = metrics_of([spec], columns, {"share": 650.0})[0]
        assert metric.share_of_gap
        if is_resolved:
            found = share_of_gap(pairs)
            assert found.value is not None and found.interval is not None
            assert metric.value == pytest.approx(100 * found.value)
            assert metric.ci_low == pytest.approx(100 * found.interval.low)
            assert (metric.ci_method, metric.warning) == ("Fieller, 95 %", None)
        else:
            assert (metric.value, metric.ci_low) == (None, None)
            assert str(metric.warning).startswith("gap not resolved")
