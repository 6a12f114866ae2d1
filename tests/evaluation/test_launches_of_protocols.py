"""Probes, transfer and scores in several processes give the numbers of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from colorbench._api.score import scored
from colorbench.data import open_dataset
from colorbench.evaluation.runner import run
from colorbench.models import load_model
from colorbench.results import Record, load_run
from tests.evaluation.test_retrained import requests, train, write_sets
from tests.support.cluster import REPOSITORY, write_programs

PROTOCOLS = ("linear-probe", "transfer-classification", "transfer-segmentation")
CHILD = """
import sys
from pathlib import Path
from colorbench.results import shard
from tests.evaluation.test_launches_of_protocols import measure_all

shard.SHARD = 4
measure_all(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def measure_all(sets: Path, output: Path) -> None:
    """Run every protocol on two models, and score a folder of images, one after the other in each process."""
    asked = requests(sets)
    models = [load_model(f"{sets / name / 'model.py'}:Model") for name in "ab"]
    for protocol in PROTOCOLS:
        run(replace(asked[protocol](models[0], output / protocol), models=models))
    scored(sets / "images", open_dataset(sets / "images"), ["fidelity"], {}, output=output / "score")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder)
    for seed, name in enumerate("ab"):
        train(folder / name, seed)
    return folder


def records(output: Path) -> dict[tuple[str, str], Record]:
    found = [load_run(path.parent).record for path in output.rglob("record.json")]
    return {(record.model.name, record.protocol.name): record for record in found}


def test_two_processes_give_the_numbers_of_one(sets: Path, tmp_path: Path) -> None:
    environment = {
        **write_programs(tmp_path / "bin"),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_NTASKS": "2",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "127.0.0.[2-3]",
    }
    ended = subprocess.run(
        ["srun", sys.executable, "-c", CHILD, str(sets), str(tmp_path / "two")],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr
    measure_all(sets, tmp_path / "one")
    two, one = records(tmp_path / "two"), records(tmp_path / "one")
    assert two.keys() == one.keys() and len(one) == 2 * len(PROTOCOLS) + 1
    for key, record in one.items():
        assert two[key].execution.processes == 2, key
        for mine, theirs in zip(record.metrics, two[key].metrics, strict=True):
            assert theirs.value == pytest.approx(mine.value, rel=1e-5, abs=1e-5), (key, mine.name)
