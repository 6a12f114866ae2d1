"""The VOC readers, on a miniature tree in the devkit's exact form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorbench.data import open_dataset
from colorbench.errors import UserError
from protocols.transfer.voc import ABSENT, CLASSES, DIFFICULT, PRESENT, devkit_root, image_set, mask, presence
from tests.support.voc import OBJECTS, write_devkit


@pytest.fixture
def year(tmp_path: Path) -> Path:
    return write_devkit(tmp_path, count=12)


def test_a_list_chooses_images(year: Path) -> None:
    dataset = open_dataset(year)
    assert devkit_root(dataset) == year
    chosen = image_set(dataset, year, "Main", "test")
    assert [sample.id for sample in chosen.samples] == [f"{i:06d}" for i in range(1, 12, 2)]
    assert chosen.name == "VOC2007-test" and chosen.class_names == CLASSES
    assert all(sample.path.suffix == ".jpg" for sample in chosen.samples)


def test_another_folder_is_no_devkit(images: Path) -> None:
    assert devkit_root(open_dataset(images)) is None


def test_several_years_are_too_many(tmp_path: Path) -> None:
    write_devkit(tmp_path, count=2)
    write_devkit(tmp_path, count=2, year="VOC2012")
    with pytest.raises(UserError, match="several years: VOC2007, VOC2012"):
        devkit_root(open_dataset(tmp_path))


def test_what_is_on_a_image(year: Path) -> None:
    found = presence(year, ["000000", "000001", "000002"])
    for row, objects in zip(found, OBJECTS[:3], strict=True):
        easy = {name for name, difficult in objects if not difficult}
        hard = {name for name, difficult in objects if difficult} - easy
        expected = [PRESENT if name in easy else DIFFICULT if name in hard else ABSENT for name in CLASSES]
        assert row.tolist() == expected
    assert DIFFICULT in found and (found == PRESENT).any()


def test_a_mask_holds_classes_and_void(year: Path) -> None:
    labels = mask(year, "000000")
    assert labels.dtype == np.uint8 and set(np.unique(labels)) == {0, 1 + CLASSES.index("person"), 255}


def test_a_mask_in_colors_is_refused(year: Path) -> None:
    path = year / "SegmentationClass" / "000000.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(UserError, match="palette"):
        mask(year, "000000")


def test_what_is_missing_is_named(year: Path) -> None:
    dataset = open_dataset(year)
    with pytest.raises(UserError, match="no list 'val'.*There are: test, trainval"):
        image_set(dataset, year, "Main", "val")
    (year / "Annotations" / "000001.xml").unlink()
    with pytest.raises(UserError, match="annotation is missing"):
        presence(year, ["000001"])
    (year / "Annotations" / "000002.xml").write_text("<annotation><object>")
    with pytest.raises(UserError, match="damaged"):
        presence(year, ["000002"])
    (year / "JPEGImages" / "000003.jpg").unlink()
    with pytest.raises(UserError, match="1 of 6 listed images do not exist, the first: 000003.jpg"):
        image_set(open_dataset(year), year, "Main", "test")
