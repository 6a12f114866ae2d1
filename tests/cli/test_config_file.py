"""``run --config FILE``, and the file beside a result that repeats its run."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from colorbench.cli import app, config_file
from colorbench.cli.shared_options import key_values
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
    # The file beside a reused record repeats the run that made it, which was another.
    one = call(*RUN, "-m", "zoo/gray", "-p", "auc", "-d", "crops", "-o", "c")[1]
    both = call(*RUN, "-m", "zoo/gray,zoo/constant", "-p", "auc", "-d", "crops", "-o", "c")[1]
    assert "run --config c/zoo/gray/" in one and "repeat:" in both
    assert "c/zoo/gray/" not in both.split("repeat:")[1].splitlines()[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: zoo/gray", "unknown option 'models'"),
        ("config: run.yaml", "unknown option 'config'"),
        ("model: zoo/gray\nlimit: [1, 2]", "limit cannot be a list"),
        ("model: zoo/gray\nlimit:", "limit cannot be empty"),
        ("model: [[zoo/gray]]", "model cannot be a list"),
        ("model: {zoo: gray}", "model cannot be a mapping"),
        ("model: zoo/gray\nlimit: {a: 1}", "limit cannot be a mapping"),
        ("model: zoo/gray\nbaselines: 3", "baselines cannot be '3'"),
        ("param: {auc: {step: {a: 1}}}", "param auc.step cannot be a mapping"),
        ("param: {auc: {step: }}", "param auc.step cannot be empty"),
        ("param: &p {auc: *p}", "param auc.auc cannot be a mapping"),
        ("limit: 1\nseed: 2\nlimit: 3", "line 3: 'limit' is given twice"),
        ("batch-size: 1\nbatch_size: 2", "batch-size is given twice"),
        ("limit: true", "limit cannot be 'true'"),
        ("limit: 2020-01-01", "limit cannot be '2020-01-01'"),
        ("limit: 1:30", "limit cannot be '1:30'"),
        ("seed: 1e3", "seed cannot be '1e3'"),
        ("seed: " + "9" * 9999, "999...'"),
        ("temperature: -1", "temperature cannot be '-1'"),
        ("model: zoo/gray\nprotocol: auc\nsave: yes", "--save cannot be 'yes'"),
        ("output: !!binary aGVsbG8=", "output cannot be of the type bytes"),
        ("output: !!timestamp 2020-01-01", "output cannot be of the type date"),
        ('output: "\\ud800"', "output cannot be '\\ud800'"),
        ("model: a\n---\nlimit: 1", "line 2: expected a single document"),
        ("limit: &a [x, x, x, x, x, x, x, x]\nseed: &b [*a, *a, *a, *a, *a, *a, *a, *a]", "limit cannot be a list"),
        ("- zoo/gray", "holds no options"),
        ("", "holds no options"),
        ("model: [", "not YAML"),
        ("model: !!python/object/apply:os.getcwd []", "not YAML"),
        ("\x00", "not YAML"),
        ("&a [*a, *a]", "holds no options"),
        ("model: zoo/gray\nprotocol: auc\nlimit: many", "limit cannot be 'many'"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, told: str, folder: Path) -> None:
    Path("bad.yaml").write_text(text, encoding="utf-8")
    code, printed = call("run", "--config", "bad.yaml")
    assert code == 2 and told in printed and len(printed.strip().splitlines()) == 1 and len(printed) < 700


@pytest.mark.parametrize(
    "content",
    [
        b"model: zoo/gray\r\nprotocol: auc\r\nlimit: 1\r\nbaselines: no\r\noutput: 2020-01-01\r\n",
        b"\xef\xbb\xbfmodel: zoo/gray\nprotocol: auc\nlimit: 1\nbaselines: off\noutput: 2020-01-01\n",
        "model: zoo/gray\nprotocol: auc\nlimit: 1\nbaselines: False\noutput: 2020-01-01\n".encode("utf-16"),
        b"<<: {model: zoo/gray, limit: 1}\nprotocol: auc\nbaselines: 'false'\noutput: '2020-01-01'\n",
        b"model: &m zoo/gray\nprotocol: [auc]\nlimit: 01\nparam: {}\nbaselines: false\noutput: 2020-01-01\n",
    ],
)
def test_values_are_what_is_written(content: bytes, folder: Path) -> None:
    Path("mine.yaml").write_bytes(content)
    code, told = call("run", "--config", "mine.yaml", "-d", "crops", "--save", "none", "-j", "0")
    assert code == 0, told
    (record,) = Path("2020-01-01").rglob("record.json")
    assert "zoo/gray/auc" in record.as_posix()


def test_parameters_are_those_of_the_command_line(folder: Path) -> None:
    Path("mine.yaml").write_text("param: {a.x: 1e-3, b: {y: no, z: 010, w: 2}}\n", encoding="utf-8")
    command = typer.main.get_command(app).get_command(None, "run")  # type: ignore[attr-defined]
    values = config_file._options_of(Path("mine.yaml"), typer.Context(command))
    assert key_values(values["param"], "--param") == {"a.x": 1e-3, "b.y": "no", "b.z": "010", "b.w": 2}


def test_a_missing_file_is_one_line(folder: Path) -> None:
    code, printed = call("run", "--config", "none.yaml")
    assert code == 2 and "no such file of options" in printed
