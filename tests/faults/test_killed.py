"""A run that is killed at any of its writes is finished by the same command, with the same record."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.fault_runs import ENGINE, Runs
from tests.support.same_records import assert_same, record_below

LEAST = 40
"""The tiny run has at least this many positions before and after an fsync, a rename or an unlink."""


def test_killed_before_and_after_every_write(runs: Runs, tiny: Path, tmp_path: Path) -> None:
    command, whole = (*ENGINE, str(tiny)), tmp_path / "whole"
    whole.mkdir()
    runs.run(whole, *command, fault=("count_writes", str(tmp_path / "positions"))).done()
    positions = len((tmp_path / "positions").read_text().splitlines())
    assert positions >= LEAST
    places = [tmp_path / str(stop) for stop in range(positions)]
    for folder in places:
        folder.mkdir()
    for stop, killed in enumerate(runs.all((folder, command, ("kill_at", int(folder.name))) for folder in places)):
        assert killed.code == -signal.SIGKILL, f"at {stop}: {killed.err}"
    for resumed in runs.all((folder, command, ()) for folder in places):
        resumed.done()
    for folder in places:
        assert_same(folder, record_below(whole))
