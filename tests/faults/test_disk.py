"""A disk that is full, read-only or broken from any write on: one line, and the same command goes on later."""

from __future__ import annotations

import errno
from pathlib import Path

from tests.support.fault_runs import ENGINE, Runs
from tests.support.same_records import assert_same, record_below

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG, errno.ESTALE)


def test_a_disk_that_fails_from_any_write_on(runs: Runs, tiny: Path, tmp_path: Path) -> None:
    command, whole = (*ENGINE, str(tiny)), tmp_path / "whole"
    whole.mkdir()
    runs.run(whole, *command).done()
    failed = 0
    for stop in range(60):
        folder = tmp_path / str(stop)
        folder.mkdir()
        ended = runs.run(folder, *command, fault=("fail_from", 2 * stop, ERRORS[stop % len(ERRORS)]))
        if ended.code == 0:  # only what may fail has failed, such as the sync of a folder
            assert_same(folder, record_below(whole))
            break
        failed += 1
        ended.one_line("runs")
        assert ended.code in (1, 2)
        assert not list(folder.rglob("*.tmp")), "nothing is left half written"
        runs.run(folder, *command).done()
        assert_same(folder, record_below(whole))
    assert failed > 15
