"""What the tests of faults share: a process that forks runs, tiny images, and what an undisturbed run makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import write_images
from tests.support.fault_runs import RUN, Runs


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """A process that forks runs."""
    runs = Runs()
    yield runs
    runs.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three tiny images: two shards, since a shard has two images here."""
    folder = tmp_path_factory.mktemp("tiny")
    write_images(folder / "tiny", 3, 32)
    return folder / "tiny"


@pytest.fixture(scope="session")
def command(tiny: Path) -> tuple[str, ...]:
    """The arguments of the tiny run."""
    return (*RUN, "-d", str(tiny))


@pytest.fixture(scope="session")
def undisturbed(runs: Runs, command: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the record of the tiny run without any fault; for reading only."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs.run(folder, *command).done()
    (record,) = folder.rglob("record.json")
    return record.parent
