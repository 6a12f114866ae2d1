"""Public names, the options of each verb and the JSON schemas change only on purpose."""

from __future__ import annotations

import difflib

import pytest
from typer.testing import CliRunner

from colorbench.cli import app
from tests.snapshots import FOLDER, catalogs, commands, options, snapshots

HINT = "if this is meant: python tests/snapshots.py"


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    return snapshots()


def test_the_stored_files_are_those_that_there_should_be(found: dict[str, str]) -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(found), HINT


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_an_interface_is_as_it_was(name: str, found: dict[str, str]) -> None:
    stored = (FOLDER / name).read_text(encoding="utf-8")
    lines = difflib.unified_diff(stored.splitlines(), found.get(name, "").splitlines(), "stored", "now", lineterm="")
    assert stored == found.get(name), "\n".join([f"{name}: {HINT}", *lines])


def test_what_packages_say_of_their_plugins_is_what_these_say() -> None:
    found = catalogs()
    assert {path: path.read_text(encoding="utf-8") for path in found} == found, HINT


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_help_shows_every_option_at_any_width(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [command for name, command in commands() if name == path]
    stated = []
    for width in ("60", "200"):
        monkeypatch.setenv("COLUMNS", width)
        done = CliRunner().invoke(app, [*path, "--help"])
        assert done.exit_code == 0, done.output
        stated.append(" ".join(done.output.split()))
    for one in command.params:
        for name in (*one.opts, *one.secondary_opts) if one.param_type_name == "option" else ():
            assert all(f"{name} " in message or f"{name}," in message for message in stated), name
    first = next(options(command)).split(". ")[0]
    assert all(first in message for message in stated)
