"""Processes of one launch: they share a run by the launcher's store, and the end of one costs a shard."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from colorbench.data import Dataset
from colorbench.results import Record
from tests.support.cluster import REPOSITORY, write_programs
from tests.support.engine import write_images
from tests.support.same_records import assert_same_rows

CHILD = """
import os, sys, time
from pathlib import Path
from tests.support.engine import DistanceProtocol, Listening, SmallNetwork, loaded, read_folder
from colorbench.evaluation import image_pass, requested_models_and_protocols, task_records
from colorbench.evaluation.runner import RunConfig, run
from colorbench.processes import current_launch, launch_store, work_claims
from colorbench.results import shard

rank = current_launch().rank
launch_store.EXPIRY = work_claims.EXPIRY = 5.0
launch_store.BEAT = 0.5
colorize = image_pass.colorize

def slowly(model, truth, *arguments):
    with open(Path(sys.argv[2]).parent / f"shown-{rank}", "a") as file:
        print(*truth.ids, sep="\\n", file=file)
    time.sleep(float(sys.argv[3]))
    return colorize(model, truth, *arguments)

image_pass.colorize = slowly
task_records.check_models = lambda *_: {}
shard.SHARD = 4
protocol = DistanceProtocol()
requested_models_and_protocols.get_protocol = lambda name: protocol

class Saying(Listening):
    def message(self, text):
        print(text, flush=True)

listener = Saying()
run(RunConfig([loaded(SmallNetwork())], ["distance"], read_folder(Path(sys.argv[1])), output=Path(sys.argv[2]),
    baselines=False, device="cpu", workers=1, threads=1, batch_size=3), listener)
if rank == 0:
    print("shown", listener.done, "of", listener.total, flush=True)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """21 images: five shards of four, and one of one."""
    return write_images(tmp_path_factory.mktemp("images"), 21)


class Launched:
    """A step of the stand-in for ``srun``, on two nodes that are loopback addresses."""

    def __init__(self, folder: Path, images: Dataset, ranks: int, seconds: float, step: str = "0") -> None:
        self.folder, self.output, self.pids = folder, folder / "runs", folder / f"pids-{step}"
        environment = {
            **write_programs(folder / "bin"),
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_NTASKS": str(ranks),
            "SLURM_NNODES": "2" if ranks > 1 else "1",
            "SLURM_JOB_NODELIST": "127.0.0.[2-3]",
            "FAKE_PIDS": str(self.pids),
            "FAKE_STEP": step,
        }
        data = images.samples[0].path.parent.parent
        command = ["srun", sys.executable, "-c", CHILD, str(data), str(self.output), str(seconds)]
        self.process = subprocess.Popen(
            command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def shown(self) -> list[str]:
        return [id for path in self.folder.glob("shown-*") for id in path.read_text().split()]

    def wait_until_each_works(self, ranks: int) -> None:
        end = time.monotonic() + 300
        while len(list(self.folder.glob("shown-*"))) < ranks or len(list(self.output.rglob("shards/*.npz"))) < 1:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)

    def send(self, number: signal.Signals, *ranks: int) -> None:
        pids = [int(line) for line in self.pids.read_text().split()]
        for rank in ranks or range(len(pids)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[rank], number)

    def end(self) -> tuple[int, list[str]]:
        text, _ = self.process.communicate(timeout=400)
        return self.process.returncode, text.splitlines()

    def record(self) -> tuple[Record, pd.DataFrame]:
        (path,) = self.output.rglob("record.json")
        assert not list(self.output.rglob("shards"))
        return Record.model_validate_json(path.read_text()), pd.read_parquet(path.parent / "rows.parquet")


@pytest.fixture(scope="module")
def alone(images: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of one process."""
    launched = Launched(tmp_path_factory.mktemp("alone"), images, 1, 0)
    code, lines = launched.end()
    assert (code, lines) == (0, ["shown 21 of 21"])
    assert sorted(launched.shown()) == [sample.id for sample in images.samples]
    return launched.record()[1]


@pytest.fixture
def ended() -> Iterator[list[Launched]]:
    launches: list[Launched] = []
    yield launches
    for launched in launches:
        launched.send(signal.SIGKILL)
        launched.process.communicate()


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_processes_gives_the_same_rows_and_one_progress_line(
    images: Dataset, tmp_path: Path, alone: pd.DataFrame, ranks: int
) -> None:
    launched = Launched(tmp_path, images, ranks, 0.2)
    code, lines = launched.end()
    assert (code, lines) == (0, ["shown 21 of 21"]), "rank 0 shows what all have done, and no other says a word"
    record, rows = launched.record()
    assert record.execution.processes == ranks
    assert_same_rows(rows, alone)
    assert sorted(launched.shown()) == [sample.id for sample in images.samples], "nothing is computed twice"


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_is_killed_or_stopped_costs_its_shard(
    images: Dataset, tmp_path: Path, alone: pd.DataFrame, ended: list[Launched], rank: int, how: signal.Signals
) -> None:
    launched = Launched(tmp_path, images, 2, 0.5)
    ended.append(launched)
    launched.wait_until_each_works(2)
    launched.send(how, rank)
    end = time.monotonic() + 200
    while not (records := list(launched.output.rglob("record.json"))) and time.monotonic() < end:
        time.sleep(0.1)
    assert records, "the other finishes alone"
    launched.send(signal.SIGKILL, rank)
    code, lines = launched.end()
    assert code == 9
    assert_same_rows(launched.record()[1], alone)
    told = [line for line in lines if "dead or stopped" in line or "going on with lock files" in line]
    assert len(told) == 1, lines
    again = len(launched.shown()) - 21
    assert 0 <= again <= 2 * 4, "at most the shard of the lost rank, and with the store that of the other"


def test_the_same_command_goes_on_with_another_number_of_ranks(
    images: Dataset, tmp_path: Path, alone: pd.DataFrame, ended: list[Launched]
) -> None:
    first = Launched(tmp_path, images, 3, 0.4)
    ended.append(first)
    first.wait_until_each_works(2)
    first.send(signal.SIGKILL)
    first.end()
    finished = len(list(first.output.rglob("shards/*.npz")))
    assert 1 <= finished < 6
    before = len(first.shown())
    second = Launched(tmp_path, images, 2, 0.0, step="1")
    code, lines = second.end()
    assert code == 0, lines
    assert len(second.shown()) - before <= 21 - 4 * (finished - 1) - 1
    assert_same_rows(second.record()[1], alone)
