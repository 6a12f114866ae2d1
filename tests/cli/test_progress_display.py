"""Progress where there is no terminal: a line every half minute, in a log that somebody reads later."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from colorbench.cli import app, interruption, progress_display


def log_of(monkeypatch: pytest.MonkeyPatch, *, quiet: bool = False, terminal: bool = False) -> list[str]:
    """What is printed of 1000 images in steps of 100, each of which takes 20 seconds."""
    now = 0.0
    monkeypatch.setattr(progress_display.time, "monotonic", lambda: now)
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=terminal)
    bar = progress_display.ProgressBar(console, quiet=quiet)
    bar.message("1000 images")
    bar.started(1000)
    for _ in range(10):
        now += 20
        bar.advanced(100, 5.0)
    return stream.getvalue().splitlines()


def test_a_line_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_of(monkeypatch) == [
        "1000 images",
        "200/1000 images (20 %), 5.0 images/s, 0:02:40 left",
        "400/1000 images (40 %), 5.0 images/s, 0:02:00 left",
        "600/1000 images (60 %), 5.0 images/s, 0:01:20 left",
        "800/1000 images (80 %), 5.0 images/s, 0:00:40 left",
        "1000/1000 images (100 %), 5.0 images/s, 0:00:00 left",
    ]


def test_none_on_a_terminal_which_has_a_bar_and_none_where_nothing_was_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_of(monkeypatch, terminal=True) == ["1000 images"]
    assert log_of(monkeypatch, quiet=True) == []


def test_a_training_has_its_number_of_steps_before_the_first() -> None:
    stream = io.StringIO()
    with progress_display.TrainingProgressBar(Console(file=stream, width=100, force_terminal=True), 18000) as bar:
        time.sleep(0.3)
        before = stream.getvalue()
        bar.advanced(1, 18000)
        bar.stepped(1, 18000, {"loss": 5.0}, 12.0)
    assert "0/18000" in before and "before the first step" in before and "0/?" not in before
    assert "1/18000" in stream.getvalue() and "loss 5" in stream.getvalue()


def test_a_step_without_progress_reports_too_and_in_its_own_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_display, "LOG_PERIOD", 0.02)
    stream = io.StringIO()
    with progress_display.ProgressBar(Console(file=stream, width=80)) as bar:
        bar.started(17, "classifiers")
        for _ in range(500):
            if stream.getvalue():
                break
            time.sleep(0.01)
    text = stream.getvalue()
    assert text.splitlines()[0].startswith("0/17 classifiers (0 %), 0:00:0")
    time.sleep(0.06)
    assert stream.getvalue() == text, "nothing is printed after the end"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run -m zoo/nothing -p auc", "finished work is kept; run the same command to go on"),
        ("run -m zoo/nothing -p auc --no-resume", "run the same command to start again (--no-resume)"),
        ("train zoo/nothing -d x -o x", "run the same command to resume from the last checkpoint, one every 500 steps"),
        (
            "train zoo/nothing -d x -o x --no-resume --checkpoint-every 7",
            "run the same command without --no-resume to resume from the last checkpoint, one every 7 steps",
        ),
    ],
)
def test_what_an_interruption_says_before_the_first_image(
    command: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "_message", "")
    assert CliRunner().invoke(app, command.split()).exit_code == 2
    assert interruption.current_message() == words


def test_an_interruption_counts_the_images_that_are_kept_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_message", "")
    bar, kept = progress_display.RunProgressBar(Console(file=io.StringIO())), [0]
    bar.keeps(lambda: kept[0], 40)
    assert interruption.current_message() == "0 of 40 images are kept; run the same command to go on"
    kept[0] = 40
    assert interruption.current_message() == "finished work is kept; run the same command to go on"
    kept.clear()
    assert interruption.current_message() == "finished work is kept"  # what counts fails
