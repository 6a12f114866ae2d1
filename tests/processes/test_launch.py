"""Which processes share a run: variables of torchrun and Slurm, half set, left over or garbage."""

from __future__ import annotations

import os

import pytest

from colorbench.errors import UserError
from colorbench.processes import current_launch, export_launch
from colorbench.processes.launch import PORTS

NAMES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    *("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID", "SLURM_NNODES"),
    *("MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE", "TORCHELASTIC_USE_AGENT_STORE"),
    *("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURM_STEP_NUM_NODES"),
    "SLURM_STEP_TASKS_PER_NODE",
)
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # and restored afterwards, where a test exports variables
        monkeypatch.delenv(name)


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
def test_an_invalid_local_rank_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name}={value}"):
        current_launch()


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("gpu[003-005,8],login1", "gpu003"),
        ("gpu[8,003-005],login1", "gpu8"),
        ("a-1,b[1-2]", "a-1"),
        ("r[1-2]n[05,7].cluster,x", "r1n05.cluster"),
        ("127.0.0.[2-3]", "127.0.0.2"),
    ],
)
def test_the_store_of_a_step_is_on_its_first_node(nodes: str, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**BATCH, "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": nodes, "SLURM_NNODES": "2"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    launch = current_launch()
    assert (launch.address, launch.agent) == (first, False)
    assert launch.port in PORTS
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    other = current_launch()
    assert other.port != launch.port and other.token != launch.token
    monkeypatch.setenv("MASTER_ADDR", "elsewhere")
    monkeypatch.setenv("MASTER_PORT", "4711")
    assert (current_launch().address, current_launch().port) == ("elsewhere", 4711)


def test_a_step_on_one_node_needs_no_name_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**BATCH, "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "x7", "SLURM_NNODES": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert current_launch().address == "127.0.0.1"


@pytest.mark.parametrize("port", ["", "0", "65536", "x"])
def test_a_store_needs_a_port(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="MASTER_PORT.*unset MASTER_ADDR"):
        current_launch()


def test_torchrun_serves_the_store_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "29500", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**given, "TORCHELASTIC_USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(name, value)
    launch = current_launch()
    assert (launch.agent, launch.address, launch.port, launch.local_processes) == (True, "a", 29500, 2)


def test_libraries_read_the_variables_of_torchrun_in_a_step_of_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        **BATCH,
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    export_launch(current_launch())
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
    assert [os.environ[name] for name in names] == ["3", "4", "1", "2", "n1"]
    assert int(os.environ["MASTER_PORT"]) in PORTS
