"""Exit codes of similar mistakes are the same in every command: 2 for wrong usage or input, 1 for a run that failed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import colorbench
from colorbench.cli import app
from colorbench.errors import InputError, ModelFailed, RunError, UserError
from tests.support.engine import write_images

MODELS = """
from colorbench import ModelCard

class Fails:
    card = ModelCard(title="fails")

    def colorize(self, lightness):
        raise ValueError("no")

class Shape(Fails):
    def colorize(self, lightness):
        return lightness
"""
RUN = "run -p auc --no-baselines --param preprocessing=squash16 -o out -d {data} -m {model}"
KINDS = {
    "a name that is unknown": (2, ["run -m zoo/nope -p auc -d images", "run -m zoo/gray -p nope -d images"]),
    "a name that is unknown, of other commands": (
        2,
        [
            *("colorize images -m zoo/nope -o out", "train zoo/nope -d images -o out", "export zoo/nope -o out/x.onnx"),
            *("show nope", "check nope", "compare nope nope2", "verify nope", "score images images -p nope"),
        ],
    ),
    "a path that is missing": (
        2,
        [
            *(RUN.format(data="none", model="zoo/gray"), RUN.format(data="images", model="images:none")),
            *("score none images", "score images none", "colorize none -m zoo/gray -o out", "inputs -d none -o out"),
            *("cache none -d none -o out", "prior -d none -o out/p.npy", "leaderboard build none -o out/b.html"),
            *("study analyze none", "view none --no-browser", "run --config none.yaml"),
        ],
    ),
    "a folder without what is needed": (
        2,
        [
            *(RUN.format(data="empty", model="zoo/gray"), RUN.format(data="images", model="images:empty")),
            *("score empty images", "colorize empty -m zoo/gray -o out", "inputs -d empty -o out", "verify empty"),
            *("compare empty empty", "show empty", "leaderboard build empty -o out/b.html", "study analyze empty"),
        ],
    ),
    "images of which none can be read": (
        2,
        [
            *(RUN.format(data="broken", model="zoo/gray"), RUN.format(data="images", model="images:broken")),
            *("score broken images", "score images broken", "colorize broken -m zoo/gray -o out"),
            *("inputs -d broken -o out", "cache -d broken -o out", "prior -d broken -o out/p.npy"),
        ],
    ),
    "predictions that are missing": (
        2,
        [
            *(RUN.format(data="images", model="images:fewer"), "score fewer images"),
            RUN.format(data="images", model="images:fewer,zoo/gray"),
        ],
    ),
    "images of which one cannot be read: the rest of the output is there": (
        1,
        ["colorize one-broken -m zoo/gray -o out", "inputs -d one-broken -o out"],
    ),
    "a model that fails": (
        1,
        [
            *(RUN.format(data="images", model=f"models.py:{name}") for name in ("Fails", "Shape")),
            RUN.format(data="images", model="models.py:Fails,zoo/gray"),
            "colorize images -m models.py:Fails -o out",
        ],
    ),
    "a check that fails": (1, ["check empty", "check broken"]),
}
"""Kind of mistake -> exit code, and commands with it."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_images(folder / "images", 2, 16)
    for name, paths in (("broken", ("a/000.jpg", "b/001.jpg")), ("one-broken", ("b/001.jpg",))):
        shutil.copytree(folder / "images", folder / name)
        for path in paths:
            (folder / name / path).write_bytes(b"no image")
    shutil.copytree(folder / "images", folder / "fewer")
    (folder / "fewer/b/001.jpg").unlink()
    (folder / "empty").mkdir()
    (folder / "models.py").write_text(MODELS)
    return folder


@pytest.mark.parametrize(
    ("code", "command"), [(code, command) for code, commands in KINDS.values() for command in commands]
)
def test_similar_mistakes_have_one_exit_code(
    code: int, command: str, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    done = CliRunner().invoke(app, command.replace("out", str(tmp_path / "out")).split())
    assert done.exit_code == code, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert command.startswith("check") and code == 1 or len(errors) == 1


@pytest.mark.parametrize("kind", [RunError, InputError])
def test_the_model_that_failed_decides(kind: type[RunError]) -> None:
    assert ModelFailed("a", kind("no")).exit_code == kind.exit_code


def test_python_has_the_same_kinds(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)
    with pytest.raises(RunError) as failed:
        colorbench.score("fewer", "images")
    assert failed.value.exit_code == 2
    with pytest.raises(UserError) as unknown:
        colorbench.score("none", "images")
    assert unknown.value.exit_code == 2
