"""Which processes share a run: variables of torchrun and Slurm, half set, left over or garbage."""

from __future__ import annotations

import pytest

from colorbench.errors import UserError
from colorbench.processes import current_launch

NAMES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    *("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS"),
)
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "3"}, (1, 3)),
        ({"RANK": "", "WORLD_SIZE": ""}, (0, 1)),
        # A script or shell of sbatch or salloc is one process, whatever the job may start.
        (BATCH, (0, 1)),
        ({**BATCH, "SLURM_STEP_ID": ""}, (0, 1)),
        ({**BATCH, "SLURM_STEP_ID": "4294967291"}, (0, 1)),
        ({**BATCH, "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1)),
        ({**BATCH, "SLURM_STEP_ID": "batch"}, (0, 1)),
        # srun
        ({**BATCH, "SLURM_STEP_ID": "0"}, (0, 4)),
        ({**BATCH, "SLURM_STEPID": "2", "SLURM_PROCID": "3"}, (3, 4)),
        # srun -n 1 within a job of four tasks
        ({**BATCH, "SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1)),
        # torchrun in a step of srun
        ({**BATCH, "SLURM_STEP_ID": "0", "RANK": "5", "WORLD_SIZE": "8"}, (5, 8)),
    ],
)
def test_only_what_a_launcher_started_shares_a_run(
    variables: dict[str, str], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    launch = current_launch()
    assert (launch.rank, launch.processes) == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "RANK=0 is set and WORLD_SIZE is not.*unset RANK"),
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE=4 is set and RANK is not.*unset WORLD_SIZE"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK=4, WORLD_SIZE=4"),
        ({"RANK": "-1", "WORLD_SIZE": "4"}, "RANK=-1"),
        ({"RANK": "one", "WORLD_SIZE": "4"}, "RANK=one"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE=0"),
        ({**BATCH, "SLURM_STEP_ID": "0", "SLURM_PROCID": "x"}, "SLURM_PROCID=x, SLURM_NTASKS=4"),
        ({**BATCH, "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4(x2)"}, r"SLURM_NTASKS=4\(x2\)"),
    ],
)
def test_what_cannot_be_is_named(variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        current_launch()


@pytest.mark.parametrize(("name", "value"), [("LOCAL_RANK", "x"), ("LOCAL_RANK", "-1"), ("SLURM_LOCALID", "1.5")])
def test_a_position_on_the_machine_that_is_none(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name}={value}"):
        current_launch()
