"""The job files of docs/cluster.md, run by stand-ins for Slurm on a few small images."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from colorbench.results import Record
from tests.support.cluster import REPOSITORY, write_programs
from tests.support.engine import write_images
from tests.support.same_records import assert_same_rows

PAGE = (REPOSITORY / "docs/cluster.md").read_text()
JOBS = {
    name[1]: text
    for text in re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)
    if (name := re.search(r"^# ([\w-]+\.sh)$", text, re.M))
}
LAPTOP = re.search(r"^    (torchrun .*)$", PAGE, re.M)
# A model without weights and small images, and two processes at most.
SMALLER = {
    "zoo/cic": "zoo/gray --no-baselines",
    "-p auc": "-p fidelity --param preprocessing=squash64",
    "--nproc-per-node 4": "--nproc-per-node 2",
    "images/": "$IMAGES",
    "-o runs": "-o $RUNS",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with 130 images, three shards, and the environment of a cluster."""
    folder = tmp_path_factory.mktemp("cluster")
    write_images(folder / "images", 130, side=40)
    return folder, {**write_programs(folder / "bin"), "IMAGES": str(folder / "images")}


def rows_of(place: tuple[Path, dict[str, str]], name: str, command: list[str]) -> tuple[Record, pd.DataFrame, str]:
    folder, environment = place
    runs = folder / f"runs-{name}"
    done = subprocess.run(
        command,
        env={**environment, "RUNS": str(runs)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    (path,) = runs.rglob("record.json")
    return Record.model_validate_json(path.read_text()), pd.read_parquet(path.parent / "rows.parquet"), done.stdout


def smaller(text: str) -> str:
    for old, new in SMALLER.items():
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def alone(place: tuple[Path, dict[str, str]]) -> pd.DataFrame:
    command = (
        'colorbench run -m zoo/gray --no-baselines -p fidelity --param preprocessing=squash64 -d "$IMAGES" -o "$RUNS"'
    )
    return rows_of(place, "alone", ["bash", "-c", command])[1]


def test_the_page_has_a_job_for_each_way() -> None:
    assert list(JOBS) == ["one-node.sh", "many-nodes.sh", "array.sh", "torchrun.sh"]
    assert LAPTOP is not None


@pytest.mark.parametrize("name", [*JOBS, "laptop"])
def test_every_job_gives_the_rows_of_one_process(
    name: str, place: tuple[Path, dict[str, str]], alone: pd.DataFrame
) -> None:
    if name == "laptop":
        assert LAPTOP is not None
        command = ["bash", "-c", smaller(LAPTOP[1])]
    else:
        (place[0] / name).write_text(smaller(JOBS[name]))
        command = ["sbatch", name]
    record, rows, printed = rows_of(place, name, command)
    # The elements of an array are commands of their own.
    assert record.execution.processes == (1 if name == "array.sh" else 2)
    assert printed.count("zoo/gray · fidelity") == (2 if name == "array.sh" else 1), printed
    assert "Traceback" not in printed and "Exception" not in printed
    if "--batch-size auto" in JOBS.get(name, ""):
        assert f"--batch-size auto: batches of {record.execution.batch_size}" in printed
    assert_same_rows(rows, alone)
