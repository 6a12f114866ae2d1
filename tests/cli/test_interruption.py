"""Ctrl-C ends in one line and exit code 130 at any moment, once or twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.engine import write_images

REPOSITORY = Path(__file__).parent.parent.parent
PROGRAM = "from colorbench.cli import main; print('begun', flush=True); main()"


def interrupted(arguments: list[str], folder: Path, after: float, times: int = 1) -> tuple[int, str]:
    """Exit code and standard error of a command that is interrupted seconds after Python is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
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
            process.send_signal(signal.SIGINT)
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


def test_ignored_interrupts_stay_ignored(tmp_path: Path) -> None:
    program = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{PROGRAM}"
    script = f"{program.replace('main()', 'signal.raise_signal(signal.SIGINT); main()')}"
    done = subprocess.run(
        [sys.executable, "-c", script, "list"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
