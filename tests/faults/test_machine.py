"""Memory, threads, open files and clocks that fail a run: one line, no wrong record, and the same command goes on."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from tests.support.fault_runs import Runs
from tests.support.same_records import assert_same


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EIO, errno.ESTALE])
def test_an_image_that_the_machine_cannot_read_now_is_not_skipped(
    number: int, runs: Runs, command: tuple[str, ...], tmp_path: Path
) -> None:
    ended = runs.run(tmp_path, *command, fault=("unreadable", number))
    assert ended.code == 1
    ended.one_line("cannot read an image", os.strerror(number), ".jpg", "run the same command")
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize(
    ("module", "function", "kind"),
    [
        ("colorbench.data.batch_loader", "decode_image", "python"),
        ("colorbench.data.batch_loader", "_channels_first", "numpy"),
        ("colorbench.evaluation.image_pass", "_score", "torch"),
        ("colorbench.evaluation.image_pass", "_predict", "torch"),
        ("colorbench.evaluation.pending_shards", "concatenated", "numpy"),
        ("colorbench.evaluation.image_pass", "run_pipeline", "thread"),
    ],
)
def test_out_of_memory_in_any_worker(
    module: str,
    function: str,
    kind: str,
    runs: Runs,
    command: tuple[str, ...],
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    ended = runs.run(tmp_path, *command, fault=("no_memory", module, function, kind))
    if function == "run_pipeline":  # called once a pass: the first call succeeds
        ended.done()
    else:
        assert ended.code == 1, ended.err
        ended.one_line("out of memory", "--batch-size")
        runs.run(tmp_path, *command).done()
    assert_same(tmp_path, undisturbed)


def test_a_clock_that_goes_back(runs: Runs, command: tuple[str, ...], undisturbed: Path, tmp_path: Path) -> None:
    runs.run(tmp_path, *command, fault=("kill_at", 24))
    for path in tmp_path.rglob("*"):  # what was written before the clock was set back is from the future
        os.utime(path, (time.time() + 1e6, time.time() + 1e6))
    runs.run(tmp_path, *command, fault=("clock_goes_back",)).done()
    assert_same(tmp_path, undisturbed)
    runs.run(tmp_path, *command, fault=("clock_goes_back",)).done()
    assert_same(tmp_path, undisturbed)
