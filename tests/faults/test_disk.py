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
    for stop in range(0, 80, 4):  # two at a time, every second write
        places = {position: tmp_path / str(position) for position in (stop, stop + 2)}
        for folder in places.values():
            folder.mkdir()
        faults = {position: ("fail_from", 2 * position, ERRORS[position // 2 % len(ERRORS)]) for position in places}
        ended = runs.all((folder, command, faults[position]) for position, folder in places.items())
        for one, folder in zip(ended, places.values(), strict=True):
            if one.code == 0:  # only what may fail has failed, such as the sync of a folder
                continue
            failed += 1
            one.one_line("runs")
            assert one.code in (1, 2)
            assert not list(folder.rglob("*.tmp")), "nothing is left half written"
        for again in runs.all((folder, command, ()) for folder in places.values()):
            again.done()
        for folder in places.values():
            assert_same(folder, record_below(whole))
        if all(one.code == 0 for one in ended):
            break
    assert failed > 8
