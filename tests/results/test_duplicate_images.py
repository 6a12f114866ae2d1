"""Copies of an image count once: for n, intervals, differences, tests, curves and boards; and they are told."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colorbench.data import Dataset, open_dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import RunConfig, record_folder, run
from colorbench.results.duplicate_images import copy_notes, first_positions, without_copies
from colorbench.results.record import Record
from colorbench.results.record_comparison import compare
from colorbench.results.record_loading import load_run
from colorbench.results.shard import Shard
from colorbench.verification import verify
from tests.support.engine import (
    DistanceProtocol,
    Noise,
    SmallNetwork,
    loaded,
    read_folder,
    with_baselines,
    with_protocol,
    write_images,
)
from tests.support.probe import Blocks, request, write_classes
from tests.support.records import edit_rows, measure


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """40 different images."""
    return write_images(tmp_path_factory.mktemp("plain"), 40)


@pytest.fixture(scope="module")
def copied(plain: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same with one image 70 times more, under other names, and another once more in another folder."""
    root = tmp_path_factory.mktemp("copied")
    for sample in plain.samples:
        (root / sample.id).parent.mkdir(exist_ok=True)
        shutil.copy(sample.path, root / sample.id)
    for i in range(70):
        shutil.copy(plain.samples[4].path, root / "b" / f"copy of image {i}.jpg")
    (root / "c").mkdir()
    shutil.copy(plain.samples[30].path, root / "c" / "again.jpg")
    return read_folder(root)


def under(protocol: str, dataset: Dataset, output: Path, model: Any, **changes: Any) -> list[Record]:
    values: dict[str, Any] = {"baselines": True, "save": "predictions", "device": "cpu", "workers": 1, **changes}
    given = model if hasattr(model, "full_name") else loaded(model)
    return run(RunConfig(models=[given], protocols=[protocol], data=dataset, output=output, **values))


def numbers(record: Record) -> dict[str, Any]:
    """All that a copy must not change."""
    data = record.dataset
    return {
        "metrics": record.metrics,
        "differences": record.differences,
        "curves": record.curves,
        "n": (data.n, data.n_evaluated, data.n_gray, data.skipped),
        "fingerprint": data.fingerprint,
        "notes": [note for note in record.notes if "cop" not in note],
    }


@given(st.lists(st.sampled_from("abcde"), max_size=12))
def test_the_first_file_of_a_content_counts(contents: list[str]) -> None:
    n = len(contents)
    rows = Shard(
        ids=tuple(f"{i}.jpg" for i in range(n)),
        sha256s=tuple(contents),
        labels=tuple(range(n)),
        gray=(False,) * n,
        sizes=((1, 1),) * n,
        columns={"x": np.arange(n, dtype=float)},
        arrays={"y": np.arange(2 * n).reshape(n, 2)},
    )
    distinct = without_copies(rows)
    expected = [i for i in range(n) if contents[i] not in contents[:i]]
    assert first_positions(contents).tolist() == expected
    assert distinct.labels == tuple(expected)
    assert distinct.columns["x"].tolist() == expected
    assert distinct.arrays["y"][:, 0].tolist() == [2 * i for i in expected]
    assert {copy.id for copy in distinct.copies} | set(distinct.ids) == set(rows.ids)
    assert all(contents[int(copy.of[:-4])] == contents[int(copy.id[:-4])] for copy in distinct.copies)
    assert bool(copy_notes(distinct)) == (len(expected) < n)


@pytest.mark.parametrize("protocol", ["distance", "auc", "auc-of-the-set"])
def test_a_set_and_the_set_with_copies_give_the_same_numbers(
    plain: Dataset, copied: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    with_baselines(monkeypatch)
    changes: dict[str, Any] = {
        "parameters": {protocol.partition("-")[0]: {"preprocessing": "squash32"}},
        "save": "none",
    }
    if protocol == "distance":
        with_protocol(monkeypatch, distance=DistanceProtocol())
    if protocol == "auc-of-the-set":
        changes["parameters"]["auc"]["prior"] = "dataset"
    name = protocol.partition("-")[0]
    one = under(name, plain, tmp_path / "plain", SmallNetwork(), **changes)
    other = under(name, copied, tmp_path / "copied", SmallNetwork(), **changes)
    assert [numbers(record) for record in other] == [numbers(record) for record in one]
    candidate = other[0]
    assert candidate.dataset.n == candidate.dataset.n_evaluated == 40
    assert len(candidate.dataset.copies) == 71
    assert {(copy.id, copy.of) for copy in candidate.dataset.copies} >= {("c/again.jpg", plain.samples[30].id)}
    assert "71 of 111 images are copies of others (same content): each distinct image counts once" in candidate.notes
    assert not any("cop" in note for note in one[0].notes)
    assert one[0].dataset.copies == []
    table = pyarrow.parquet.read_table(record_folder(tmp_path / "copied", candidate) / "rows.parquet")
    assert table["id"].to_pylist() == [sample.id for sample in plain.samples]


def test_everybody_agrees_on_records_of_sets_with_copies(plain: Dataset, copied: Dataset, tmp_path: Path) -> None:
    """``verify`` holds; ``compare`` gives the tests of the set without copies, and pairs records of both sets."""
    models = ["zoo/gray", "zoo/constant"]
    one = measure(tmp_path / "plain", plain, models)
    other = measure(tmp_path / "copied", copied, models)
    for folder in other.values():
        found = verify(folder, images=copied)
        assert found.holds, [check for check in found.checks if check.outcome == "fails"]
    first = compare([load_run(one[name]) for name in models])
    second = compare([load_run(other[name]) for name in models])
    assert second.n == 40
    assert second.tests == first.tests
    mixed = compare([load_run(one["zoo/gray"]), load_run(other["zoo/constant"])])
    assert mixed.tests == first.tests


def test_every_file_keeps_its_prediction_and_the_gallery_shows_distinct_images(
    plain: Dataset, copied: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    (record,) = under("distance", copied, tmp_path / "copied", Noise(), baselines=False)
    (other,) = under("distance", plain, tmp_path / "plain", Noise(), baselines=False, save="gallery")
    folder = record_folder(tmp_path / "copied", record)
    listed = (folder / "predictions.sha256").read_text().splitlines()
    assert len(listed) == len(list((folder / "predictions").rglob("*.png"))) == 111
    assert record.files.saved_images.keys() - {"predictions.sha256"} == other.files.saved_images.keys()
    kept = {path.name for path in (folder / "thumbnails").iterdir()}
    assert kept == {name.removeprefix("thumbnails/") for name in record.files.saved_images if "/" in name}


def test_copies_with_other_labels_are_told(
    plain: Dataset, copied: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    labels = {"c/again.jpg": 1}
    labeled = [replace(sample, label=labels.get(sample.id, 0)) for sample in copied.samples]
    dataset = replace(copied, samples=tuple(labeled), class_names=("a", "b"))
    (record,) = under("distance", dataset, tmp_path, Noise(), baselines=False, save="none")
    assert any("1 of these copies have a different label" in note and "c/again.jpg" in note for note in record.notes)


@pytest.mark.parametrize("protocol", ["linear-probe", "transfer-classification"])
def test_probes_and_transfer_count_an_image_once_and_tell_of_copies_in_both_sets(tmp_path: Path, protocol: str) -> None:
    write_classes(tmp_path / "train", 12)
    test = write_classes(tmp_path / "test", 12, first=20)
    shutil.copy(tmp_path / "test" / "coffee" / "022.png", tmp_path / "train" / "coffee" / "of the test set.png")
    train = open_dataset(tmp_path / "train")
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "test", again)
    for i in range(40):
        shutil.copy(again / "coffee" / "025.png", again / "coffee" / f"z{i}.png")
    fast: dict[str, Any] = {"dims": 40}
    fast |= {"epochs": 2, "batch": 8} if protocol == "transfer-classification" else {"controls": "", "strengths": "1"}

    def measured(data: Dataset, output: Path) -> Record:
        (record,) = run(request(loaded(Blocks().eval()), protocol, train, data, output, parameters=fast))
        return record

    one, other = measured(test, tmp_path / "one"), measured(open_dataset(again), tmp_path / "other")
    assert numbers(other) == numbers(one)
    assert other.dataset.n == 36 and len(other.dataset.copies) == 40
    assert "40 of 76 images are copies of others (same content): each distinct image counts once" in other.notes
    assert verify(record_folder(tmp_path / "other", other)).holds == verify(record_folder(tmp_path / "one", one)).holds
    assert any("1 test images are also in the training set" in note for note in other.notes)


def test_a_dataset_protocol_that_counts_copies_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from protocols.linear_probe import fit_probes
    from tests.support.probe import CLASSES

    monkeypatch.setattr(fit_probes.FeatureStore, "without_copies", lambda stored: stored)
    train, test = write_classes(tmp_path / "train", 12), write_classes(tmp_path / "test", 12, first=20)
    shutil.copy(tmp_path / "test" / CLASSES[0] / "025.png", tmp_path / "test" / CLASSES[0] / "again.png")
    asked = request(
        loaded(Blocks().eval()),
        "linear-probe",
        train,
        open_dataset(tmp_path / "test"),
        tmp_path / "runs",
        parameters={"dims": 40, "controls": "", "strengths": "1"},
    )
    with pytest.raises(RunError, match="linear-probe counts copies of an image as images"):
        run(asked)
    assert len(test) == 36


def test_stored_rows_with_an_image_twice_are_refused(plain: Dataset, tmp_path: Path) -> None:
    """Of a record of an older version, or of a stranger who repeats rows to make an interval shorter."""
    folder = measure(tmp_path, plain, ["zoo/gray"])["zoo/gray"]
    edit_rows(folder, lambda columns: columns["sha256"].__setitem__(3, columns["sha256"][4]))
    with pytest.raises(UserError, match="an image occurs twice"):
        load_run(folder)
    assert not verify(folder).holds
