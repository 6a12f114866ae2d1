"""Files and folders that the user may not read or write: one line and exit code 2, in Python and for each command."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import colorbench
from colorbench import color, data, errors, evaluation, models, results, verification
from colorbench.cli import main
from colorbench.errors import one_line_error
from tests.cli.test_paths_that_cannot_be import COMMANDS
from tests.support.engine import write_images
from tests.support.privileges import without_privileges

CALLS: dict[str, Callable[[Path], Any]] = {
    "open_dataset": colorbench.open_dataset,
    "open_dataset list": lambda path: colorbench.open_dataset("images", list_file=path),
    "open_dataset labels": lambda path: colorbench.open_dataset("images", labels=path),
    "load_model": lambda path: colorbench.load_model(f"images:{path}"),
    "load_model file": lambda path: colorbench.load_model(f"{path}.py:Model"),
    "load_model onnx": lambda path: colorbench.load_model(f"onnx:{path}"),
    "load_model weights": lambda path: colorbench.load_model("zoo/cic.small", weights=path),
    "run": lambda path: colorbench.run("zoo/gray", "auc", path, baselines=False),
    "run images": lambda path: colorbench.run(f"images:{path}", "auc", "images", baselines=False),
    "run output": lambda path: colorbench.run("zoo/gray", "auc", "images", baselines=False, output=path),
    "run prior": lambda path: colorbench.run("zoo/gray", "auc", "images", parameters={"prior": str(path)}),
    "score": lambda path: colorbench.score(path, "images"),
    "score truth": lambda path: colorbench.score("images", path),
    "score output": lambda path: colorbench.score("images", "images", output=path),
    "predict": lambda path: list(colorbench.predict("zoo/gray", path)),
    "colorize": lambda path: colorbench.colorize(path, "zoo/gray"),
    "compare": lambda path: colorbench.compare(path, path),
    "compare output": lambda path: colorbench.compare("zoo/gray", "zoo/constant", output=path),
    "verify": colorbench.verify,
    "verify output": lambda path: colorbench.verify("zoo/gray", output=path),
    "read_record": colorbench.read_record,
    "data.open_dataset": data.open_dataset,
    "models.load_model": lambda path: models.load_model(f"images:{path}"),
    "results.read_record": results.read_record,
    "results.load_run": results.load_run,
    "evaluation.run": lambda path: evaluation.run(
        evaluation.RunConfig(models=("zoo/gray",), protocols=("auc",), data=data.open_dataset("images"), output=path)
    ),
    "verification.verify": verification.verify,
    "color.load_prior": color.load_prior,
}
"""Public functions that take a path -> a call with it."""
PATHS = ("closed", "closed/inside", "file")
"""A folder, what is in it and a file, none of which may be read or written."""


REPORTING = ("check", "colorize")
"""Commands that look at each image, and report those that cannot be read."""
EMPTY = re.compile(r"\bno (usable )?(records?|results?|images?)\b")
"""What may not be said of a folder that cannot be read."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a folder with images and with closed paths, in which the permissions of files hold."""
    write_images(tmp_path / "images", 2, 16)
    (tmp_path / "closed").mkdir()
    (tmp_path / "file").write_bytes((tmp_path / "images/a/000.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    for closed in ("closed", "file"):
        (tmp_path / closed).chmod(0)
    with without_privileges():
        yield tmp_path
    (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("call", CALLS)
def test_a_function_raises_one_line(call: str, path: str, folder: Path) -> None:
    with pytest.raises(errors.UserError) as error:
        CALLS[call](Path(path))
    line = str(error.value)
    assert path.partition("/")[0] in line and "\n" not in line
    assert error.value.hint is not None and ("--" not in line or "." in call)
    assert path == "file" or not EMPTY.search(line)


def test_a_check_fails_in_one_line(folder: Path) -> None:
    (failed, *_) = colorbench.check(folder / "closed").failures
    assert "Permission denied" in str(failed) and failed.hint


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:40])
def test_a_command_prints_one_line(
    command: tuple[str, ...],
    path: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socketserver.BaseServer.serve_forever", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        main([word.replace("PATH", path) for word in command])
    printed = capfd.readouterr().err.splitlines()
    assert "Traceback" not in " ".join(printed)
    if command[0] in REPORTING and ended.value.code == 1:  # the finding is the result of the command
        return
    lines = [line for line in printed if line.startswith("error: ")]
    assert ended.value.code == 2 and len(lines) == 1, printed
    assert path == "file" or not EMPTY.search(lines[0])


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, errors.RunError) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.EIO)),
        *((number, errors.UserError) for number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP)),
    ],
)
def test_an_error_of_the_system_is_of_the_run_or_of_the_user(number: int, kind: type) -> None:
    shown = one_line_error(OSError(number, os.strerror(number), "/nothing"))
    assert type(shown) is kind and shown.where == "/nothing" and shown.hint


def test_other_errors_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("colorbench._api.arguments.open_dataset", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        colorbench.score(tmp_path, tmp_path)
