"""``run --config FILE``, and the file beside a result that repeats its run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from colorbench.cli import app
from tests.support.engine import write_images

RUN = ["run", "--no-baselines", "--save", "none", "-j", "0"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path / "crops", 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_a_file_of_options_and_the_command_line_give_the_same_record(folder: Path) -> None:
    text = (
        "model: [zoo/gray, zoo/constant]\nprotocol: auc\ndata: crops\nlimit: 2\nbaselines: false\nsave: none\n"
        "workers: 0\nparam:\n  auc: {preprocessing: squash32}\nseed: 3\noutput: a\n"
    )
    Path("mine.yaml").write_text(text, encoding="utf-8")
    code, told = call("run", "--config", "mine.yaml")
    assert code == 0, told
    code, other = call(
        *RUN, "-m", "zoo/gray,zoo/constant", "-p", "auc", "-d", "crops", "--limit", "2", "--seed", "3",
        "--param", "auc.preprocessing=squash32", "-o", "b",
    )  # fmt: skip
    assert code == 0, other
    assert {path.relative_to("a") for path in Path("a").rglob("record.json")} == {
        path.relative_to("b") for path in Path("b").rglob("record.json")
    }
    assert "repeat: colorbench run --config a" in told


def test_the_file_beside_a_result_repeats_its_run(folder: Path) -> None:
    call(*RUN, "-m", "zoo/gray", "-p", "auc", "-d", "crops", "--param", "preprocessing=squash32", "-o", "a")
    (options,) = Path("a").rglob("run.yaml")
    code, told = call("run", "--config", str(options), "-o", "b")  # what is said on the command line wins
    assert code == 0, told
    (first,), (again,) = Path("a").rglob("record.json"), Path("b").rglob("record.json")
    assert first.relative_to("a") == again.relative_to("b")
    assert "reused" in call("run", "--config", str(options))[1]
    assert str(folder) not in options.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: zoo/gray", "unknown option 'models'"),
        ("config: run.yaml", "unknown option 'config'"),
        ("model: zoo/gray\nlimit: [1, 2]", "limit takes one value, not a list"),
        ("model: zoo/gray\nlimit:", "limit cannot be None"),
        ("model: [[zoo/gray]]", "model cannot be ['zoo/gray']"),
        ("model: zoo/gray\nbaselines: 3", "baselines cannot be 3"),
        ("param: {auc: {step: {a: 1}}}", "param cannot be {'a': 1}"),
        ("- zoo/gray", "holds no options"),
        ("", "holds no options"),
        ("model: [", "not YAML"),
        ("model: !!python/object/apply:os.getcwd []", "not YAML"),
        ("\x00", "not YAML"),
        ("&a [*a, *a]", "holds no options"),
        ("model: zoo/gray\nprotocol: auc\nlimit: many", "--limit"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, told: str, folder: Path) -> None:
    Path("bad.yaml").write_text(text, encoding="utf-8")
    code, printed = call("run", "--config", "bad.yaml")
    assert code == 2 and told in printed and "Traceback" not in printed


def test_a_missing_file_is_one_line(folder: Path) -> None:
    code, printed = call("run", "--config", "none.yaml")
    assert code == 2 and "no such file of options" in printed
