"""A study's build that fails at any point leaves nothing that the next one refuses, and nothing that is stale."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colorbench.data import open_dataset
from colorbench.errors import UserError
from protocols.human_study.build import build_study as building
from protocols.human_study.build import stimulus_files, study_files, study_predictions
from protocols.human_study.build.build_request import BuildRequest
from protocols.human_study.build.build_study import build
from protocols.human_study.server.serve import serve
from protocols.human_study.server.served_study import Options
from protocols.human_study.study_folder.design_schema import read_design
from tests.support.study import build_small

REQUEST = BuildRequest(
    models=("zoo/gray",),
    data=open_dataset("samples"),
    output=Path("none"),
    participants=2,
    trials=4,
    practice=2,
    plates=1,
    threads=1,
    workers=0,
    title="The first title",
)
POINTS = {
    "jspsych_files": building,
    "draw_slots": building,
    "_colorize": building,
    "write_stimuli": building,
    "draw_plate": stimulus_files,
    "write_texts": study_files,
    "key_table": study_files,
}
BEFORE_FILES = ("jspsych_files", "draw_slots", "_colorize")


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_failure_at_any_point_leaves_nothing_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "jspsych_files", dict)
    output = tmp_path / "study"
    for point, module in POINTS.items():
        right = getattr(module, point)

        def fails(*arguments: Any, right: Any = right, point: str = point, **named: Any) -> Any:
            if point in ("write_texts", "key_table"):
                right(*arguments, **named)  # the files are there already
            raise OSError("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(module, point, fails)
            with pytest.raises(OSError, match="the disk is gone"):
                build(replace(REQUEST, output=output))
        left = {name for name in files_of(output) if not name.startswith(".building")} if output.exists() else set()
        assert left == set(), point
        if point in BEFORE_FILES:
            assert not output.exists(), point
    design = build(replace(REQUEST, output=output, title="Another title"))
    assert "# Another title" in (output / "texts" / "consent.md").read_text()
    assert design == read_design(output) and not (output / ".building").exists()


def test_a_stopped_build_predicts_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(BaseException):
        pass

    predicted: list[str] = []
    right = study_predictions.predict_images

    def counted(model: Any, dataset: Any, **options: Any) -> Any:
        for prediction in right(model, dataset, **{**options, "batch_size": 2}):
            if stop_after is not None and len(predicted) >= stop_after:
                raise Stopped
            predicted.extend(prediction.ids)
            yield prediction

    monkeypatch.setattr(building, "jspsych_files", dict)
    monkeypatch.setattr(study_predictions, "predict_images", counted)
    request = replace(REQUEST, output=tmp_path / "study")
    stop_after: int | None = 6
    with pytest.raises(Stopped):
        build(request)
    kept = {path for path in files_of(request.output) if path.endswith(".png")}
    assert len(kept) == len(predicted) == 6 and not any("auc" in path for path in files_of(request.output))
    stop_after = None
    predicted.clear()
    with monkeypatch.context() as patch:
        patch.setattr(study_files, "key_table", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(request)
    assert len(predicted) == 3 * 6 - 6  # gray, the sentinels' model and the truth, six images each
    predicted.clear()
    with monkeypatch.context() as patch:
        patch.setattr(study_files, "key_table", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(replace(request, preprocessing="squash64"))  # what decides a prediction is part of its place
    assert len(predicted) == 3 * 6
    predicted.clear()
    build(request)
    assert predicted == []


def test_a_text_edited_after_a_kill_is_kept_and_another_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "jspsych_files", dict)
    monkeypatch.setattr(building, "clear", lambda *arguments: None)  # a kill leaves everything
    output = tmp_path / "study"
    with monkeypatch.context() as patch:
        patch.setattr(study_files, "key_table", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(replace(REQUEST, output=output))
    (output / "texts" / "debrief.md").write_text("# Our own\n")
    build(replace(REQUEST, output=output, title="Another title"))
    assert "# Another title" in (output / "texts" / "consent.md").read_text()
    assert (output / "texts" / "debrief.md").read_text() == "# Our own\n"


@pytest.mark.parametrize("name", ["stimuli/mine.png", "form/index.html", "key.csv"])
def test_files_of_somebody_else_are_not_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("candidate")
    with pytest.raises(UserError, match="this folder already contains"):
        build(replace(REQUEST, output=tmp_path))
    assert path.read_text() == "candidate" and files_of(tmp_path) == {name}


def test_placeholder_and_empty_texts_are_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = build_small(tmp_path / "study", monkeypatch)

    def start(**options: Any) -> None:
        arguments: dict[str, Any] = {"host": "no such host", "port": 0, "options": Options(), "admin_token": None}
        serve(study, **arguments, say=lambda line: None, **options)

    with pytest.raises(UserError, match="must replace") as error:
        start()
    assert str(study / "texts" / "consent.md") in str(error.value) and "--allow-placeholder-texts" in str(error.value)
    # It goes on to the address, which is none.
    with pytest.raises(UserError, match="cannot listen on no such host"):
        start(allow_placeholder_texts=True)
    (study / "texts" / "consent.md").write_text("# We are the laboratory of colors\n")
    with pytest.raises(UserError, match="cannot listen on no such host"):
        start()
    (study / "texts" / "debrief.md").write_text(" \n")
    with pytest.raises(UserError, match="debrief text of the study is empty"):
        start()
    shutil.rmtree(study)
