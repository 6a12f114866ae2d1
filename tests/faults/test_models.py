"""A model that returns NaN or fails in the middle of a run: one line, and what was finished stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from colorbench.results import read_record
from tests.support.fault_runs import RUN, Runs
from tests.support.same_records import record_below

MODEL = """
import os
import torch
from colorbench.models import ModelCard

class Model:
    card = ModelCard(title="one that fails")
    calls = 0

    def colorize(self, lightness):
        type(self).calls += 1
        n, _, h, w = lightness.shape
        ab = torch.full((n, 2, h, w), 5.0)
        if type(self).calls > int(os.environ.get("CALLS", 1000)):
            FAULT
        return ab
"""
FAULTS = {
    "NaN or infinity in ab": "ab[0, 0, 0, 0] = float('nan')",
    "farther than": "ab[0, 0, 0, 0] = 1e9",
    "failed: ValueError": "raise ValueError('no more')",
    "needs more memory": "raise MemoryError",
    "exited the program": "raise SystemExit(3)",
}


@pytest.mark.parametrize(("line", "fault"), FAULTS.items())
def test_one_line_and_finished_shards_stay(line: str, fault: str, runs: Runs, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL.replace("FAULT", fault))
    command = (*RUN[:1], "-m", "model.py:Model", *RUN[3:], "-d", str(tiny))
    for calls in range(20):  # of the check before the pass, and of the pass
        ended = runs.run(tmp_path, *command, CALLS=str(calls))
        assert ended.code == 1, ended.err
        ended.one_line(line)
        assert not list(tmp_path.rglob("record.json"))
        if list(tmp_path.rglob("shards/*.npz")):
            break
    else:
        pytest.fail("no shard was finished before a failure")
    (kept,) = tmp_path.rglob("shards/*.npz")
    written = kept.stat().st_ino
    again = runs.run(tmp_path, *command, CALLS=str(calls + 1))
    assert again.code == 0 or kept.stat().st_ino == written, "it was not made again"
    runs.run(tmp_path, *command).done()
    assert record_below(tmp_path)


@pytest.mark.parametrize("calls", [0, 4])
def test_the_other_models_are_finished(calls: int, runs: Runs, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL.replace("FAULT", "raise ValueError('no more')"))
    command = (*RUN[:1], "-m", "model.py:Model,zoo/random", *RUN[3:], "-d", str(tiny))
    ended = runs.run(tmp_path, *command, CALLS=str(calls))
    assert ended.code == 1
    ended.one_line("model.py:Model failed: ValueError: no more")
    assert "zoo/random" in ended.out, "the results of the other model are shown"
    assert read_record(record_below(tmp_path)).model.name == "zoo/random"
    again = runs.run(tmp_path, *command)
    again.done()
    assert "zoo/random under auc: reused" in again.err
