"""Effect size, images needed, several tests, and the tests of no difference, against scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from colorbench.stats.bootstrap import Form
from colorbench.stats.effect_and_sample_size import (
    detectable_difference,
    difference_influence,
    effect_size,
    holm,
    images_needed,
)
from colorbench.stats.paired import paired_interval, sign_flip_p


def means(rng: np.random.Generator, n: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Two models whose scores are means over images."""
    hard = rng.normal(60, 12, n)
    return tuple(np.stack([hard + g + rng.normal(0, 4, n), np.ones(n)], axis=1) for g in (gain, 0))  # type: ignore[return-value]


def test_the_effect_size_of_a_mean_is_cohens_d() -> None:
    a, b = means(np.random.default_rng(0), 80, 2)
    difference = a[:, 0] - b[:, 0]
    assert effect_size(a, b, "ratio") == pytest.approx(difference.mean() / difference.std())


def test_a_image_of_twice_the_weight_counts_as_two() -> None:
    a, b = means(np.random.default_rng(0), 40, 2)
    twice = np.concatenate([a, a[:10]]), np.concatenate([b, b[:10]])
    heavy = a.copy(), b.copy()
    for one in heavy:
        one[:10] *= 2
    # The value is the same; of the influence the same sum falls on one image instead of two.
    merged = difference_influence(*twice, "ratio")
    merged = np.concatenate([merged[:10] + merged[40:], merged[10:40]])
    np.testing.assert_allclose(difference_influence(*heavy, "ratio"), merged, atol=1e-12)


@pytest.mark.parametrize("form", ["ratio", "abs_difference"])
def test_influence_is_the_derivative_by_the_images_weights(form: Form) -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(40, 5, 30)
    if form == "ratio":
        weights = rng.lognormal(0, 1, 30)
        a, b = (np.stack([weights * (truth + gap), weights], axis=1) for gap in (rng.normal(2, 1, 30), 0))
    else:
        a, b = (np.stack([truth + rng.normal(gap, 1, 30), truth, np.ones(30)], axis=1) for gap in (-3, 1))

    def difference(counts: np.ndarray) -> float:
        def value(x: np.ndarray) -> float:
            s = counts @ x
            return s[0] / s[1] if form == "ratio" else abs(s[0] - s[1]) / s[2]

        return value(a) - value(b)

    step = 1e-6
    slopes = [(difference(np.ones(30) + step * np.eye(30)[i]) - difference(np.ones(30))) / step for i in range(30)]
    np.testing.assert_allclose(difference_influence(a, b, form), slopes, atol=1e-5)


def test_images_needed_show_the_difference_in_80_of_100_sets() -> None:
    rng = np.random.default_rng(2)
    needed = images_needed(2 / math.sqrt(32))  # differences of mean 2 and standard deviation sqrt(32)
    assert needed == math.ceil(32 / 4 * (1.959964 + 0.841621) ** 2)
    hits = sum(sign_flip_p(*means(rng, needed, 2), flips=199, seed=seed) <= 0.05 for seed in range(400))
    assert 0.74 <= hits / 400 <= 0.86  # a standard error of 2 points


def test_what_cannot_be_known_is_none() -> None:
    a, _ = means(np.random.default_rng(0), 40, 0)
    assert math.isnan(effect_size(a, a, "ratio"))
    assert math.isnan(effect_size(a, a + [1, 0], "ratio"))  # all differ by the same
    assert math.isnan(effect_size(a[:0], a[:0], "ratio"))
    assert images_needed(math.nan) is None
    assert images_needed(0) is None
    assert images_needed(5) == 30  # fewer are not tested
    assert images_needed(-0.1) == images_needed(0.1) == 785
    assert detectable_difference(0.5) == pytest.approx(0.5 * 2.801585)


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    found = holm([0.02, math.nan, 0.01])
    assert found[0::2] == pytest.approx([0.02, 0.02])
    assert math.isnan(found[1])
    assert holm([]) == []


def test_holm_rejects_a_true_hypothesis_in_1_of_20_families() -> None:
    p = np.random.default_rng(0).random((4000, 6))
    wrong = np.mean([min(holm(list(row))) <= 0.05 for row in p])
    assert 0.04 <= wrong <= 0.06


def test_sign_flips_agree_with_scipys_permutation_test() -> None:
    rng = np.random.default_rng(3)
    weights = rng.lognormal(0, 1, 12)
    a, b = (np.stack([weights * rng.normal(60 + gain, 8, 12), weights], axis=1) for gain in (6, 0))
    exact = scipy.stats.permutation_test(
        (a[:, 0], b[:, 0]), lambda x, y: x.sum() - y.sum(), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(a, b, flips=20_000) == pytest.approx(exact.pvalue, abs=0.015)


def test_flips_of_absolute_differences_agree_with_scipys_permutation_test() -> None:
    rng = np.random.default_rng(4)
    for gaps in ((4, 2.5), (4, -1), (2, -3), (-4, 4.5)):
        truth = rng.normal(40, 10, 11)
        a, b = (np.stack([truth + rng.normal(gap, 3, 11), truth, np.ones(11)], axis=1) for gap in gaps)

        # |g| = |h| where g = h or g = -h: the larger p of both.
        g, h = a[:, 0] - truth, b[:, 0] - truth
        exact = max(
            scipy.stats.permutation_test(
                (g, sign * h), lambda x, y: x.mean() - y.mean(), permutation_type="samples", n_resamples=np.inf
            ).pvalue
            for sign in (1, -1)
        )
        assert sign_flip_p(a, b, "abs_difference", flips=20_000) == pytest.approx(exact, abs=0.015)


def test_flips_refuse_another_truth() -> None:
    a = np.ones((40, 3))
    b = a.copy()
    b[3, 1] = 2
    with pytest.raises(ValueError, match="equal denominators"):
        sign_flip_p(a, b, "abs_difference")


def test_the_paired_interval_agrees_with_scipys_bootstrap_t() -> None:
    rng = np.random.default_rng(5)
    a, b = means(rng, 60, 1.5)
    # The percentile interval of scipy, which is what ours becomes without studentizing, at this n nearly the same.
    x = a[:, 0] - b[:, 0]
    reference = scipy.stats.bootstrap((x,), np.mean, n_resamples=9999, method="percentile", rng=0).confidence_interval
    ours = paired_interval(a, b, "ratio", resamples=9999).interval
    assert ours is not None
    half = (reference.high - reference.low) / 2
    assert ours.low == pytest.approx(reference.low, abs=0.12 * half)
    assert ours.high == pytest.approx(reference.high, abs=0.12 * half)


def test_the_absolute_interval_agrees_with_scipys_percentiles_far_from_0() -> None:
    rng = np.random.default_rng(6)
    truth = rng.normal(40, 10, 60)
    a, b = (np.stack([truth + rng.normal(gap, 3, 60), truth, np.ones(60)], axis=1) for gap in (5, 2))

    def apart(x: np.ndarray, y: np.ndarray, t: np.ndarray) -> float:
        return abs((x - t).mean()) - abs((y - t).mean())

    reference = scipy.stats.bootstrap(
        (a[:, 0], b[:, 0], truth), apart, n_resamples=9999, method="percentile", paired=True, vectorized=False, rng=0
    ).confidence_interval
    ours = paired_interval(a, b, "abs_difference", resamples=9999).interval
    assert ours is not None
    half = (reference.high - reference.low) / 2
    assert ours.low == pytest.approx(reference.low, abs=0.12 * half)
    assert ours.high == pytest.approx(reference.high, abs=0.12 * half)
