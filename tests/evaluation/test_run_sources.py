"""Runs on tar files and Parquet files: the rows of the folder, reuse, resuming, and a file that changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from colorbench.data import Dataset, get_preprocessing, images_refused, load_batches, open_dataset
from colorbench.errors import RunError
from colorbench.evaluation.runner import record_folder
from tests.support.containers import files_of, write_parquet, write_tar
from tests.support.engine import DistanceProtocol, Flat, Listening, Noise, evaluate, with_protocol, write_images

pytestmark = pytest.mark.usefixtures("only_the_pass")


@pytest.fixture(autouse=True)
def distance(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = DistanceProtocol()
    with_protocol(monkeypatch, distance=protocol)
    monkeypatch.setattr("colorbench.results.shard.SHARD", 4)


def one_tar(folder: Path, target: Path) -> Path:
    return write_tar(target / "set.tar", files_of(folder))


def two_tars(folder: Path, target: Path) -> Path:
    pairs = list(files_of(folder).items())
    write_tar(target / "set" / "x-0.tar", pairs[::2])
    write_tar(target / "set" / "x-1.tar", pairs[1::2])
    return target / "set"


def parquet(folder: Path, target: Path) -> Path:
    return write_parquet(target / "set.parquet", files_of(folder))


SOURCES = (one_tar, two_tars, parquet)


def rows(output: Path, dataset: Dataset) -> dict[str, float]:
    """Content of an image -> its score."""
    (record,) = evaluate(dataset, output, Noise())
    table = pd.read_parquet(record_folder(output, record) / "rows.parquet")
    return dict(zip(table["sha256"], table["distance"], strict=True))


@pytest.mark.parametrize("write", SOURCES)
def test_rows_equal_those_of_the_folder(tmp_path: Path, write: Callable[[Path, Path], Path]) -> None:
    plain = write_images(tmp_path / "plain", 10)
    expected = rows(tmp_path / "a", plain)
    found = rows(tmp_path / "b", open_dataset(write(tmp_path / "plain", tmp_path)))
    assert found == pytest.approx(expected, abs=1e-5) and len(found) == 10


@pytest.mark.parametrize("write", SOURCES)
def test_a_record_is_reused_until_the_content_changes(tmp_path: Path, write: Callable[[Path, Path], Path]) -> None:
    write_images(tmp_path / "plain", 10)
    path = write(tmp_path / "plain", tmp_path)
    listener = Listening()
    (first,) = evaluate(open_dataset(path), tmp_path / "out", Flat())
    (again,) = evaluate(open_dataset(path), tmp_path / "out", Flat(), listener=listener)
    assert again.key == first.key and any("reused" in message for message in listener.messages)
    # Written again with equal contents: contents are compared, and the record is reused.
    file = open_dataset(path).samples[0].path
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(1, 1))
    listener = Listening()
    (same,) = evaluate(open_dataset(path), tmp_path / "out", Flat(), listener=listener)
    assert same.key == first.key and any("comparing the contents" in message for message in listener.messages)
    # One byte of one image, and every size and time as before.
    content, status, image = file.read_bytes(), file.stat(), open_dataset(path).samples[0].read()
    middle = len(image) // 2
    changed = image[:middle] + bytes([image[middle] ^ 1]) + image[middle + 1 :]
    file.write_bytes(content.replace(image, changed))  # a Parquet file also states the smallest and largest value
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    (other,) = evaluate(open_dataset(path), tmp_path / "out", Flat())
    assert other.key != first.key and other.dataset.fingerprint != first.dataset.fingerprint


@pytest.mark.parametrize("write", SOURCES)
def test_a_file_that_changes_during_a_run_ends_it_and_the_same_command_resumes(
    tmp_path: Path, write: Callable[[Path, Path], Path]
) -> None:
    write_images(tmp_path / "plain", 12)
    path = write(tmp_path / "plain", tmp_path)
    dataset = open_dataset(path)

    class Touching(Listening):
        def advanced(self, n: int, images_per_second: float) -> None:
            super().advanced(n, images_per_second)
            os.utime(dataset.samples[-1].path, ns=(5, 5))

    with pytest.raises(RunError, match="changed after its images were listed"):
        evaluate(dataset, tmp_path / "out", Flat(), listener=Touching(), batch_size=1, workers=0)
    finished = len(list((tmp_path / "out").rglob("shards/*.npz")))
    listener = Listening()
    (record,) = evaluate(open_dataset(path), tmp_path / "out", Flat(), listener=listener, batch_size=1)
    assert record.dataset.n_evaluated == 12
    # Finished shards were kept: only the others were evaluated.
    assert listener.total == 12 - 4 * finished


@pytest.mark.parametrize("write", SOURCES)
def test_a_model_cannot_read_the_file_with_the_images(tmp_path: Path, write: Callable[[Path, Path], Path]) -> None:
    write_images(tmp_path / "plain", 6)
    dataset = open_dataset(write(tmp_path / "plain", tmp_path))
    paths = {sample.path for sample in dataset.samples}
    with images_refused(dataset.samples) as refused:
        for path in paths:
            with pytest.raises(PermissionError):
                path.read_bytes()
    assert len(refused) == len(paths)


def test_a_member_that_is_no_image_costs_only_itself(tmp_path: Path) -> None:
    write_images(tmp_path / "plain", 6)
    tar = write_tar(tmp_path / "set.tar", {**files_of(tmp_path / "plain"), "a/broken.jpg": b"\xff\xd8\xff no image"})
    (record,) = evaluate(open_dataset(tar), tmp_path / "out", Flat())
    assert record.dataset.n_evaluated == 6 and [one.id for one in record.dataset.skipped] == ["a/broken.jpg"]


def test_threads_read_one_parquet_file_at_the_same_time(tmp_path: Path) -> None:
    plain = write_images(tmp_path / "plain", 40)
    dataset = open_dataset(parquet(tmp_path / "plain", tmp_path))
    batches = load_batches(dataset.samples, get_preprocessing("native"), batch_size=8, workers=8)
    found = [sha256 for batch in batches for sha256 in batch.sha256s]
    assert found == [sample.sha256() for sample in plain.samples]
