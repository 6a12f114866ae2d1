"""One tolerance holds everywhere: rows agree to 1e-5 of a metric's scale, however a run is executed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colorbench.evaluation.pending_shards import ShardJob
from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import record_folder, run
from colorbench.models import LoadedModel, load_model
from colorbench.registry import registered
from colorbench.results import read_rows
from protocols.auc import AucProtocol
from protocols.fidelity import FidelityProtocol
from tests.support.engine import Noise, loaded, read_folder, with_protocol, write_images
from tests.support.released import downloaded

pytestmark = pytest.mark.usefixtures("only_the_pass")
IMAGES = 5
TOLERANCE = 1e-5
"""Of a metric's scale: the largest value of its column, at least 100 points."""
Rows = dict[tuple[str, str], dict[str, np.ndarray]]


class Stopped(Exception):
    """Ends a run after some of its shards."""


@cache
def models() -> list[LoadedModel]:
    """Load every model of the zoo, and one that draws at random."""
    names = [
        plugin.name for plugin in registered("models") if plugin.name.startswith("zoo/") and not downloaded(plugin)
    ]
    assert len(names) >= 11
    return [*(load_model(name) for name in names), loaded(Noise())]


def measured(folder: Path, output: Path, **options: Any) -> Rows:
    """Measure all models by both protocols; return columns by model and protocol."""
    request = RunConfig(
        models=models(),
        protocols=["auc", "fidelity"],
        data=read_folder(folder),
        output=output,
        baselines=False,
        save="none",
        device="cpu",
        parameters={name: {"preprocessing": "squash64"} for name in ("auc", "fidelity")},
        **options,
    )
    records = run(request)
    assert {len(record.dataset.skipped) for record in records} == {1}
    return {
        (record.model.name, record.protocol.name): read_rows(record_folder(output, record) / "rows.parquet")[1]
        for record in records
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images, one of them unreadable."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, IMAGES)
    (folder / "a" / "001.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make several shards of a few images."""
    monkeypatch.setattr("colorbench.results.shard.SHARD", 2)
    with_protocol(monkeypatch, auc=AucProtocol(), fidelity=FidelityProtocol())


reference: Rows = {}


def in_batches_of_one(folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    return measured(folder, output, threads=1, batch_size=1)


def in_several_threads(folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    return measured(folder, output, threads=2, batch_size=2, workers=2)


def by_the_second_of_two_processes(folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    # It makes its own shards and then the other's, from the far end.
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    return measured(folder, output, threads=1, batch_size=3)


def resumed_with_another_batch_size(folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    written = []

    def stop(work: Any) -> None:
        if written:
            raise Stopped
        write(work)
        written.append(work.index)

    write = ShardJob.write
    with monkeypatch.context() as patch:
        patch.setattr(ShardJob, "write", stop)
        with pytest.raises(Stopped):
            measured(folder, output, threads=1, batch_size=2)
    assert list(output.rglob("*.npz")), "nothing was there to go on from"
    return measured(folder, output, threads=1, batch_size=1)


@pytest.mark.parametrize(
    "way",
    [
        in_batches_of_one,
        in_several_threads,
        by_the_second_of_two_processes,
        resumed_with_another_batch_size,
    ],
)
def test_rows_agree_however_a_run_is_executed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    if not reference:
        reference.update(measured(folder, tmp_path / "reference", threads=1, batch_size=4))
    found: Mapping[tuple[str, str], Mapping[str, np.ndarray]] = way(folder, tmp_path / "other", monkeypatch)
    assert set(found) == set(reference) and len(found) >= 24
    for key, columns in reference.items():
        assert set(found[key]) == set(columns)
        for name, values in columns.items():
            scale = max(100.0, float(np.nanmax(np.abs(values), initial=0.0)))
            what = f"{key} {name} {way.__name__}"
            np.testing.assert_allclose(found[key][name], values, rtol=0, atol=TOLERANCE * scale, err_msg=what)
