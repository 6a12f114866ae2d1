"""An output that cannot be written is one line before any work, with exit code 2, for each command that writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from colorbench.cli import app, command_group
from tests.support.engine import write_images

SHIPPED = Path(__file__).parent.parent.parent / "leaderboards/reference/records/zoo"
COMMANDS = {
    "run --output": "run -m zoo/gray -p auc -d images -o {}",
    "run --figures": "run -m zoo/gray -p auc -d images -o runs --figures {}",
    "score --output": "score images images -o {}",
    "train --output": "train zoo/cic -d images --steps 1 -o {}",
    "train --figures": "train zoo/cic -d images --steps 1 -o trained --figures {}",
    "colorize --output": "colorize images -m zoo/gray -o {}",
    "inputs --output": "inputs -d images -o {}",
    "cache --output": "cache images -d images -o {}",
    "export --output": "export zoo/cic -o {}/cic.onnx",
    "prior --output": "prior -d images -o {}/prior.npy",
    "verify --output": "verify {shipped} -p auc -o {}/verification.json",
    "leaderboard build --output": "leaderboard build {shipped} -o {}/board.html",
    "leaderboard build --figures": "leaderboard build {shipped} -o board.html --figures {}",
    "study build --output": "study build -m zoo/gray -d images --participants 4 -o {}",
}
"""Each option that names an output -> a command with it."""
NOT_WRITTEN_FIRST = {"study analyze --output", "study analyze --figures", "study build --figures"}
"""Options that need a study with responses; tests/protocols/human_study covers them."""


def options_of(command: object, path: str) -> set[str]:
    """Return the options of a command and of those below it that name an output, with their commands."""
    found = {
        f"{path} {name}"
        for option in getattr(command, "params", ())
        for name in option.opts
        if name in ("--output", "--figures")
    }
    for name, below in getattr(command, "commands", {}).items():
        found |= options_of(below, f"{path} {name}")
    return found


def test_each_output_of_each_command_is_tried() -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)
    names = [*command_group.VERBS, *command_group.plugin_verbs()]
    found = set().union(*(options_of(group.get_command(context, name), name) for name in names))
    assert found <= COMMANDS.keys() | NOT_WRITTEN_FIRST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with images and a file where a folder is needed."""
    folder = tmp_path_factory.mktemp("work")
    write_images(folder / "images", 80)
    (folder / "file").touch()
    return folder


@pytest.mark.parametrize("option", COMMANDS)
@pytest.mark.parametrize("output", ["file/below", "/proc/nothing"])
def test_it_is_one_line(option: str, output: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if output.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("no /proc here")
    monkeypatch.chdir(folder)
    command = COMMANDS[option].format(output, shipped=SHIPPED / "l2.small")
    done = CliRunner().invoke(app, command.split())
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert done.stderr.startswith(("error: cannot write: ", "error: there is a file where a folder is needed")), option
    assert output in done.stderr or Path(output).parent.name in done.stderr
    assert {path.name for path in folder.iterdir()} <= {"images", "file", "runs", "trained"}
