"""Two rates of the same participants: what they share cancels, and the share of draws above 0 is calibrated."""

import numpy as np

from benchmarks.study_comparison import calibration
from colorbench.stats.clustered_pairs import paired_resamples, share_above
from colorbench.stats.clustered_resampling import two_level_bootstrap
from protocols.human_study.power.study_simulation import Plan


def responses(shift: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """24 participants of very different rates, 20 responses to each of two methods."""
    rng = np.random.default_rng(seed)
    participant = np.repeat(np.arange(24), 40)
    image = np.concatenate([rng.permutation(100)[:40] for _ in range(24)])
    first = np.tile(np.repeat([True, False], 20), 24)
    rate = np.clip(rng.random(24), 0.1, 0.8)[participant] + shift * first
    return rng.random(len(participant)) < rate, participant, image, first


def test_what_participants_do_to_both_methods_cancels() -> None:
    fooled, participant, image, first = responses(0.0)
    together = paired_resamples(fooled, participant, image, first, resamples=800)
    apart = [
        two_level_bootstrap(fooled[kind], participant[kind], resamples=800, seed=s).rates
        for s, kind in ((1, first), (2, ~first))
    ]
    assert together.std() < 0.6 * (apart[0] - apart[1]).std()
    assert abs(together.mean() - (fooled[first].mean() - fooled[~first].mean())) < 1e-9


def test_a_difference_shows_and_turns_around() -> None:
    fooled, participant, image, first = responses(0.15, seed=3)
    above = share_above(paired_resamples(fooled, participant, image, first, resamples=800))
    below = share_above(paired_resamples(fooled, participant, image, ~first, resamples=800))
    assert above > 0.99 and below < 0.01
    assert share_above(np.array([0.0, 1.0, -1.0])) == 0.5


def test_the_share_above_is_extreme_in_one_of_twenty_studies_without_a_difference() -> None:
    plan = Plan(rate=0.32, effect=0.0, participant_sd=1.5, image_sd=0.8, images=60)
    found = calibration(plan, 80, resamples=200)
    # 5 % with a standard error of 2.4 points; drawn apart, hardly ever.
    assert 0.0 <= found["together extreme"] <= 0.13
    assert found["apart extreme"] <= 0.01 and found["apart covers"] >= 0.99
