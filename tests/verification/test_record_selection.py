"""Which record is meant where a folder holds several."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from colorbench.errors import UserError
from colorbench.evaluation import RunConfig, run
from colorbench.results import read_record
from colorbench.verification.record_selection import Place, by_model, choose_common, choose_record, find_results
from tests.conftest import RunCommand
from tests.support.engine import write_images
from tests.support.records import edit_record


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
    pair = [Place(runs / "zoo/half-chroma"), Place(runs / "zoo/gray")]
    assert names(choose_common(pair)) == ["late", "late"]
    assert names(choose_common(pair, "auc")) == ["late", "late"]
    # One that is named decides for the other.
    (early,) = [path for path in (runs / "zoo/gray/auc").iterdir() if path.name.startswith("early")]
    assert names(choose_common([pair[0], Place(early)])) == ["early", "early"]


def test_the_newest_is_verified_or_that_of_the_dataset(runs: Path) -> None:
    assert names([choose_record(Place(runs / "zoo/half-chroma"))]) == ["alone"]
    assert names([choose_record(Place(runs / "zoo/half-chroma"), "auc", "early")]) == ["early"]
    assert names([choose_record(Place(runs / "zoo/half-chroma"), "auc@exact")]) == ["alone"]


def test_models_by_name(runs: Path, tmp_path: Path) -> None:
    assert find_results("zoo/gray", runs) == Place(runs / "zoo/gray")
    assert find_results(str(runs / "zoo/gray"), tmp_path) == Place(runs / "zoo/gray")
    assert find_results("./nothing", runs) == Place(Path("nothing"))
    for tag in ("small", "wide"):
        with pytest.raises(UserError, match="no results of zoo/l2 .*run it first: colorbench run -m zoo/l2"):
            find_results("zoo/l2", tmp_path)
        with pytest.raises(UserError, match=r"no results of zoo/graay .*Did you mean zoo/gray\?"):
            find_results("zoo/graay", tmp_path)
        (tmp_path / "zoo" / f"net.{tag}").mkdir(parents=True)
        if tag == "small":
            assert find_results("zoo/net", tmp_path).path.name == "net.small"
    with pytest.raises(UserError, match="several tags .*Name zoo/net.small or zoo/net.wide"):
        find_results("zoo/net", tmp_path)


def test_a_path_that_is_missing_is_no_model(tmp_path: Path) -> None:
    assert find_results("results/zoo/cic", tmp_path) == Place(Path("results/zoo/cic"))


def test_verify_takes_the_name_of_a_model(runs: Path, colorbench: RunCommand) -> None:
    done = colorbench("verify", "zoo/gray", "--results", runs)
    assert done.returncode == 0 and f" skipped): {runs / 'zoo/gray'}" in done.stdout, done.stderr
    assert colorbench("verify", "zoo/gry", "--results", runs).stderr.endswith(". Did you mean zoo/gray?\n")


def test_several_models_are_no_choice(runs: Path) -> None:
    with pytest.raises(
        UserError, match=r"5 results found here.*Name one: .*\(zoo/half-chroma on alone, 2.*; and 1 more"
    ):
        choose_record(Place(runs))
    with pytest.raises(UserError, match="results found here"):
        choose_common([Place(runs), Place(runs / "zoo/gray")])


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
        each = [Place(model, f"zoo/{model.name}") for model in models]
        assert by_model([Place(runs)], "auc") == each
        assert by_model([Place(models[1]), Place(runs)], "auc") == [each[1], each[0], each[2]]
        assert by_model([Place(model) for model in models[:2]], "auc") == each[:2]
        done = colorbench("compare", runs, "--results", runs, "--protocol", "auc")
        assert done.returncode == 0, done.stderr
        assert all(f"zoo/{model.name}" in done.stdout for model in models) and "half-chroma" not in done.stdout
    with pytest.raises(UserError, match="4 models and 2 protocols found here .*Choose by --protocol auc or fidelity"):
        by_model([Place(runs)])
    assert by_model([Place(runs / "zoo/gray")]) == [Place(runs / "zoo/gray", "zoo/gray")], (
        "several protocols of one model"
    )
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
        choose_record(Place(runs / position), protocol)


def test_nothing_in_common_is_stated_by_the_comparison(runs: Path, colorbench: RunCommand) -> None:
    (alone,) = [path for path in (runs / "zoo/half-chroma/auc").iterdir() if path.name.startswith("alone")]
    done = colorbench("compare", alone, runs / "zoo/gray")
    assert done.returncode == 2
    assert "cannot be compared" in done.stderr and done.stderr.count("\n") == 2  # what was compared, and why not


def test_a_broken_neighbor_is_passed_over(runs: Path) -> None:
    broken = runs / "zoo/gray/auc/broken-0000"
    broken.mkdir()
    (broken / "record.json").write_text("{}")
    assert names(choose_common([Place(runs / "zoo/half-chroma"), Place(runs / "zoo/gray")])) == ["late", "late"]
    assert choose_record(Place(broken)) == broken  # verify says what is wrong with it
    (broken / "record.json").unlink()


MODEL = """
import torch
from colorbench.models.model_card import ModelCard
class Net:
    card = ModelCard(title='net')
    def colorize(self, lightness):
        return torch.full((len(lightness), 2, *lightness.shape[-2:]), {ab}.0)
"""


@pytest.fixture(scope="module")
def same_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of two kinds with the same last part of their paths, evaluated from a folder beside them; and gray."""
    folder = tmp_path_factory.mktemp("same")
    data = write_images(folder / "images", 3)
    for number, name in enumerate(("ct2", "ddc")):
        for sample in write_images(folder / name / "results", 3).samples:
            with Image.open(sample.path) as image:
                image.convert("RGB").save(sample.path, quality=95 - 20 * number)  # other files, so another key
        (folder / name / "net.py").write_text(MODEL.format(ab=5 + number))
    here = folder / "here"
    here.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for models in (["images:../ct2/results", "images:../ddc/results"], ["../ct2/net.py:Net", "../ddc/net.py:Net"]):
            run(
                RunConfig(
                    models=[*models, "zoo/gray"], protocols=["auc"], data=data, baselines=False, save="none",
                    parameters={"auc": {"preprocessing": "squash16"}}, output=here / "runs", workers=0, threads=1,
                )
            )  # fmt: skip
    return here


@pytest.mark.parametrize(("form", "folder"), [("images:{}/results", "images-results"), ("{}/net.py:Net", "net.py-Net")])
def test_models_with_one_folder_are_told_apart_by_their_recorded_names(
    same_folder: Path, form: str, folder: str, monkeypatch: pytest.MonkeyPatch, colorbench: RunCommand
) -> None:
    runs = same_folder / "runs"
    stored = [form.format(name) for name in ("ct2", "ddc")]

    def read(name: str) -> str:
        return read_record(choose_record(find_results(name, runs))).model.name

    # As given to the run; from other folders; as records have it; absolute.
    for here, prefix in (
        ("here", "../"),
        (".", ""),
        ("images", "../"),
        ("here", ""),
        ("here", f"{same_folder.parent}/"),
    ):
        monkeypatch.chdir(same_folder.parent / here)
        assert [read(form.format(f"{prefix}{name}")) for name in ("ct2", "ddc")] == stored, (here, prefix)
    with pytest.raises(UserError, match=f"no results of .*The results there are of {stored[0]}, {stored[1]}"):
        find_results(form.format("../other"), runs)
    monkeypatch.chdir(same_folder)
    given = [form.format(f"../{name}") for name in ("ct2", "ddc")]
    done = colorbench("compare", *given, "-p", "auc", cwd=same_folder)
    assert done.returncode == 0 and done.stderr.startswith("compared: "), done.stderr
    assert colorbench("verify", given[0], "-p", "auc", cwd=same_folder).returncode == 0
    assert by_model([Place(runs / folder)]) == [Place(runs / folder, name) for name in stored]
    assert {place.model for place in by_model([Place(runs)], "auc")} >= {*stored, "zoo/gray"}
    with pytest.raises(
        UserError, match=rf"2 results found here.*Name one: .*\({stored[1]} on .*, 20\d\d-.*{stored[0]}"
    ):
        choose_record(Place(runs / folder))


@pytest.mark.parametrize("name", ["images:results", "images:../other/results[manifest=IN]"])
def test_results_of_another_folder_are_not_taken(same_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(same_folder)
    with pytest.raises(
        UserError, match="no results of images:.*The results there are of images:ct2/results, images:ddc"
    ):
        find_results(name, same_folder / "runs")


def test_a_name_that_may_be_any_of_two_models(same_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(same_folder / "runs/images-results", tmp_path / "images-results")
    records = sorted((tmp_path / "images-results/auc").iterdir())
    for folder, name in zip(records, ("images:a/ct2/results", "images:results"), strict=True):
        edit_record(folder, lambda record, name=name: record["model"].update(name=name))
    with pytest.raises(UserError, match="any of several models .*Name images:a/ct2/results or images:results"):
        find_results("images:/home/a/ct2/results", tmp_path)
