"""The checks of a dataset: a good one passes, and each check has a dataset that fails it alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorbench.data import Dataset, Sample, open_dataset
from colorbench.errors import UserError
from colorbench.testing import check_dataset, fake_dataset
from colorbench.testing import dataset_checks as module

CLASSES = ("cat", "dog")


def failures(source: str | Path | Dataset) -> list[str]:
    return [finding.name for finding in check_dataset(source).failures]


def empty(folder: Path) -> Path:
    (folder / "nothing").mkdir(parents=True)
    return folder / "nothing"


def missing(folder: Path) -> str:
    return str(folder / "not-there")


def unsorted(folder: Path) -> Dataset:
    data = fake_dataset(folder)
    return replace(data, samples=data.samples[::-1])


def absolute(folder: Path) -> Dataset:
    data = fake_dataset(folder)
    return replace(data, samples=tuple(replace(one, id=str(one.path)) for one in data.samples))


def other_case(folder: Path) -> Path:
    fake_dataset(folder)
    shutil.copy(folder / "000.png", folder / "A.png")
    shutil.copy(folder / "001.png", folder / "a.png")
    return folder


def other_suffix(folder: Path) -> Path:
    fake_dataset(folder)
    Image.open(folder / "001.png").save(folder / "000.jpg")
    return folder


def twice(folder: Path) -> Dataset:
    data = fake_dataset(folder)
    return replace(data, samples=(data.samples[0], *data.samples))


def some_labels(folder: Path) -> Dataset:
    data = fake_dataset(folder, 2, classes=CLASSES)
    return replace(data, samples=(replace(data.samples[0], label=None), *data.samples[1:]))


def unnamed_classes(folder: Path) -> Dataset:
    return replace(fake_dataset(folder, 2, classes=CLASSES), class_names=None)


def label_beyond(folder: Path) -> Dataset:
    return replace(fake_dataset(folder, 2, classes=CLASSES), class_names=("cat",))


def empty_class(folder: Path) -> Dataset:
    return replace(fake_dataset(folder, 2, classes=CLASSES), class_names=("cat", "dog", "horse"))


def same_names(folder: Path) -> Dataset:
    return replace(fake_dataset(folder, 2, classes=CLASSES), class_names=("cat", "cat"))


def truncated(folder: Path) -> Path:
    fake_dataset(folder)
    (folder / "003.png").write_bytes((folder / "003.png").read_bytes()[:200])
    return folder


def text_file(folder: Path) -> Path:
    fake_dataset(folder)
    (folder / "page.jpg").write_text("<html>")
    return folder


def gone(folder: Path) -> Dataset:
    data = fake_dataset(folder)
    os.unlink(folder / "002.png")
    return data


def png_as_jpg(folder: Path) -> Path:
    fake_dataset(folder)
    (folder / "000.png").rename(folder / "000.jpg")
    return folder


def jpg_as_webp(folder: Path) -> Path:
    fake_dataset(folder)
    Image.open(folder / "000.png").save(folder / "zero.webp", "JPEG")
    return folder


def thumbnails(folder: Path) -> Path:
    fake_dataset(folder, size=(31, 64))
    return folder


def gray_ones(folder: Path) -> Path:
    fake_dataset(folder)
    for path in sorted(folder.glob("*.png"))[:4]:
        Image.open(path).convert("L").save(path)
    return folder


def two_labels(folder: Path) -> Path:
    fake_dataset(folder, 2, classes=CLASSES)
    shutil.copy(folder / "cat" / "000.png", folder / "dog" / "copy.png")
    return folder


def phone(folder: Path) -> Path:
    fake_dataset(folder)
    (folder / "IMG_0001.heic").write_bytes(b"0000ftypheic")
    return folder


def of_unknown_origin(folder: Path) -> Dataset:
    return replace(fake_dataset(folder), redistributable=True, source="")


BROKEN: list[tuple[str, Callable[[Path], str | Path | Dataset]]] = [
    ("opens", empty),
    ("opens", missing),
    ("names", unsorted),
    ("names", absolute),
    ("names", other_case),
    ("names", other_suffix),
    ("names", twice),
    ("labels", some_labels),
    ("labels", unnamed_classes),
    ("labels", label_beyond),
    ("labels", empty_class),
    ("labels", same_names),
    ("readable", truncated),
    ("readable", text_file),
    ("readable", gone),
    ("formats", png_as_jpg),
    ("formats", jpg_as_webp),
    ("sizes", thumbnails),
    ("gray", gray_ones),
    ("copies", two_labels),
    ("ignored", phone),
    ("license", of_unknown_origin),
]


@pytest.mark.parametrize(("check", "make"), BROKEN, ids=[make.__name__ for _, make in BROKEN])
def test_each_check_fails_alone_for_a_dataset_with_its_fault(
    check: str, make: Callable[[Path], str | Path | Dataset], tmp_path: Path
) -> None:
    if check == "ignored" and module.PLUGINS.get(".heic") is None:
        pytest.skip("HEIC is read here")
    report = check_dataset(make(tmp_path / "images"))
    assert [finding.name for finding in report.failures] == [check], str(report)
    assert report.failures[0].hint


def test_good_datasets_pass(tmp_path: Path) -> None:
    labeled = fake_dataset(tmp_path / "labeled", 3, classes=CLASSES)
    assert {finding.outcome for finding in check_dataset(labeled).findings if finding.name != "license"} == {"passed"}
    check_dataset("samples").raise_for_failures()
    check_dataset(tmp_path / "labeled").raise_for_failures()
    details = {finding.name: finding.detail for finding in check_dataset("samples").findings}
    assert details["opens"].endswith("a run gives no intervals and no ranks")
    assert details["labels"] == "it has no classes"


def test_copies_of_one_class_and_other_files_are_told_and_no_fault(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    shutil.copy(tmp_path / "000.png", tmp_path / "copy.png")
    (tmp_path / "notes.txt").write_text("hello")
    report = check_dataset(tmp_path)
    assert report.passed
    details = {finding.name: finding.detail for finding in report.findings}
    assert details["copies"].startswith("copies of other images: 1")
    assert details["ignored"] == "1 other file was ignored: 1 .txt"


def test_a_large_set_is_decoded_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    details = {finding.name: finding.detail for finding in check_dataset(fake_dataset(tmp_path)).findings}
    assert details["readable"] == "4 of 6 images decoded"


def test_every_check_is_seen_to_fail() -> None:
    assert [check.name for check in module.CHECKS] == list(dict.fromkeys(check for check, _ in BROKEN))


def test_fake_datasets_are_colorful_different_and_always_the_same(tmp_path: Path) -> None:
    one, other = fake_dataset(tmp_path / "a", 4), fake_dataset(tmp_path / "b", 4, first=4)
    pixels = [np.asarray(Image.open(sample.path)) for data in (one, other) for sample in data.samples]
    assert all(image.shape == (64, 64, 3) for image in pixels)
    assert len({image.tobytes() for image in pixels}) == 8
    again = fake_dataset(tmp_path / "c", 4)
    assert [sample.path.read_bytes() for sample in again.samples] == [
        sample.path.read_bytes() for sample in one.samples
    ]


def test_a_folder_is_opened_as_data_is(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        open_dataset(tmp_path / "nowhere")
    assert failures(tmp_path / "nowhere") == ["opens"]
    assert isinstance(fake_dataset(tmp_path).samples[0], Sample)
