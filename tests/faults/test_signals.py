"""A run that is told to end says so in one line, and keeps its finished shards."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.fault_runs import Runs
from tests.support.same_records import assert_same


@pytest.mark.parametrize(
    ("number", "times", "code", "line"),
    [
        (signal.SIGINT, 1, 130, "interrupted: 2 of 3 images are kept; run the same command to go on"),
        (signal.SIGINT, 2, 130, "interrupted: 2 of 3 images are kept; run the same command to go on"),
        (signal.SIGTERM, 1, 143, "terminated: 2 of 3 images are kept; run the same command to go on"),
        (signal.SIGTERM, 2, 143, "terminated: 2 of 3 images are kept; run the same command to go on"),
    ],
)
def test_one_line_and_finished_shards_stay(
    number: int,
    times: int,
    code: int,
    line: str,
    runs: Runs,
    command: tuple[str, ...],
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    started = runs.start(tmp_path, *command, fault=("slow", 60, 1))
    started.until(lambda: bool(list(tmp_path.rglob("shards/*.npz"))))
    for _ in range(times):
        started.send(number)
        time.sleep(0.002)
    ended = started.wait()
    assert ended.code == code, ended.err
    ended.one_line(line)
    noted = tmp_path / "noted"
    runs.run(tmp_path, *command, fault=("note_images", str(noted))).done()
    assert len(noted.read_text().splitlines()) == 1, "the two images of the finished shard were not asked for again"
    assert_same(tmp_path, undisturbed)
