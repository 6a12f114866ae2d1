"""Two records side by side: what may be compared, what comes out, and how often unknown name something."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from colorbench.errors import UserError
from colorbench.results.record_comparison import compare
from colorbench.results.record_loading import LoadedRun, find_record, load_run
from colorbench.results.record_pairing import column_key, differing, pair_runs
from colorbench.stats import holm, paired_interval, sign_flip_p
from tests.support.engine import read_folder, write_images
from tests.support.records import Ended, edit_record, edit_rows, ended, measure, nan_at

COUNT = 40
MODELS = ("zoo/gray", "zoo/constant", "zoo/half-chroma", "zoo/cic.small")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of real records, by model."""
    root = tmp_path_factory.mktemp("compare")
    return measure(root / "runs", write_images(root / "images", COUNT), MODELS)


@pytest.fixture(scope="module")
def stored(measured: dict[str, Path]) -> dict[str, LoadedRun]:
    return {name.rpartition("/")[2]: load_run(folder) for name, folder in measured.items()}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run ``colorbench ...`` in this process."""
    return lambda *arguments: ended(capsys, arguments)


def copied(run: LoadedRun, folder: Path) -> Path:
    shutil.copytree(run.folder, folder)
    return folder


def test_a_comparison_says_what_the_statistics_say(stored) -> None:
    found = compare([stored["half-chroma"], stored["gray"]], headline="auc_rebalanced_stable")
    assert [test.metric for test in found.tests] == ["auc_rebalanced_stable", "auc_raw"]
    for test in found.tests:
        a, b = (stored[name].statistics(test.metric) for name in ("half-chroma", "gray"))
        expected = paired_interval(a, b, "ratio")
        assert test.difference == expected.value
        assert (test.ci_low, test.ci_high) == (expected.interval.low, expected.interval.high)
        assert test.p == sign_flip_p(a, b)
        assert test.verdict == "a"
        assert test.n == COUNT == test.a_better + test.b_better + test.equal
        assert test.a_better == (stored["half-chroma"].scores(test.metric) > stored["gray"].scores(test.metric)).sum()
    assert [test.p_holm for test in found.tests] == holm([test.p for test in found.tests])
    assert found.ranks == []


def test_three_models_are_compared_pair_by_pair_and_ranked(stored) -> None:
    found = compare([stored["gray"], stored["half-chroma"], stored["constant"]], metrics=["auc_raw"])
    assert [(test.a, test.b) for test in found.tests] == [
        ("zoo/gray", "zoo/half-chroma"),
        ("zoo/gray", "zoo/constant"),
        ("zoo/half-chroma", "zoo/constant"),
    ]
    assert [test.p_holm for test in found.tests] == holm([test.p for test in found.tests])
    ranks = {one.label: (one.first, one.last) for one in found.ranks}
    assert ranks["zoo/half-chroma"] == (1, 1)


def test_images_are_paired_by_content_whatever_they_are_called(measured, stored, tmp_path) -> None:
    other = tmp_path / "renamed"
    write_images(other, COUNT)
    for position, path in enumerate(sorted(other.rglob("*.jpg"), reverse=True)):
        path.rename(other / f"new{position:03d}.jpg")
    renamed = load_run(measure(tmp_path / "runs", read_folder(other), ["zoo/gray"])["zoo/gray"])
    assert renamed.sha256s != stored["gray"].sha256s
    again = compare([stored["half-chroma"], renamed], metrics=["auc_raw"]).tests[0]
    expected = compare([stored["half-chroma"], stored["gray"]], metrics=["auc_raw"]).tests[0]
    assert (again.difference, again.ci_low, again.p) == (expected.difference, expected.ci_low, expected.p)
    assert [one.id for one in again.images] == [one.id for one in expected.images]


def test_the_images_named_are_those_that_move_the_difference_most(stored) -> None:
    a, b = stored["cic.small"], stored["constant"]
    found = compare([a, b], metrics=["auc_rebalanced_stable"]).tests[0]
    moved = (a.statistics(found.metric) - b.statistics(found.metric))[:, 0]
    ids = a.rows["id"].to_numpy()
    ahead, behind = min(3, (moved > 0).sum()), min(3, (moved < 0).sum())
    order = np.argsort(moved)
    assert [one.id for one in found.images] == [*ids[order[::-1][:ahead]], *ids[order[:behind]]]
    first = found.images[0]
    position = list(ids).index(first.id)
    assert (first.a, first.b) == (a.scores(found.metric)[position], b.scores(found.metric)[position])
    assert found.images[0].weight == pytest.approx(
        100 * a.statistics(found.metric)[position, 1] / a.statistics(found.metric)[:, 1].sum()
    )


def test_a_model_does_not_differ_from_its_own_copy(stored, tmp_path) -> None:
    folder = copied(stored["gray"], tmp_path / "copy")
    edit_record(folder, lambda record: record["notes"].append("a copy"))
    found = compare([stored["gray"], load_run(folder)])
    assert len({side.label for side in found.sides}) == 1 or all("(" in side.label for side in found.sides)
    for test in found.tests:
        assert (test.difference, test.p, test.verdict) == (0, 1, "undecided")
        assert (test.a_better, test.b_better, test.equal) == (0, 0, COUNT)
        assert test.images_needed is None
    with pytest.raises(UserError, match="given twice"):
        compare([stored["gray"], stored["gray"]])


def test_lower_is_better_turns_the_verdict_not_the_difference(tmp_path) -> None:
    data = write_images(tmp_path / "images", 32)
    folders = measure(tmp_path / "runs", data, ["zoo/gray", "zoo/half-chroma"], protocol="fidelity")
    runs = [load_run(folder) for folder in folders.values()]
    tests = {test.metric: test for test in compare(runs).tests}
    assert tests["ciede2000"].difference > 0
    assert tests["ciede2000"].verdict == "b"
    assert tests["ciede2000"].b_better > 16
    assert "mean_chroma" not in tests  # neither direction is better
    asked = compare(runs, metrics=["mean_chroma"]).tests[0]
    assert (asked.higher_is_better, asked.verdict) == (None, "b")
    of_means = tests["delta_cf_hs_of_means"]
    a, b = (run.statistics("delta_cf_hs_of_means") for run in runs)
    assert of_means.p == sign_flip_p(a, b, "abs_difference")
    assert of_means.verdict == "b"


def test_what_few_images_decide_is_compared_only_on_demand(stored) -> None:
    pair = [stored["half-chroma"], stored["gray"]]
    assert "auc_rebalanced" not in {test.metric for test in compare(pair).tests}
    with pytest.raises(UserError, match="very small effective sample size.*--allow-unstable"):
        compare(pair, metrics=["auc_rebalanced"])
    found = compare(pair, allow_unstable=True)
    assert found.tests[-1].metric == "auc_rebalanced"
    assert "unstable" in found.tests[-1].warning
    with pytest.raises(UserError, match="no metric 'fid' in common"):
        compare(pair, metrics=["fid"])


def test_fewer_than_30_images_are_not_tested(tmp_path) -> None:
    data = write_images(tmp_path / "images", 12)
    folders = measure(tmp_path / "runs", data, ["zoo/gray", "zoo/half-chroma", "zoo/constant"])
    found = compare([load_run(folder) for folder in folders.values()])
    for test in found.tests:
        assert test.verdict == "untested"
        assert test.untested == "12 images: too few for a test (minimum 30)"
        assert (test.p, test.p_holm, test.ci_low, test.effect_size, test.images_needed) == (None,) * 5
        assert test.difference is not None
        assert test.a_better + test.b_better + test.equal == 12
    assert found.ranks == []


def test_a_prior_of_the_set_carries_no_test(tmp_path) -> None:
    data = write_images(tmp_path / "images", 32)
    folders = measure(tmp_path / "runs", data, ["zoo/gray", "zoo/half-chroma"], parameters={"prior": "dataset"})
    runs = [load_run(folder) for folder in folders.values()]
    found = {test.metric: test for test in compare(runs, allow_unstable=True).tests}
    assert found["auc_raw"].p is not None
    assert "has no interval" in found["auc_rebalanced_stable"].untested


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"limit": 35}, r"other images: 40 of crops \(.*35 of crops \(.*limit 35"),
        ({"parameters": {"convention": "exact"}}, r"auc\.convention = trapezoid and exact$"),
        ({"parameters": {"preprocessing": "squash48"}}, r"auc\.preprocessing = squash32 and squash48$"),
        ({"gray_policy": "drop"}, "gray images: keep and drop"),
        ({"protocol": "fidelity"}, "protocol auc and fidelity$"),
    ],
)
def test_records_made_otherwise_are_refused_and_the_choice_is_named(stored, tmp_path, settings, reason) -> None:
    data = write_images(tmp_path / "images", COUNT)
    folder = measure(tmp_path / "runs", data, ["zoo/gray"], **settings)["zoo/gray"]
    other = load_run(folder)
    with pytest.raises(UserError, match="zoo/half-chroma and zoo/gray cannot be compared") as error:
        compare([stored["half-chroma"], other])
    assert differing(stored["half-chroma"].record, other.record)
    import re

    assert re.search(reason, error.value.what)
    assert column_key(other.record) != column_key(stored["gray"].record)


def test_another_version_of_the_protocol_is_refused(stored, tmp_path) -> None:
    folder = copied(stored["gray"], tmp_path / "old")
    edit_record(folder, lambda record: record["protocol"].update(version=0, identity_sha256="0" * 64))
    with pytest.raises(UserError, match="version 1 and 0 of protocol auc"):
        compare([stored["half-chroma"], load_run(folder)])


def test_rows_of_other_images_under_an_equal_fingerprint_are_refused(stored, tmp_path) -> None:
    folder = copied(stored["gray"], tmp_path / "forged")
    edit_rows(folder, lambda columns: columns["sha256"].__setitem__(3, "f" * 64))
    with pytest.raises(UserError, match="belong to other images than its record"):
        pair_runs([stored["half-chroma"], load_run(folder)])


def test_denominators_that_differ_by_rounding_are_one(stored, tmp_path) -> None:
    folder = copied(stored["gray"], tmp_path / "gpu")
    edit_rows(folder, lambda columns: columns["auc_raw.s1"].__imul__(1 + 1e-9))
    found = compare([stored["half-chroma"], load_run(folder)], metrics=["auc_raw"]).tests[0]
    assert found.p is not None
    edit_rows(folder, lambda columns: columns["auc_raw.s1"].__imul__(1.01))
    found = compare([stored["half-chroma"], load_run(folder)], metrics=["auc_raw"]).tests[0]
    assert "weigh the images differently" in found.untested


def test_a_image_that_is_not_defined_for_one_counts_for_neither(stored, tmp_path) -> None:
    folder = copied(stored["gray"], tmp_path / "hole")
    edit_rows(folder, lambda columns: [nan_at(columns[name], 5) for name in ("auc_raw.s0", "auc_raw.s1", "auc_raw")])
    test = compare([stored["half-chroma"], load_run(folder)], metrics=["auc_raw"]).tests[0]
    assert test.n == COUNT - 1 == test.a_better + test.b_better + test.equal


def test_swapped_models_are_told_apart_in_1_of_20(stored) -> None:
    rng = np.random.default_rng(0)
    for metric in ("auc_raw", "auc_rebalanced_stable"):
        a, b = (stored[name].statistics(metric) for name in ("cic.small", "constant"))
        hits = 0
        for trial in range(1000):
            swap = (rng.random(COUNT) < 0.5)[:, None]
            hits += sign_flip_p(np.where(swap, b, a), np.where(swap, a, b), flips=199, seed=trial) <= 0.05
        assert 0.035 <= hits / 1000 <= 0.065


def test_find_record_takes_a_folder_with_exactly_one(measured, tmp_path) -> None:
    folder = measured["zoo/gray"]
    runs = folder.parents[3]
    assert find_record(folder) == find_record(folder / "record.json") == find_record(runs / "zoo" / "gray") == folder
    with pytest.raises(UserError, match=f"{len(MODELS)} results found here"):
        find_record(runs)
    with pytest.raises(UserError, match="no such folder"):
        find_record(tmp_path / "nothing")
    with pytest.raises(UserError, match="no record of protocol fidelity found"):
        find_record(runs, "fidelity")


def test_the_command_prints_and_gives_json(command, measured, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pair = measured["zoo/half-chroma"], measured["zoo/gray"]
    shown = command("compare", *pair)
    assert shown.returncode == 0, shown.stderr
    assert "A = zoo/half-chroma   B = zoo/gray" in shown.stdout
    assert "A is better: auc_rebalanced_stable, auc_raw" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "images needed: " in shown.stdout and "MDE" not in shown.stdout, "only signs that are shown are explained"
    prediction = command("compare", *pair, "--json", "--metric", "auc_raw")
    found = json.loads(prediction.stdout)
    assert [test["metric"] for test in found["tests"]] == ["auc_raw"]
    assert found == json.loads(
        compare([load_run(find_record(path)) for path in pair], metrics=["auc_raw"]).model_dump_json()
    )
    refused = command("compare", *pair, "--metric", "auc_rebalanced")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--allow-unstable" in refused.stderr
