"""Rates over persons and images: the arithmetic against loops and closed forms, and whether intervals cover."""

import math
import time

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from colorbench.stats import clustered_resampling
from colorbench.stats.clustered_rates import (
    binomial_interval,
    clustered_difference,
    clustered_rate,
    difference_parts,
    logit_bounds,
)
from colorbench.stats.clustered_resampling import (
    crossed_bootstrap,
    mean_influence,
    two_level_bootstrap,
    two_way_variance,
)
from protocols.human_study.power.study_simulation import Plan, simulate


def study(
    seed: int, n: int = 300, participants: int = 15, images: int = 40
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers of unequal numbers a person and an image, some persons twice on one image."""
    rng = np.random.default_rng(seed)
    participant = rng.integers(0, participants, n)
    image = (rng.integers(0, images, n) * rng.random(n)).astype(int)
    lean = rng.normal(0, 1, participants)[participant] + rng.normal(0, 1, images)[image]
    return rng.random(n) < expit(lean - 0.7), participant, image


def variance_by_loops(responses: np.ndarray, *clusterings: list[tuple]) -> list[float]:
    """The clustered variance of a mean, once for every clustering, by the definition."""
    mean, n = responses.mean(), len(responses)
    found = []
    for labels in clusterings:
        sums: dict[tuple, float] = {}
        for response, label in zip(responses, labels, strict=True):
            sums[label] = sums.get(label, 0.0) + (float(response) - mean) / n
        groups = len(sums)
        found.append(groups / (groups - 1) * sum(s**2 for s in sums.values()))
    return found


@pytest.mark.parametrize("dense", [0, 1 << 22])
def test_variance_is_the_definition(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustered_resampling, "_DENSE", dense)
    responses, participant, image = study(0)
    _, influence = mean_influence(responses)
    found = two_way_variance(influence, participant, image)
    by_participant, by_image, by_cell = variance_by_loops(
        responses, list(participant), list(image), list(zip(participant, image, strict=True))
    )
    assert found.participant[0] == pytest.approx(by_participant, rel=1e-12)
    assert found.image[0] == pytest.approx(by_image, rel=1e-12)
    assert found.cell[0] == pytest.approx(by_cell, rel=1e-12)
    assert found.raw[0] == pytest.approx(by_participant + by_image - by_cell, rel=1e-12)
    assert found.degrees_of_freedom[0] == 14


def test_many_studies_at_once_are_each_alone() -> None:
    made = [study(seed) for seed in range(5)]
    responses, participant, image = (np.stack(parts) for parts in zip(*made, strict=True))
    counted = np.random.default_rng(9).random(responses.shape) < 0.7
    mean, influence = mean_influence(responses, counted)
    together = two_way_variance(influence, participant, image, counted)
    for i in range(5):
        alone = clustered_rate(responses[i][counted[i]], participant[i][counted[i]], image[i][counted[i]])
        assert mean[i] == pytest.approx(alone.value)
        assert math.sqrt(together.total[i]) == pytest.approx(alone.standard_error, rel=1e-12)


def test_equal_participants_on_images_of_their_own_are_a_t_interval_of_their_means() -> None:
    rng = np.random.default_rng(1)
    responses = rng.random((20, 12)) < rng.random((20, 1))
    participant, image = np.repeat(np.arange(20), 12), np.arange(240)
    rate = clustered_rate(responses.ravel(), participant, image)
    means = responses.mean(axis=1)
    # Every response has its own image, so V_image = V_cell, and V_participant is left.
    assert rate.standard_error == pytest.approx(means.std(ddof=1) / math.sqrt(20), rel=1e-12)
    reach = stats.t.ppf(0.975, 19) * rate.standard_error / (rate.value * (1 - rate.value))
    assert rate.interval is not None
    assert rate.interval.low == pytest.approx(expit(logit(rate.value) - reach))
    assert rate.interval.high == pytest.approx(expit(logit(rate.value) + reach))
    assert rate.interval.method == "two-way cluster-robust, t(19), logit scale"


def test_independent_responses_have_the_binomial_error() -> None:
    responses = np.arange(100) < 32
    rate = clustered_rate(responses, np.arange(100), np.arange(100))
    assert rate.standard_error**2 == pytest.approx(0.32 * 0.68 / 99)
    assert rate.effective_responses == pytest.approx(99)


def test_a_negative_variance_becomes_that_of_independent_responses() -> None:
    # Every participant and every image is fooled exactly half the time: V_participant = V_image = 0.
    participant, image = (grid.ravel() for grid in np.meshgrid(np.arange(20), np.arange(40), indexing="ij"))
    responses = (participant + image) % 2 == 0
    _, influence = mean_influence(responses)
    variance = two_way_variance(influence, participant, image)
    assert variance.raw[0] < 0
    rate = clustered_rate(responses, participant, image)
    assert rate.floored
    assert rate.standard_error**2 == pytest.approx(0.25 / 799)
    assert rate.interval is not None and rate.interval.low < 0.5 < rate.interval.high


@pytest.mark.parametrize("response", [0, 1])
def test_where_all_responses_agree_the_interval_is_exact_and_one_sided(response: int) -> None:
    participant, image = np.repeat(np.arange(40), 36), np.arange(1440) % 200
    rate = clustered_rate(np.full(1440, response), participant, image)
    exact = stats.binomtest(40 * response, 40).proportion_ci(0.95, method="exact")
    assert rate.interval is not None
    assert (rate.interval.low, rate.interval.high) == pytest.approx((exact.low, exact.high))
    assert rate.interval.method == "exact binomial of 40 responses, one per cluster"


@pytest.mark.parametrize("share", [0.002, 0.05, 0.5, 0.97])
def test_intervals_keep_within_bounds_and_turn_around_with_the_question(share: float) -> None:
    _, participant, image = study(2, n=1500, participants=30, images=60)
    responses = np.random.default_rng(3).random(1500) < share
    fooled, seen = clustered_rate(responses, participant, image), clustered_rate(~responses, participant, image)
    assert fooled.interval is not None and seen.interval is not None
    assert 0 < fooled.interval.low < fooled.value < fooled.interval.high < 1
    assert fooled.interval.low == pytest.approx(1 - seen.interval.high)
    assert fooled.interval.high == pytest.approx(1 - seen.interval.low)


def test_labels_may_be_anything_and_few_clusters_get_no_interval() -> None:
    responses, participant, image = study(4)
    named = clustered_rate(responses, np.array([f"p{p}" for p in participant]), np.array([f"{i}.jpg" for i in image]))
    plain = clustered_rate(responses, participant, image)
    assert named.standard_error == pytest.approx(plain.standard_error, rel=1e-12)
    assert (named.value, named.participants, named.images) == (plain.value, plain.participants, plain.images)
    few = participant < 9
    assert clustered_rate(responses[few], participant[few], image[few]).interval is None
    assert clustered_rate(responses, participant, image, minimum_images=41).interval is None
    assert math.isnan(clustered_rate(np.zeros(0), np.zeros(0), np.zeros(0)).value)


def test_a_difference_between_responses_of_the_same_participants_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(5)
    a = rng.random(40) < 0.5
    b = np.where(rng.random(40) < 0.8, ~a, a)  # unlike each other: V_participant is above V_cell: not floored
    responses, participant = np.concatenate([a, b]), np.tile(np.arange(40), 2)
    first = np.arange(80) < 40
    found = clustered_difference(responses, participant, np.arange(80), first, ~first)
    wanted = stats.ttest_rel(a.astype(float), b.astype(float))
    assert not found.floored
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(wanted.confidence_interval()))


def test_a_difference_between_responses_of_other_participants_is_the_unpaired_one() -> None:
    rng = np.random.default_rng(6)
    responses = rng.random(100) < np.repeat([0.3, 0.6], 50)
    first = np.arange(100) < 50
    found = clustered_difference(responses, np.arange(100), np.arange(100), first, ~first)
    p = responses[first].mean(), responses[~first].mean()
    error = math.sqrt((p[0] * (1 - p[0]) / 50 + p[1] * (1 - p[1]) / 50) * 100 / 99)
    assert found.standard_error == pytest.approx(error)
    assert found.degrees_of_freedom == 49
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.value) / error, 49))
    turned = clustered_difference(responses, np.arange(100), np.arange(100), ~first, first)
    assert turned.value == -found.value and turned.p == found.p


def test_what_participants_and_images_have_in_common_cancels_from_a_difference() -> None:
    rng = np.random.default_rng(7)
    participant = np.repeat(np.arange(40), 20)
    responses = rng.random(800) < expit(rng.normal(0, 3, 40)[participant])
    first = np.arange(800) % 2 == 0
    paired = clustered_difference(responses, participant, np.arange(800), first, ~first)
    apart = clustered_difference(responses, participant * 2 + first, np.arange(800), first, ~first)
    assert paired.standard_error < 0.7 * apart.standard_error


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="responses must be 0 or 1"):
        clustered_rate(np.array([0.0, 0.5]), np.arange(2), np.arange(2))
    with pytest.raises(ValueError, match="three"):
        clustered_rate(np.zeros(3), np.arange(2), np.arange(3))
    with pytest.raises(ValueError, match="both kinds"):
        clustered_difference(np.zeros(3), np.arange(3), np.arange(3), np.ones(3, bool), np.ones(3, bool))


def test_the_two_level_bootstrap_is_the_papers_loop() -> None:
    responses, participant, _ = study(8, n=200, participants=12)
    rng = np.random.default_rng(0)
    groups = [responses[participant == p] for p in np.unique(participant)]
    rates = []
    for _ in range(3000):
        drawn = [groups[i] for i in rng.integers(0, len(groups), len(groups))]
        again = np.concatenate([rng.choice(group, len(group)) for group in drawn])
        rates.append(again.mean())
    found = two_level_bootstrap(responses, participant, resamples=3000, seed=1)
    assert found.rates.mean() == pytest.approx(np.mean(rates), abs=0.006)
    assert found.standard_error == pytest.approx(np.std(rates), rel=0.06)
    assert [found.interval.low, found.interval.high] == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.015)


def test_the_crossed_bootstrap_is_the_pigeonhole_loop() -> None:
    responses, participant, image = study(9, n=400, participants=12, images=20)
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(3000):
        w = np.bincount(rng.integers(0, 12, 12), minlength=12)[participant]
        v = np.bincount(rng.integers(0, image.max() + 1, image.max() + 1), minlength=image.max() + 1)[image]
        rates.append((w * v * responses).sum() / (w * v).sum())
    found = crossed_bootstrap(responses, participant, image, resamples=3000, seed=1)
    assert found.rates.mean() == pytest.approx(np.mean(rates), abs=0.01)
    assert found.standard_error == pytest.approx(np.std(rates), rel=0.06)
    assert np.array_equal(found.rates, crossed_bootstrap(responses, participant, image, resamples=3000, seed=1).rates)


def test_ten_thousand_resamples_cost_less_than_two_seconds() -> None:
    block = simulate(Plan(rate=0.32, effect=0.0), 1, np.random.default_rng(0))
    fooled, participant, image = block.fooled[0], block.participant[0], block.image[0]
    started = time.process_time()
    two_level_bootstrap(fooled, participant, resamples=10_000)
    crossed_bootstrap(fooled, participant, image, resamples=10_000)
    assert time.process_time() - started < 2


def test_intervals_cover_where_the_binomial_does_not() -> None:
    """400 studies of 40 x 36 answers; the whole measurement is ``benchmarks/study_coverage.py``."""
    plan = Plan(rate=0.32, effect=0.0, images=60, participant_sd=0.4, image_sd=0.8, shared=1.0)
    block = simulate(plan, 400, np.random.default_rng(11))
    rate, influence = mean_influence(block.fooled)
    low, high = logit_bounds(rate, two_way_variance(influence, block.participant, block.image))
    covered = ((low <= 0.32) & (high >= 0.32)).mean()
    # Binomial bounds of 95 % with 400 studies at p = 0.001.
    assert 0.91 < covered < 0.985
    error = np.sqrt(rate * (1 - rate) / block.fooled.shape[1])
    assert (np.abs(rate - 0.32) <= 1.96 * error).mean() < 0.8


def test_equal_methods_differ_significantly_one_time_in_twenty() -> None:
    block = simulate(Plan(effect=0.0, shared=0.0), 400, np.random.default_rng(12))
    first = block.method == 0
    difference, variance, freedom = difference_parts(block.fooled, block.participant, block.image, first, ~first)
    p = 2 * stats.t.sf(np.abs(difference) / np.sqrt(variance.total), freedom)
    assert 0.015 < (p < 0.05).mean() < 0.09


def test_the_binomial_interval_is_wilsons() -> None:
    p, n, z = 0.32, 1000, stats.norm.ppf(0.975)
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = binomial_interval(320, 1000)
    assert (found.low, found.high) == pytest.approx((center - reach, center + reach))
