"""A probe and a transfer whose cached files are damaged: each is named, and the numbers are the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from colorbench.data import Dataset
from colorbench.evaluation import run
from colorbench.results import Record
from tests.support.engine import Listening, loaded
from tests.support.hostile_files import flip
from tests.support.probe import Blocks, request, write_classes

PARAMETERS: dict[str, dict[str, Any]] = {
    "linear-probe": {"dims": 60, "strengths": "1"},
    "transfer-classification": {"epochs": 1, "batch": 8, "dims": 60},
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    folder = tmp_path_factory.mktemp("classes")
    return write_classes(folder / "train", 4), write_classes(folder / "test", 4, first=20)


def measured(protocol: str, sets: tuple[Dataset, Dataset], output: Path) -> tuple[Record, list[str]]:
    listener = Listening()
    asked = request(loaded(Blocks().eval()), protocol, *sets, output, parameters=PARAMETERS[protocol])
    (record,) = run(asked, listener)
    return record, listener.messages


@pytest.mark.parametrize("protocol", PARAMETERS)
def test_damaged_caches_are_named_and_made_again(protocol: str, sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first, _ = measured(protocol, sets, tmp_path)
    files = [path for path in (tmp_path / ".cache").rglob("*") if path.is_file() and path.stat().st_size > 100]
    named = [path for path in files if path.suffix != ".json"]  # without an index, no matrix is read
    assert {path.suffix for path in named} >= ({".npz", ".float32"} if "probe" in protocol else {".pt"})
    for path in named:
        flip(path, 0.4)
    for folder in [path for path in tmp_path.iterdir() if path.name != ".cache"]:
        shutil.rmtree(folder)
    again, said = measured(protocol, sets, tmp_path)
    assert [path for path in named if not any(str(path) in line for line in said)] == []
    assert (again.metrics, again.files) == (first.metrics, first.files)
