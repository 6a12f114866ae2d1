"""A finished run is shown again, whatever became of the disk or a neighbor; a failed one leaves nothing behind."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from colorbench.data import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation.runner import record_folder
from colorbench.results import Record
from colorbench.verification import verify
from tests.support.engine import DistanceProtocol, Flat, Listening, evaluate, loaded, with_baselines, with_protocol


@pytest.fixture(autouse=True)
def protocol(monkeypatch: pytest.MonkeyPatch) -> DistanceProtocol:
    protocol = DistanceProtocol()
    with_protocol(monkeypatch, distance=protocol)
    with_baselines(monkeypatch)
    monkeypatch.setattr("colorbench.results.shard.SHARD", 16)
    return protocol


def measured(dataset: Dataset, output: Path, model: Any = None, listener: Any = None, **changes: Any) -> list[Record]:
    changes = {"workers": 0, **changes}
    return evaluate(dataset, output, Flat((10, 10)) if model is None else model, listener=listener, **changes)


def read_only(patch: pytest.MonkeyPatch) -> None:
    """Refuse whatever writes, as a disk that is mounted read-only does."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "replace", "rename", "unlink", "rmdir", "link"):
        patch.setattr(os, name, refuse)
    patch.setattr("tempfile.TemporaryFile", refuse)


def test_a_finished_run_is_shown_from_a_read_only_folder(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = measured(crops, tmp_path)
    model = Flat((10, 10))
    with monkeypatch.context() as patch:
        read_only(patch)
        assert measured(crops, tmp_path, model) == [record]
        assert model.ids == []
        with pytest.raises(UserError, match="cannot write: Read-only file system"):
            measured(crops, tmp_path, parameters={"distance": {"free": 2}})


@pytest.mark.parametrize("damage", ["cut", "empty", "folder of that name"])
def test_a_record_that_cannot_be_read_is_set_aside_and_made_again(crops: Dataset, tmp_path: Path, damage: str) -> None:
    (record,) = measured(crops, tmp_path)
    path = record_folder(tmp_path, record) / "record.json"
    text = path.read_text()
    path.unlink()
    if damage == "folder of that name":
        path.mkdir()
    else:
        path.write_text(text[: {"cut": 300, "empty": 0}[damage]])
    listener = Listening()
    (again,) = measured(crops, tmp_path, listener=listener)
    assert again.metrics == record.metrics
    assert any("the run starts over" in message for message in listener.messages)
    assert len(list(path.parent.glob("record.damaged-*"))) == 1, "what was there is kept"


def test_a_damaged_baseline_does_not_end_a_finished_run(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = measured(crops, tmp_path, baselines=True)
    gray = record_folder(tmp_path, records[1])
    (gray / "record.json").write_text("{")
    with_baselines(monkeypatch)  # fresh ones: what a model remembers is part of its fingerprint
    again = measured(crops, tmp_path, baselines=True)
    assert again[0] == records[0]
    assert again[1].metrics == records[1].metrics


def test_rows_of_a_baseline_that_cannot_be_read_are_made_again(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = measured(crops, tmp_path, baselines=True)
    rows = record_folder(tmp_path, records[1]) / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:100])
    with_baselines(monkeypatch)
    other = loaded(Flat((30, 5)), "test/other")
    listener = Listening()
    measured(crops, tmp_path, other, listener, baselines=True)
    assert any(f"{rows} is damaged" in message for message in listener.messages)
    assert len(list(rows.parent.glob("rows.damaged-*"))) == 1


class Failing(Flat):
    """Fails at its first batch, or after some."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def colorize_batch(self, inputs: Any) -> Any:
        if len(self.ids) >= self.after:
            raise ValueError("no more")
        return super().colorize_batch(inputs)


def test_a_run_that_fails_before_its_first_shard_leaves_no_folder(crops: Dataset, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    with pytest.raises(UserError, match="unknown preprocessing '256'"):
        measured(crops, output, parameters={"distance": {"preprocessing": "256"}}, baselines=True)
    assert list(output.iterdir()) == []
    with pytest.raises(RunError, match="no more"):
        measured(crops, output, Failing(0), baselines=True)
    assert list(output.iterdir()) == []


def test_what_was_made_before_a_failure_stays(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measured(crops, tmp_path)
    with pytest.raises(RunError, match="no more"):
        measured(crops, tmp_path, Failing(32), parameters={"distance": {"free": 1}}, batch_size=8)
    assert len(list(tmp_path.rglob("*.npz"))) >= 1, "finished shards are kept"
    assert record_folder(tmp_path, record).joinpath("record.json").is_file()


def test_saved_images_that_a_power_cut_emptied_are_made_again(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shards reached the disk, the images beside them did not: they are there, and empty, cut or full of zeros."""

    class Cut(Exception):
        pass

    def cut(*_: Any) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(import_module("colorbench.evaluation.task_records"), "_record", cut)
        with pytest.raises(Cut):
            measured(crops, tmp_path, save="predictions")
    predictions = sorted(tmp_path.rglob("predictions/**/*.png"))
    thumbnails = sorted(tmp_path.rglob("thumbnails/*.webp"))
    assert len(predictions) == 40 and len(thumbnails) == 72
    for path in (predictions[0], thumbnails[0]):
        path.write_bytes(b"")
    for path in (predictions[1], thumbnails[1]):
        path.write_bytes(path.read_bytes()[:60])
    for path in (predictions[2], thumbnails[2]):
        path.write_bytes(bytes(path.stat().st_size))
    predictions[3].unlink()
    damaged = bytearray(predictions[4].read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    predictions[4].write_bytes(damaged)
    model = Flat((10, 10))
    (record,) = measured(crops, tmp_path, model, save="predictions")
    assert len(set(model.ids)) < 20, "only those, and the best and worst"
    assert all(path.stat().st_size > 60 for path in predictions)
    kept = [path for path in record_folder(tmp_path, record).joinpath("thumbnails").iterdir() if path.suffix == ".webp"]
    assert len(kept) >= 72 and all(path.stat().st_size > 60 for path in kept)
    outcomes = {check.name: check.outcome for check in verify(record_folder(tmp_path, record)).checks}
    assert (outcomes["saved images"], outcomes["predictions"]) == ("holds", "holds")
