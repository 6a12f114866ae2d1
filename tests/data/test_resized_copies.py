"""Resized copies: what they hold, that they say what they are, and that they never pass for the originals."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorbench.data import Dataset, decode_image, get_preprocessing, resized_copy_writer
from colorbench.data.resized_copies import FILE
from colorbench.data.resized_copy_writer import write_copy
from colorbench.data.sources import open_dataset
from colorbench.errors import UserError
from tests.support.containers import files_of, write_tar

RunCommand = Callable[..., subprocess.CompletedProcess[str]]


def copied(dataset: Dataset, output: Path, short_side: int = 32) -> Dataset:
    assert write_copy(dataset, output, short_side, workers=1, advanced=lambda n: None) == []
    return open_dataset(output)


def test_a_copy_says_what_it_is_and_center_crops_are_the_same(images: Path, tmp_path: Path) -> None:
    original = open_dataset(images)
    copy = copied(original, tmp_path / "small")
    assert [sample.id for sample in copy.samples] == ["animals/chelsea.bmp", "astronaut.bmp", "coffee.bmp"]
    assert copy.name == f"{original.name}-short32"
    assert copy.source == f"resized copy (short side at most 32 pixels) of {original.name}: {original.source}"
    assert copy.remarks == (
        "resized copy, short side at most 32 pixels: its scores are not those of the original images",
    )
    crop = get_preprocessing("center32")
    for one, other in zip(copy.samples, original.samples, strict=True):
        small, large = decode_image(one), decode_image(other)
        assert small.rgb.shape == (32, 48, 3) and large.rgb.shape == (64, 96, 3)
        assert (crop.apply(small.rgb) == crop.apply(large.rgb)).all()
        assert small.sha256 != large.sha256  # no pairs with the originals


def test_smaller_images_keep_their_pixels(images: Path, tmp_path: Path) -> None:
    copy, original = copied(open_dataset(images), tmp_path / "same", 200), open_dataset(images)
    for one, other in zip(copy.samples, original.samples, strict=True):
        assert (decode_image(one).rgb == decode_image(other).rgb).all()


def test_classes_are_kept_from_folders_tables_and_tar_files(images: Path, tmp_path: Path) -> None:
    content = files_of(images)["coffee.jpg"]
    members = {"b/1.jpg": content, "a/2.jpg": content, "b/3.jpg": content}
    for name, image in members.items():
        (tmp_path / "folders" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folders" / name).write_bytes(image)
    classes = {"b/1.cls": b"3", "a/2.cls": b"1", "b/3.cls": b"3"}
    table = tmp_path / "table.csv"
    table.write_text("file,class_index,synset\n1.jpg,5,x\n2.jpg,0,y\n3.jpg,5,x\n")
    for number, original in enumerate(
        (
            open_dataset(tmp_path / "folders"),
            open_dataset(write_tar(tmp_path / "set.tar", {**members, **classes})),
            open_dataset(tmp_path / "folders", labels=table),
        )
    ):
        copy = copied(original, tmp_path / f"copy{number}")
        assert copy.class_names == original.class_names and copy.class_names is not None
        assert [sample.label for sample in copy.samples] == [sample.label for sample in original.samples]
        assert (tmp_path / f"copy{number}" / "labels.csv").exists() == (number > 0)


def test_a_part_a_list_and_a_named_set_of_a_copy_are_marked_too(images: Path, tmp_path: Path) -> None:
    copied(open_dataset(images), tmp_path / "small")
    part = open_dataset(tmp_path / "small" / "animals")
    assert part.name == "animals-short32" and part.source.startswith("resized copy")
    listed = tmp_path / "few.txt"
    listed.write_text("coffee.bmp\n")
    assert open_dataset(tmp_path / "small", list_file=listed).name == "small-few-short32"


def test_an_interrupted_copy_is_refused_until_the_same_command_finishes_it(images: Path, tmp_path: Path) -> None:
    dataset, output = open_dataset(images), tmp_path / "small"

    class Interrupted(Exception):
        pass

    def interrupt(n: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        write_copy(dataset, output, 32, workers=0, advanced=interrupt)
    with pytest.raises(UserError, match="this resized copy is not finished"):
        open_dataset(output)
    (first,) = output.rglob("*.bmp")
    before = first.stat().st_mtime_ns
    assert len(copied(dataset, output)) == 3 and first.stat().st_mtime_ns == before
    with pytest.raises(UserError, match="this is a copy of other images"):
        copied(dataset, output, 16)
    with pytest.raises(UserError, match="a resized copy already"):
        copied(open_dataset(output), tmp_path / "again")
    with pytest.raises(UserError, match="this folder is not empty"):
        copied(dataset, tmp_path)
    with pytest.raises(UserError, match="the output lies within the dataset"):
        copied(dataset, images / "copy")


def test_an_output_that_cannot_be_used_is_refused_before_the_files_are_listed(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(dataset: Dataset) -> str:
        raise AssertionError("the files were listed")

    monkeypatch.setattr(resized_copy_writer, "stamps_digest", listed)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a.txt").write_text("")
    for output, message in ((tmp_path / "used", "this folder is not empty"), (images / "copy", "within the dataset")):
        with pytest.raises(UserError, match=message):
            copied(open_dataset(images), output)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "other"}', "[" * 100_000])
def test_a_damaged_note_is_one_line_and_never_the_original(images: Path, tmp_path: Path, text: str) -> None:
    copied(open_dataset(images), tmp_path / "small")
    (tmp_path / "small" / FILE).write_text(text)
    with pytest.raises(UserError, match="the note of this resized copy is damaged"):
        open_dataset(tmp_path / "small")


def test_the_command_leaves_out_what_is_unreadable_and_says_so(
    colorbench: RunCommand, images: Path, tmp_path: Path
) -> None:
    members = {**files_of(images), "broken.png": b"no image"}
    tar = write_tar(tmp_path / "set.tar", members)
    output = tmp_path / "small"
    done = colorbench("cache", "--short-side", "32", "-d", tar, "-o", output)
    assert done.returncode == 1 and "wrote 3 of 4 images of set" in done.stdout
    assert "unreadable images: 1 (broken.png: not a known image format)" in done.stderr
    assert json.loads((output / FILE).read_text())["short_side"] == 32
    assert np.asarray(Image.open(output / "coffee.bmp")).shape == (32, 48, 3)
