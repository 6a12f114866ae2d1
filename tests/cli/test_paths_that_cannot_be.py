"""Paths that are too long, or links in a circle, wherever a command takes a path: one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from colorbench.cli import main
from tests.support.engine import write_images

RUN = ("run", "-m", "zoo/gray", "-p", "auc")
COMMANDS: list[tuple[str, ...]] = [
    (*RUN, "-d", "PATH"),
    (*RUN, "-d", "ctest10k=PATH"),
    (*RUN, "-d", "images", "-o", "PATH"),
    (*RUN, "-d", "images", "--list", "PATH"),
    (*RUN, "-d", "images", "--labels", "PATH"),
    (*RUN, "-d", "images", "--param", "prior=PATH"),
    ("run", "--config", "PATH"),
    *(
        ("run", "-m", model, "-p", "auc")
        for model in ("images:PATH", "onnx:PATH", "PATH.py:X", "zoo/cic[weights=PATH]")
    ),
    ("score", "PATH", "images"),
    ("score", "images", "PATH"),
    ("colorize", "PATH", "-m", "zoo/gray", "-o", "o"),
    ("colorize", "images", "-m", "zoo/gray", "-o", "PATH"),
    ("compare", "PATH", "images", "-p", "auc"),
    ("verify", "PATH"),
    ("show", "PATH"),
    ("check", "PATH"),
    ("train", "zoo/cic", "--data", "PATH"),
    ("train", "zoo/cic", "--data", "images", "-o", "PATH"),
    ("export", "zoo/cic", "-o", "PATH"),
    ("cache", "images", "--short-side", "64", "--data", "PATH", "-o", "o"),
    ("cache", "images", "--short-side", "64", "--data", "images", "-o", "PATH"),
    ("prior", "--data", "PATH", "-o", "o.npy"),
    ("inputs", "--data", "PATH", "-o", "o"),
    ("inputs", "--data", "images", "-o", "PATH"),
    ("leaderboard", "build", "PATH", "-o", "o.html"),
    ("leaderboard", "build", "reference", "-o", "PATH"),
    ("view", "PATH"),
    *(("study", verb, "PATH") for verb in ("analyze", "serve", "export")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    write_images(folder / "images", 2, 16)
    (folder / "circle").symlink_to("circle")
    return folder


@pytest.mark.parametrize("path", ["x" * 5000, "d/" * 3000, "circle", "circle/inside"], ids=lambda path: path[:8])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:40])
def test_it_is_one_line(
    command: tuple[str, ...],
    path: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main([word.replace("PATH", path) for word in command])
    printed = capfd.readouterr().err.splitlines()
    errors = [line for line in printed if line.startswith("error: ")]
    assert ended.value.code == 2 and len(errors) == 1 and len(errors[0]) < 1500, printed
    assert "Traceback" not in " ".join(printed)
