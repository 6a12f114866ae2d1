"""Several runs of one command in one folder at a time, also where the file system has no locks."""

from __future__ import annotations

import errno
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_runs import Runs
from tests.support.same_records import assert_same


@pytest.mark.parametrize(
    "fault",
    [
        ("slow", 0.05),
        ("no_locks", errno.ENOLCK, 0.05),
        ("no_locks", errno.ENOSYS, 0.05),
        ("no_locks", errno.EOPNOTSUPP, 0.05),
    ],
    ids=["with locks", "ENOLCK", "ENOSYS", "EOPNOTSUPP"],
)
def test_three_at_once(
    fault: tuple[Any, ...], runs: Runs, command: tuple[str, ...], undisturbed: Path, tmp_path: Path
) -> None:
    started = [runs.start(tmp_path, *command, fault=fault) for _ in range(3)]
    for one in started:
        one.wait().done()
    assert_same(tmp_path, undisturbed)


def test_lock_files_of_dead_processes(runs: Runs, command: tuple[str, ...], undisturbed: Path, tmp_path: Path) -> None:
    runs.run(tmp_path, *command, fault=("kill_at", 8))
    (shards,) = tmp_path.rglob("shards")
    for name in ("00000", "00001", "record"):
        (shards / f"{name}.lock").write_text("a process that is no more")
    runs.run(tmp_path, *command).done()
    assert_same(tmp_path, undisturbed)


def test_a_frozen_run_costs_its_shard_alone(
    runs: Runs, command: tuple[str, ...], undisturbed: Path, tmp_path: Path
) -> None:
    frozen = runs.start(tmp_path, *command, fault=("slow", 6))
    frozen.until(lambda: bool(list(tmp_path.rglob("shards/00000.holder"))))
    frozen.send(signal.SIGSTOP)
    other = runs.run(tmp_path, *command, fault=("impatient", 0.5))
    other.done()
    assert "is dead or stopped" in " ".join(other.err.split())
    assert_same(tmp_path, undisturbed)
    frozen.send(signal.SIGCONT)
    frozen.wait().done()  # it finds the record of the other
    assert_same(tmp_path, undisturbed)
