"""Which record is meant where a folder holds several."""

from __future__ import annotations

from pathlib import Path

import pytest

from colorbench.errors import UserError
from colorbench.evaluation import RunConfig, run
from colorbench.results import read_record
from colorbench.verification.record_selection import by_model, choose_common, choose_record, find_results
from tests.conftest import RunCommand
from tests.support.engine import write_images


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gray and half-chroma on two datasets, the second later; half-chroma alone on a third, last, under a preset."""
    folder = tmp_path_factory.mktemp("runs")
    small = {"auc": {"preprocessing": "squash16"}}
    for name, models, protocol in (
        ("early", ["zoo/gray", "zoo/half-chroma"], "auc"),
        ("late", ["zoo/gray", "zoo/half-chroma"], "auc"),
        ("alone", ["zoo/half-chroma"], "auc@exact"),
    ):
        data = write_images(folder / name, {"early": 3, "late": 4, "alone": 5}[name])
        data = type(data)(name, data.samples)
        run(
            RunConfig(
                models=models, protocols=[protocol], data=data, parameters=small, output=folder / "runs",
                baselines=False, save="none", workers=0, threads=1,
            )
        )  # fmt: skip
    return folder / "runs"


def names(folders: list[Path]) -> list[str]:
    return [read_record(folder).dataset.name for folder in folders]


def test_the_newest_that_both_have_is_compared(runs: Path) -> None:
    pair = [runs / "zoo/half-chroma", runs / "zoo/gray"]
    assert names(choose_common(pair)) == ["late", "late"]
    assert names(choose_common(pair, "auc")) == ["late", "late"]
    # One that is named decides for the other.
    (early,) = [path for path in (runs / "zoo/gray/auc").iterdir() if path.name.startswith("early")]
    assert names(choose_common([pair[0], early])) == ["early", "early"]


def test_the_newest_is_verified_or_that_of_the_dataset(runs: Path) -> None:
    assert names([choose_record(runs / "zoo/half-chroma")]) == ["alone"]
    assert names([choose_record(runs / "zoo/half-chroma", "auc", "early")]) == ["early"]
    assert names([choose_record(runs / "zoo/half-chroma", "auc@exact")]) == ["alone"]


def test_models_by_name(runs: Path, tmp_path: Path) -> None:
    assert find_results("zoo/gray", runs) == runs / "zoo/gray"
    assert find_results(str(runs / "zoo/gray"), tmp_path) == runs / "zoo/gray"
    assert find_results("./nothing", runs) == Path("nothing")
    for tag in ("small", "wide"):
        with pytest.raises(UserError, match="no results of zoo/l2 .*run it first: colorbench run -m zoo/l2"):
            find_results("zoo/l2", tmp_path)
        with pytest.raises(UserError, match=r"no results of zoo/graay .*Did you mean zoo/gray\?"):
            find_results("zoo/graay", tmp_path)
        (tmp_path / "zoo" / f"net.{tag}").mkdir(parents=True)
        if tag == "small":
            assert find_results("zoo/net", tmp_path).name == "net.small"
    with pytest.raises(UserError, match="several tags .*Name zoo/net.small or zoo/net.wide"):
        find_results("zoo/net", tmp_path)


def test_a_path_that_is_missing_is_no_model(tmp_path: Path) -> None:
    assert find_results("results/zoo/cic", tmp_path) == Path("results/zoo/cic")


def test_verify_takes_the_name_of_a_model(runs: Path, colorbench: RunCommand) -> None:
    done = colorbench("verify", "zoo/gray", "--results", runs)
    assert done.returncode == 0 and f"all checks passed (1 skipped): {runs / 'zoo/gray'}" in done.stdout, done.stderr
    assert colorbench("verify", "zoo/gry", "--results", runs).stderr.endswith(". Did you mean zoo/gray?\n")


def test_several_models_are_no_choice(runs: Path) -> None:
    with pytest.raises(UserError, match=r"5 results found here.*Name one, such as"):
        choose_record(runs)
    with pytest.raises(UserError, match="results found here"):
        choose_common([runs, runs / "zoo/gray"])


def test_a_folder_above_several_models_stands_for_them(tmp_path: Path, colorbench: RunCommand) -> None:
    runs, data = tmp_path / "runs", write_images(tmp_path / "images", 3)
    for protocols in (["auc"], ["auc", "fidelity"]):
        small = {name: {"preprocessing": "squash16"} for name in protocols}
        models = ["zoo/gray", "zoo/constant", "zoo/mean-color", "zoo/half-chroma"]
        config = RunConfig(
            models=models, protocols=protocols, data=data, parameters=small, output=runs,
            baselines=False, save="none", workers=0, threads=1,
        )  # fmt: skip
        run(config)
        models = [runs / "zoo" / name for name in ("constant", "gray", "mean-color")]  # and not the reference
        assert by_model([runs], "auc") == models
        assert by_model([models[1], runs], "auc") == [models[1], models[0], models[2]]
        assert by_model(models[:2], "auc") == models[:2]
        done = colorbench("compare", runs, "--results", runs, "--protocol", "auc")
        assert done.returncode == 0, done.stderr
        assert all(f"zoo/{model.name}" in done.stdout for model in models) and "half-chroma" not in done.stdout
    with pytest.raises(UserError, match="4 models and 2 protocols found here .*Choose by --protocol auc or fidelity"):
        by_model([runs])
    assert by_model([runs / "zoo/gray"]) == [runs / "zoo/gray"], "several protocols of one model"
    done = colorbench("compare", runs / "zoo/gray", "-p", "auc")
    assert (done.returncode, done.stderr.count("\n")) == (2, 2) and "at least two records" in done.stderr


@pytest.mark.parametrize(
    ("position", "protocol", "message"),
    [
        ("nowhere", None, "no such folder"),
        ("zoo/graay", None, r"no such folder .*Did you mean .*zoo/gray\?"),
        ("zoo/half", None, r"no such folder .*Give a folder that `colorbench run` wrote"),
        ("zoo", "fidelity", "no record of protocol fidelity found .*It has records of auc"),
        ("zoo/gray", "auc@exact", "no record of protocol auc@exact found"),
        ("zoo/gray", "auc@other", "protocol auc has no preset 'other'. Known: auc@cic2016, auc@exact"),
    ],
)
def test_what_is_not_there(runs: Path, position: str, protocol: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_record(runs / position, protocol)


def test_nothing_in_common_is_stated_by_the_comparison(runs: Path, colorbench: RunCommand) -> None:
    (alone,) = [path for path in (runs / "zoo/half-chroma/auc").iterdir() if path.name.startswith("alone")]
    done = colorbench("compare", alone, runs / "zoo/gray")
    assert done.returncode == 2
    assert "cannot be compared" in done.stderr and done.stderr.count("\n") == 2  # what was compared, and why not


def test_a_broken_neighbor_is_passed_over(runs: Path) -> None:
    broken = runs / "zoo/gray/auc/broken-0000"
    broken.mkdir()
    (broken / "record.json").write_text("{}")
    assert names(choose_common([runs / "zoo/half-chroma", runs / "zoo/gray"])) == ["late", "late"]
    assert choose_record(broken) == broken  # verify says what is wrong with it
    (broken / "record.json").unlink()
