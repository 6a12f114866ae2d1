"""The command line as a user meets it: quick help, one clear line for every mistake, the right exit code."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from colorbench.cli import app, command_group
from colorbench.cli.shared_options import Debug, key_values
from colorbench.errors import RunError, UserError
from colorbench.registry import Plugin
from tests.support.engine import write_images
from tests.support.loaded_modules import loaded_modules
from tests.support.privileges import without_privileges

HEAVY = ("torch", "pandas", "pydantic", "numpy", "zoo", "protocols", "leaderboards", "rich", "jinja2")


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, loaded, printed = loaded_modules(["--help"], tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 0 and loaded.isdisjoint(HEAVY), printed
    # 0.15 s where it was written; the bound leaves room for a slow and busy processor.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


@pytest.mark.parametrize("name", command_group.VERBS)
def test_the_overview_says_what_each_verb_says_of_itself(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    summary = command_group.VERBS[name].summary
    assert summary in " ".join(done.output.split())
    assert summary in " ".join(CliRunner().invoke(app, ["--help"]).output.split())


@pytest.mark.parametrize("arguments", [["list"], *([name, "--help"] for name in command_group.VERBS)], ids=" ".join)
def test_a_verb_costs_torch_only_when_it_works(arguments: list[str], tmp_path: Path) -> None:
    code, loaded, printed = loaded_modules(arguments, tmp_path)
    assert not code and "torch" not in loaded, printed


def test_an_unknown_verb_suggests_the_nearest(colorbench) -> None:
    done = colorbench("colorise")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no command 'colorise'. Did you mean `colorize`?\n"


def test_help_is_a_verb_too() -> None:
    assert "Commands:" in CliRunner().invoke(app, ["help"]).stdout
    assert "colorbench score" in CliRunner().invoke(app, ["help", "score"]).stdout
    assert CliRunner().invoke(app, ["hlep"]).stderr == "error: no command 'hlep'. Did you mean `help`?\n"


@pytest.mark.parametrize(
    "verb", [[], ["run"], ["verify"], ["leaderboard"], ["leaderboard", "build"], ["study", "serve"]]
)
def test_h_is_help_everywhere(verb: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*verb, flag]) for flag in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.output == long.output
    assert short.output.startswith(" ".join(("Usage: colorbench", *verb)))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("run --modle zoo/cic", "no option --modle. Did you mean --model?"),
        ("run --no-baseline", "no option --no-baseline. Did you mean --no-baselines?"),
        ("run -x", "no option -x. `colorbench run --help` lists the options"),
        ("--verson", "no option --verson. Did you mean --version?"),
        ("leaderboard build runs --anonimous", "no option --anonimous. Did you mean --anonymous?"),
        ("leaderboard buld", "no such command 'buld'. Did you mean 'build'?"),
        ("run", "missing option '--model' / '-m'. `colorbench run --help` lists the options"),
        ("run -m zoo/cic --limit", "option '--limit' requires an argument. `colorbench run --help` lists the options"),
        (
            "run --limit ten",
            "invalid value for '--limit': it takes a whole number. `colorbench run --help` lists the options",
        ),
        (
            "run --limit 0",
            "invalid value for '--limit': it must be at least 1. `colorbench run --help` lists the options",
        ),
        (
            "run --temperature warm",
            "invalid value for '--temperature': it takes a number. `colorbench run --help` lists the options",
        ),
        ("verify", "missing argument 'RECORD'. `colorbench verify --help` lists the options"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: str, line: str) -> None:
    done = CliRunner().invoke(app, arguments.split())
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {line}\n")


def test_no_verb_shows_the_help() -> None:
    assert "Commands:" in CliRunner().invoke(app, []).output
    assert "serve" in CliRunner().invoke(app, ["study"]).output


def test_help_uses_the_width_of_the_terminal(colorbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def longest(columns: int) -> int:
        monkeypatch.setenv("COLUMNS", str(columns))
        return max(map(len, colorbench("run", "--help").stdout.splitlines()))

    assert longest(60) <= 60
    assert 80 < longest(120) <= 120


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """A verb ``fail`` that raises what it is given; returns its outcome."""

    def run(error: BaseException, *flags: str):
        def fail(debug: Debug = False) -> None:
            raise error

        bring(monkeypatch, "fail", fail)
        return CliRunner().invoke(app, ["fail", *flags])

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no folder", where="/x", hint="check the path"), 2, "error: no folder (/x). Check the path\n"),
        (UserError("no onnx", hint="pip install onnx"), 2, "error: no onnx. pip install onnx\n"),
        (RunError("the disk\nis full"), 1, "error: the disk is full\n"),
        (OSError(28, "No space left on device", "/x"), 1, "error: the disk is full (/x). Free "),
        (PermissionError(13, "Permission denied", "/x"), 2, "error: cannot write: Permission denied (/x). Use "),
        (KeyboardInterrupt(), 130, "interrupted: "),
    ],
)
def test_what_a_user_can_hint_is_one_line(failing, error: BaseException, code: int, line: str) -> None:
    done = failing(error)
    assert done.exit_code == code
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("closed", ["data", "data/a.png"])
def test_what_cannot_be_read_is_named(failing, closed: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").touch()
    (tmp_path / closed).chmod(0)
    with without_privileges():
        done = failing(PermissionError(13, "Permission denied", str(tmp_path / "data/a.png")))
    (tmp_path / closed).chmod(0o700)
    assert done.exit_code == 2
    assert done.stderr == f"error: cannot read: Permission denied ({tmp_path / closed}). Make it readable\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with a folder of images, an empty folder and a model file."""
    write_images(tmp_path / "images", 2, 16)
    (tmp_path / "runs").mkdir()
    (tmp_path / "tiny.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "-m", "", "-p", "auc"], "the name of the model is empty (--model). `colorbench list` shows all"),
        (["colorize", "images", "-m", " ", "-o", "o"], "the name of the model is empty. `colorbench list` shows all"),
        (
            ["run", "-m", "images", "-p", "auc"],
            "no model 'images': this is a folder. For a folder of predictions write images:images",
        ),
        (
            ["run", "-m", "./runs", "-p", "auc"],
            "no model './runs': this is a folder. For a folder of predictions write images:./runs",
        ),
        (
            ["run", "-m", "net.onnx", "-p", "auc"],
            "no model 'net.onnx': names of ONNX files have a prefix. Write onnx:net.onnx",
        ),
        (["run", "-m", "onnx:net.onnx", "-p", "auc"], "no such ONNX file (net.onnx). Check the path"),
        (["run", "-m", "tiny.py", "-p", "auc"], "which model of tiny.py? Write tiny.py:ClassName"),
        (
            ["run", "-m", "zoo/gray", "-p", "auc", "-d", "ctest10k"],
            "the dataset ctest10k needs the folder of its images. Use ctest10k=DIR",
        ),
        (
            ["run", "-m", "auc", "-p", "zoo/cic.small"],
            "no protocol 'zoo/cic.small'. This is a model: give it by --model, and the protocol by --protocol",
        ),
        (
            ["run", "-m", "auc@cic2016", "-p", "auc"],
            "no model 'auc@cic2016'. This is a protocol: give it by --protocol, and the model by --model",
        ),
        (
            ["run", "-m", "zoo/gray", "-p", "auc", "-d", "images", "--labels", "nope.csv"],
            "no such file (nope.csv). Check the path",
        ),
        (["leaderboard", "runs"], "no such command 'runs'. Write `colorbench leaderboard build runs`"),
        (["study", "runs"], "no such command 'runs'. `colorbench study --help` lists the commands"),
        (["show", "runs"], "no results in this folder (runs). Give a folder that `colorbench run` wrote"),
        (["show", "runs/zoo/cic.tiny"], "no model 'runs/zoo/cic.tiny'. Did you mean zoo/cic?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_value_is_one_line_with_the_way_on(arguments: list[str], line: str, here: Path) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stderr) == (2, f"error: {line}\n")


def test_debug_shows_the_traceback_and_keeps_the_exit_code(failing) -> None:
    done = failing(UserError("no folder"), "--debug")
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("error: no folder\n")
    assert done.exit_code == 2


def test_a_bug_is_not_dressed_up(failing) -> None:
    done = failing(ZeroDivisionError())
    assert isinstance(done.exception, ZeroDivisionError)


def bring(monkeypatch: pytest.MonkeyPatch, name: str, verb: object) -> None:
    """Install a verb, as a package's entry point would; ``verb`` None: one that cannot be imported."""
    point = EntryPoint(name, f"no_such_module:{name}", "colorbench.commands")
    plugin = Plugin("commands", name, "some-package", "1.0", point)
    monkeypatch.setattr(command_group, "plugin_verbs", lambda: {name: plugin})
    if verb is not None:
        monkeypatch.setattr(Plugin, "load", lambda self: verb)


def test_a_broken_plugin_verb_is_named_and_breaks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bring(monkeypatch, "study", None)
    assert "study     (from package some-package)" in CliRunner().invoke(app, ["--help"]).output
    done = CliRunner().invoke(app, ["study"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: study cannot be imported: ModuleNotFoundError: No module named 'no_such_mod")
    assert done.stderr.count("\n") == 1
    assert CliRunner().invoke(app, ["list", "--help"]).exit_code == 0


def test_a_plugin_may_bring_a_group_of_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    group = typer.Typer()
    group.command("build")(lambda: typer.echo("built"))
    group.command("serve")(lambda: typer.echo("served"))
    bring(monkeypatch, "study", group)
    assert CliRunner().invoke(app, ["study", "serve"]).output == "served\n"


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["auc.step=2", "prior=a=b.npy"], {"auc.step": 2, "prior": "a=b.npy"}),
        (["x=0.5", "y=true", "z=null", "w=NaN", "v=[1]", "u=", "t=1e999"],
         {"x": 0.5, "y": True, "z": None, "w": "NaN", "v": "[1]", "u": "", "t": "1e999"}),
    ],
)  # fmt: skip
def test_parameters_are_read_as_what_they_look_like(pairs: list[str], expected: dict[str, object]) -> None:
    assert key_values(pairs, "--param") == expected


@pytest.mark.parametrize("pairs", [["step"], ["=2"], ["a=1", "a=2"]])
def test_a_parameter_that_cannot_be_read_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UserError, match="--param"):
        key_values(pairs, "--param")


def test_output_survives_a_terminal_that_cannot_show_it(colorbench) -> None:
    done = colorbench("--help", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr


def test_module_and_script_are_the_same(colorbench) -> None:
    script = Path(sys.executable).parent / "colorbench"
    by_script = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, env=os.environ)
    assert by_script.stdout == colorbench("--version").stdout != ""


@pytest.mark.parametrize("other", sorted(command_group.MEANT))
def test_other_words_lead_to_the_verb(other: str) -> None:
    done = CliRunner().invoke(app, [other])
    assert done.exit_code == 2
    assert f"Did you mean `{command_group.MEANT[other]}`?" in done.stderr
    assert CliRunner().invoke(app, [command_group.MEANT[other], "--help"]).exit_code == 0
