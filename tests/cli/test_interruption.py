"""Ctrl-C ends in one line and exit code 130 at any moment, once or twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import training
from tests.support.engine import write_images
from tests.support.interruption import PROGRAM, REPOSITORY, Server, interrupted

NEW = random.SystemRandom().randrange(10**6)
"""Seed of the moments, another for each run of the tests; a failure names it."""
NOTES = (
    *("images ", "compared: ", "a tone ", "colors of the input ", "reading images ", "computing the color prior "),
    *("step ", "validation at step ", "skipped ", "wrote ", "evaluate it: ", "! ", " "),
)
"""Beginnings of lines that commands print about their progress."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with images."""
    folder = tmp_path_factory.mktemp("results")
    write_images(folder / "images", 12)
    training.write_images(folder / "training")
    return folder


COMMANDS = {
    "run": "run -m zoo/cic -p auc -d images --param preprocessing=squash64 --no-baselines -o {output}",
    "score": "score images images -p auc --param preprocessing=squash64 -o {output}",
    "compare": "compare zoo/cic zoo/gray",
    "leaderboard build": "leaderboard build runs -o {output}/board.html",
    "train": "train zoo/cic -d training -o {output} --steps 2 -b 2 --param width=0.125 --param start=default",
    "colorize": "colorize images/a -m zoo/cic -o {output}",
}
SHARES = {"run": 1.0, "score": 1.0, "compare": 0.4, "leaderboard build": 1.0, "train": 2.0, "colorize": 1.0}
"""About the life of each command, as a share of that of ``run``, which is measured."""
MOMENTS = int(os.environ.get("INTERRUPTS", "1"))
"""Interrupts of each command, one in each equal part of its life; of ``run``, one more."""
PRELOADED = (
    *(
        "torch",
        "torch._dynamo",
        "pandas",
        "scipy.stats",
        "matplotlib.figure",
        "matplotlib.backends.backend_svg",
        "colorbench._api.score",
    ),
    *("zoo.cic", "protocols.auc", "leaderboards.cli", "leaderboards.board_files", "colorbench.metrics._auc_compiled"),
    *(f"colorbench.cli.{name}" for name in ("run", "run_output", "score", "compare", "train", "colorize")),
    *(f"colorbench.color.compiled.{name}" for name in ("lab", "bins", "windows", "neighbor_table")),
    *("colorbench.training.training_run", "colorbench.evaluation.runner", "colorbench.reporting.record_page"),
    "colorbench._api.score",
)


@pytest.fixture(scope="module")
def server(results: Path) -> Iterator[tuple[Server, float]]:
    """The server, with results of two models in its folder, and the seconds that a whole run takes."""
    with Server(results, PRELOADED) as started:
        for model in ("zoo/gray", "zoo/cic"):
            made = started.run(COMMANDS["run"].replace("zoo/cic", model).format(output="runs").split())
            assert made.code == 0 and not unexpected(made.lines), made
        yield started, made.seconds


def unexpected(lines: list[str]) -> list[str]:
    """Lines of standard error that say neither what is done nor that it was interrupted."""
    return [line for line in lines if line and not line.startswith((*NOTES, "interrupted: "))]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_in_one_line_at_any_moment_of_its_life(
    name: str, server: tuple[Server, float], results: Path, tmp_path: Path
) -> None:
    forks, life = server[0], server[1] * SHARES[name]
    draw = random.Random(f"{NEW} {name}")
    moments = MOMENTS + (name == "run")
    for part in range(moments):
        after = life * (part + draw.random()) / moments
        end = forks.run(COMMANDS[name].format(output=tmp_path / str(part)).split(), after)
        told = f"seed {NEW}, after {after:.3f} of about {life:.3f} s: {end}"
        assert not unexpected(end.lines), told
        if end.code:  # otherwise it was done before
            assert end.code == 130 and sum(line.startswith("interrupted: ") for line in end.lines) == 1, told
        assert list((results / "temporary").glob("colorbench-*")) == [], told


@pytest.mark.parametrize("times", [1, 3])
def test_an_interrupt_in_the_imports_and_the_first_images(times: int, results: Path, tmp_path: Path) -> None:
    after = random.Random(NEW + times).uniform(0.0, 3.0)
    code, message, _ = interrupted(COMMANDS["run"].format(output=tmp_path).split(), results, after, times)
    lines = message.splitlines()
    assert not unexpected(lines) and code in (0, 130), f"seed {NEW}, after {after:.3f} s: {message}"
    assert code == 0 or sum(line.startswith("interrupted: ") for line in lines) == 1, message


def processes_with(folder: Path) -> list[str]:
    """Return the command lines of the processes whose temporary files go below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended, or of another user
            if f"TMPDIR={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_a_child_process_ends_with_an_interrupt(results: Path, tmp_path: Path) -> None:
    """The child of ``verify --rerun`` and its folder are gone as soon as the command has ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *["verify", "zoo/cic", "--data", "images", "--rerun", "12"]],
        cwd=results,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    ends = time.monotonic() + 100
    while not (there := list(tmp_path.glob("colorbench-apart-*"))) and time.monotonic() < ends:
        time.sleep(0.02)
    time.sleep(0.3)
    assert there and len(processes_with(tmp_path)) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert processes_with(tmp_path) == [] and not there[0].exists()


def test_ignored_interrupts_stay_ignored(tmp_path: Path) -> None:
    program = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{PROGRAM}"
    script = f"{program.replace('main()', 'signal.raise_signal(signal.SIGINT); main()')}"
    done = subprocess.run(
        [sys.executable, "-c", script, "list"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
