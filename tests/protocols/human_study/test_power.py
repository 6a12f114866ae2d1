"""Planning a study: what is simulated is what was asked for, and its power is what theory says where theory can."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from colorbench.errors import UserError
from protocols.human_study.power.power_commands import plan_of
from protocols.human_study.power.simulated_power import Power, Sizes, participants_needed, simulated_power
from protocols.human_study.power.study_simulation import Plan, deal, intercept, methods_of, simulate
from tests.conftest import RunCommand
from tests.support.study_responses import make_design


@pytest.mark.parametrize(("rate", "sd"), [(0.32, 0.894), (0.05, 2.0), (0.5, 1.0), (0.32, 0.0)])
def test_the_intercept_gives_the_mean_rate(rate: float, sd: float) -> None:
    z = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    assert expit(intercept(rate, sd) + sd * z).mean() == pytest.approx(rate, abs=1e-5)


@pytest.mark.parametrize(("participants", "tests", "images"), [(40, 36, 200), (40, 36, 60), (7, 5, 5), (11, 9, 10)])
def test_nobody_sees_a_image_twice_and_all_are_seen_alike(participants: int, tests: int, images: int) -> None:
    dealt = deal(3, participants, tests, images, np.random.default_rng(0))
    assert dealt.shape == (3, participants, tests)
    for one in dealt:
        assert all(len(set(hand)) == tests for hand in one.tolist())
        seen = np.bincount(one.ravel(), minlength=images)
        assert seen.max() - seen.min() <= 1
    assert not np.array_equal(dealt[0], dealt[1])


def test_methods_are_shared_out_evenly() -> None:
    dealt = deal(2, 40, 36, 200, np.random.default_rng(0))
    within = methods_of(dealt, 200, 4, "within")
    assert {tuple(np.bincount(hand, minlength=4)) for hand in within[0]} == {(9, 9, 9, 9)}
    odd = methods_of(dealt[:, :, :35], 200, 4, "within")
    assert {tuple(sorted(np.bincount(hand, minlength=4))) for hand in odd[0]} == {(8, 9, 9, 9)}
    between = methods_of(dealt, 200, 4, "between")
    assert all(len(set(hand)) == 1 for hand in between[0].tolist())
    assert np.bincount(between[0, :, 0]).tolist() == [10, 10, 10, 10]


def test_simulated_participants_have_the_rates_asked_for() -> None:
    plan = Plan(rate=0.2, effect=0.1, participants=40, images=200, methods=3)
    block = simulate(plan, 300, np.random.default_rng(0))
    for method, rate in ((0, 0.2), (1, 0.3), (2, 0.3)):
        of_study = [fooled[own == method].mean() for fooled, own in zip(block.fooled, block.method, strict=True)]
        error = np.std(of_study) / math.sqrt(300)
        assert np.mean(of_study) == pytest.approx(rate, abs=4 * error)
    # Participants' rates are spread as the deviation says: none of it, and the binomial alone is left.
    for sd in (0.0, 1.0):
        one = simulate(Plan(effect=0.0, participant_sd=sd, image_sd=0.0, images=400), 200, np.random.default_rng(1))
        shares = one.fooled.reshape(200, 40, 36).mean(axis=2)
        z = np.random.default_rng(2).normal(size=100_000)
        p = expit(intercept(0.25, sd) + sd * z)
        assert shares.var() == pytest.approx(p.var() + (p * (1 - p)).mean() / 36, rel=0.06)


def test_power_without_clustering_is_the_textbooks() -> None:
    plan = Plan(rate=0.25, effect=0.06, participants=60, images=400, participant_sd=0, image_sd=0)
    found = simulated_power(plan, studies=500, seed=1)
    n = 60 * 18
    error = math.sqrt((0.25 * 0.75 + 0.31 * 0.69) / n)
    wanted = stats.norm.sf(1.96 - 0.06 / error)
    # The variance is never taken below that of independent answers, which costs a little.
    assert found.power() == pytest.approx(wanted, abs=0.06)
    assert found.half_width == pytest.approx(1.96 * error, rel=0.08)
    assert found.interval().low < found.power() < found.interval().high


def test_without_an_effect_it_is_the_rate_of_false_alarms() -> None:
    found = simulated_power(Plan(effect=0.0), studies=400, seed=2)
    assert 0.02 < found.power() < 0.08
    assert math.isnan(found.exaggeration())


def test_a_weak_study_exaggerates_what_it_finds() -> None:
    weak, strong = (simulated_power(Plan(participants=n), studies=300, seed=3) for n in (12, 120))
    assert weak.exaggeration() > 1.5
    assert strong.exaggeration() < 1.25


def theoretical(power_of: dict[int, float] | None = None):
    """A size function whose power is known."""

    def size(participants: int) -> Power:
        share = 1 - math.exp(-participants / 100) if power_of is None else power_of[participants]
        p = np.where(np.arange(10_000) < round(10_000 * share), 0.001, 0.5)
        return Power(Plan(participants=participants), p, np.full(10_000, 0.05), 0.1, 0.1)

    return size


def test_participants_needed_are_found_within_two_percent() -> None:
    exact = 100 * math.log(5)  # 1 - exp(-n / 100) = 0.8
    found = participants_needed(theoretical(), Plan())
    assert found is not None and exact <= found.plan.participants <= 1.03 * exact
    between = participants_needed(theoretical(), Plan(methods=3, assignment="between"))
    assert between is not None and between.plan.participants % 3 == 0
    assert participants_needed(theoretical(), Plan(), most=100) is None


def test_more_participants_do_not_help_where_images_are_few() -> None:
    sizes = Sizes(Plan(rate=0.25, effect=0.03, images=40, shared=0.0, tests=20), studies=100)
    assert participants_needed(sizes, sizes.plan, most=160) is None
    assert set(sizes.found) == {10, 20, 40, 80, 160}


def test_a_plan_comes_from_a_study(tmp_path: Path) -> None:
    design = make_design(participants=24, trials=30, sentinels=3, images=50, assignment="between")
    (tmp_path / "design.json").write_text(design.model_dump_json())
    plan, sentinels = plan_of(tmp_path, {}, rate=0.3)
    assert (plan.participants, plan.tests, sentinels, plan.images, plan.methods) == (24, 27, 3, 50, 3)
    assert plan.assignment == "between" and plan.rate == 0.3
    plan, sentinels = plan_of(tmp_path, {"trials": 40, "participants": 60})
    assert (plan.participants, plan.tests, sentinels) == (60, 36, 4)


@pytest.mark.parametrize(
    ("given", "truth", "message"),
    [
        ({"trials": 300}, {}, "300 trials need 300 images"),
        ({"sentinels": 1.0}, {}, "leave none"),
        ({}, {"rate": 0.9, "effect": 0.2}, "are not possible"),
        ({"trials": 3, "methods": 5}, {}, "are fewer than 5 methods"),
        ({"participants": 3, "assignment": "between"}, {}, "too few"),
    ],
)
def test_plans_that_cannot_be_are_refused(given: dict, truth: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(None, given, **truth)


def test_the_command_prints_every_assumption_and_the_response(colorbench: RunCommand) -> None:
    flags = "--rate 0.3 --effect 0.15 --participants 30 --trials 20 --images 80 --methods 3 --participant-sd 0.35"
    more = "--image-sd 0.7 --shared 0.4 --studies 100 --json"
    done = colorbench("study", "power", *flags.split(), *more.split())
    assert done.returncode == 0, done.stderr
    message = " ".join(done.stderr.split())
    for part in (
        "30 participants, 20 trials each (2 sentinels; 18 test trials, 6 of each method), 80 images, 3 methods",
        "fooling rates 30 % and 45 %",
        "participants 0.35, images 0.7 (40 % of the variance is common",
        "the strictest of 3 pairs by Holm at 0.017",
        "for 80 % power: about",
    ):
        assert part in message, done.stderr
    report = json.loads(done.stdout)
    assert report["plan"]["image_sd"] == 0.7 and report["response"]["participants"] == 30
    assert 0.5 < report["response"]["power"]["alone"] <= 1
    assert report["needed"]["alone"] <= report["needed"]["strictest"]
