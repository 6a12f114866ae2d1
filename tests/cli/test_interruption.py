"""Ctrl-C ends in one line and exit code 130 at any moment, once or twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import colorbench
from tests.support.engine import write_images

REPOSITORY = Path(__file__).parent.parent.parent
PROGRAM = "from colorbench.cli import main; print('begun', flush=True); main()"


def interrupted(
    arguments: list[str], folder: Path, after: float, times: int = 1, group: bool = False
) -> tuple[int, str]:
    """Exit code and standard error of a command that is interrupted seconds after Python is there.

    Args:
        arguments: of the command line.
        folder: working folder, in which temporary files go to ``temporary``.
        after: seconds.
        times: number of interrupts.
        group: interrupt all processes of the command, as Ctrl-C in a terminal does.
    """
    (folder / "temporary").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder / "temporary")},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As a person's command has it: a shell's background jobs ignore interrupts and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(after)
    for _ in range(times):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT) if group else process.send_signal(signal.SIGINT)
            time.sleep(0.005)
    _, message = process.communicate(timeout=120)
    return process.returncode, message


# From the first import to the writing of the record; each a process of its own, so only a few here.
@pytest.mark.parametrize("after", [0.15, 0.6, 1.5, 3.0, 6.0])
@pytest.mark.parametrize("times", [1, 3])
def test_at_any_moment(after: float, times: int, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 80)
    run = ["run", "-m", "zoo/cic", "-p", "auc", "-d", "images", "--param", "preprocessing=squash64"]
    code, message = interrupted(run, tmp_path, after, times)
    if code == 0:  # this machine was done before
        return
    assert code == 130, message
    lines = [line for line in message.splitlines() if not line.startswith("images ")]
    assert len(lines) == 1 and lines[0].startswith("interrupted: "), message


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with images, and results of two models on them."""
    folder = tmp_path_factory.mktemp("results")
    config: dict[str, Any] = {"baselines": False, "workers": 0, "threads": 1, "output": folder / "runs"}
    parameters = {"preprocessing": "squash64"}
    write_images(folder / "images", 40)
    colorbench.run(["zoo/cic", "zoo/gray"], "auc", folder / "images", parameters=parameters, **config)
    return folder


def processes_with(folder: Path) -> list[str]:
    """Return the command lines of the processes whose temporary files go below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended, or of another user
            if f"TMPDIR={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


COMMANDS = {
    "verify": "verify zoo/cic --data images",
    "verify --rerun": "verify zoo/cic --data images --rerun 20",
    "score": "score images images -p auc --param preprocessing=squash64",
    "compare": "compare zoo/cic zoo/gray",
    "colorize": "colorize images -m zoo/cic -o {output}",
    "leaderboard build": "leaderboard build runs -o {output}/board.html",
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("after", [1.0, 3.5])
def test_each_command_ends_in_one_line_and_leaves_nothing(
    name: str, after: float, results: Path, tmp_path: Path
) -> None:
    arguments = COMMANDS[name].format(output=tmp_path / "output").split()
    code, message = interrupted(arguments, results, after, group=True)
    if code == 0:  # this machine was done before
        return
    lines = [line for line in message.splitlines() if not line.startswith(("images ", "compared: "))]
    assert (code, len(lines)) == (130, 1) and lines[0].startswith("interrupted: "), message
    assert processes_with(results) == []
    assert list((results / "temporary").glob("colorbench-*")) == []


def test_a_child_process_ends_with_an_interrupt(results: Path) -> None:
    """The child of ``verify --rerun`` and its folder are gone as soon as the command has ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *COMMANDS["verify --rerun"].split()],
        cwd=results,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(results / "temporary")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    ends = time.monotonic() + 100
    while not (there := list((results / "temporary").glob("colorbench-apart-*"))) and time.monotonic() < ends:
        time.sleep(0.02)
    time.sleep(0.3)
    assert there and len(processes_with(results)) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert processes_with(results) == [] and not there[0].exists()


def test_ignored_interrupts_stay_ignored(tmp_path: Path) -> None:
    program = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{PROGRAM}"
    script = f"{program.replace('main()', 'signal.raise_signal(signal.SIGINT); main()')}"
    done = subprocess.run(
        [sys.executable, "-c", script, "list"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
