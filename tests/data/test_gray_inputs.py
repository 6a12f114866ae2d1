"""``colorbench inputs``, and predictions that were made from them: the manifest tells other images from those."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.color
from PIL import Image

import colorbench
from colorbench.cli import main
from colorbench.data import get_preprocessing, open_dataset
from colorbench.data.gray_inputs import write_inputs
from colorbench.data.input_manifest import Manifest, read_manifest
from colorbench.errors import UserError
from colorbench.storage import file_sha256


@pytest.fixture
def given(images: Path, tmp_path: Path) -> Path:
    """Three images in a folder that may be changed."""
    return Path(shutil.copytree(images, tmp_path / "images"))


def made(given: Path, **options: Any) -> Path:
    """Inputs of a folder, and predictions: the original images."""
    folder = given.parent
    write_inputs(open_dataset(given), folder / "in", **options)
    manifest = read_manifest(folder / "in" / "manifest.json")
    for entry in manifest.images:
        target = folder / "out" / entry.file
        target.parent.mkdir(parents=True, exist_ok=True)
        rgb = np.asarray(Image.open(given / entry.id).convert("RGB"))
        Image.fromarray(get_preprocessing(manifest.preprocessing).apply(rgb)).save(target)
    return folder


def score(folder: Path, name: str = "out[manifest={}/in]", **options: Any) -> Any:
    options = {"parameters": {"preprocessing": "squash64"}, **options}
    return colorbench.score(f"{folder}/{name.format(folder)}", folder / "images", **options)


@pytest.mark.parametrize("gray", ["cie-l", "bt601"])
def test_inputs_are_gray_upright_pngs_of_the_images(given: Path, gray: Any) -> None:
    turned = Image.open(given / "astronaut.png")
    exif = turned.getexif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    turned.save(given / "turned.png", exif=exif)
    manifest, skipped = write_inputs(open_dataset(given), given.parent / "in", gray=gray)
    assert not skipped and manifest == read_manifest(given.parent / "in" / "manifest.json")
    assert [entry.id for entry in manifest.images] == [
        *("animals/chelsea.png", "astronaut.png", "coffee.jpg", "turned.png")
    ]
    for entry in manifest.images:
        file = given.parent / "in" / entry.file
        with Image.open(file) as png:
            assert png.mode == "L" and png.size == (entry.width, entry.height)
            levels = np.asarray(png).astype(float)
        assert entry.sha256 == file_sha256(file) and entry.source_sha256 == file_sha256(given / entry.id)
        assert png.size == ((64, 96) if entry.id == "turned.png" else (96, 64))
        if entry.id == "astronaut.png":
            rgb = np.asarray(Image.open(given / entry.id).convert("RGB"))
            lab = skimage.color.rgb2lab(rgb)
            by_lightness = 255 * skimage.color.lab2rgb(lab * [1, 0, 0])[..., 1]
            wanted = rgb @ [0.299, 0.587, 0.114] if gray == "bt601" else by_lightness
            assert np.abs(levels - wanted).max() <= 1


def test_names_preprocessing_and_unreadable_images(given: Path) -> None:
    Image.open(given / "coffee.jpg").save(given / "coffee.png")
    (given / "broken.png").write_bytes(b"no image")
    manifest, skipped = write_inputs(open_dataset(given), given.parent / "in", preprocessing="squash32")
    names = {entry.id: entry.file for entry in manifest.images}
    assert names == {
        "animals/chelsea.png": "animals/chelsea.png",
        "astronaut.png": "astronaut.png",
        "coffee.jpg": "coffee.jpg.png",
        "coffee.png": "coffee.png.png",
    }
    assert [one.id for one in skipped] == ["broken.png"]
    assert {(entry.width, entry.height) for entry in manifest.images} == {(32, 32)}


def test_nothing_is_replaced_and_the_dataset_stays_as_it_is(given: Path) -> None:
    dataset = open_dataset(given)
    for output in (given, given / "in"):
        with pytest.raises(UserError, match="the output lies within the dataset"):
            write_inputs(dataset, output)
    assert len(open_dataset(given)) == 3
    write_inputs(dataset, given.parent / "in")
    with pytest.raises(UserError, match="files that already exist: 4 "):
        write_inputs(dataset, given.parent / "in")
    write_inputs(dataset, given.parent / "in", overwrite=True)


def test_predictions_of_these_inputs_are_scored_and_the_record_says_so(given: Path) -> None:
    folder = made(given, gray="bt601")
    plain = score(folder, "out")
    record = score(folder)
    assert [metric.value for metric in record.metrics] == [metric.value for metric in plain.metrics]
    assert record.key == plain.key  # a manifest checks, and decides no number
    note = "predictions of inputs that `colorbench inputs` wrote (gray by bt601, preprocessing native)"
    assert any(note in one for one in record.notes) and not any(note in one for one in plain.notes)
    shutil.copy(folder / "in" / "manifest.json", folder / "out")
    assert score(folder, "out").notes == record.notes  # beside the predictions, it is found


def test_inputs_that_were_passed_through_are_told(given: Path) -> None:
    folder = made(given)
    shutil.copy(folder / "in" / "coffee.png", folder / "out" / "coffee.png")
    assert "1 of 3 predictions are the gray inputs themselves (first coffee.jpg)" in score(folder).notes


def swapped(folder: Path) -> None:
    (folder / "images/astronaut.png").rename(folder / "x")
    (folder / "images/animals/chelsea.png").rename(folder / "images/astronaut.png")
    (folder / "x").rename(folder / "images/animals/chelsea.png")


def encoded_again(folder: Path) -> None:
    Image.open(folder / "images/coffee.jpg").save(folder / "images/coffee.jpg", quality=50)


def one_more(folder: Path) -> None:
    for name in ("images", "out"):
        shutil.copy(folder / "images/astronaut.png", folder / name / "new.png")


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        path = folder / "in" / "manifest.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return run


CHANGES: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "swapped",
        swapped,
        "2 of 3 images are others than those .* the inputs were made from, first animals/chel",
    ),
    ("encoded again", encoded_again, "1 of 3 images are others .*, first coffee.jpg"),
    ("one more", one_more, "1 of 4 images are not in the manifest of the inputs, first new.png"),
    ("missing", lambda folder: (folder / "in/manifest.json").unlink(), "no such manifest"),
    ("text", lambda folder: (folder / "in/manifest.json").write_text("{"), "the manifest cannot be read"),
    ("list", lambda folder: (folder / "in/manifest.json").write_text("[]"), "not a manifest of `colorbench inputs`"),
    ("foreign", damaged(lambda content: content.pop("kind")), "not a manifest of `colorbench inputs`"),
    ("other schema", damaged(lambda content: content.update(schema_version=9)), "damaged: schema_version: "),
    ("lacks a key", damaged(lambda content: content["images"][1].pop("sha256")), "damaged: images.1.sha256: "),
    ("no hash", damaged(lambda content: content["images"][0].update(source_sha256="1")), "images.0.source_sha256: "),
]


@pytest.mark.parametrize(("change", "message"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES])
def test_other_images_and_damaged_manifests_are_one_line(given: Path, change: Any, message: str) -> None:
    folder = made(given)
    change(folder)
    with pytest.raises(UserError, match=message) as caught:
        score(folder)
    assert "\n" not in str(caught.value) and "manifest" in str(caught.value)


def test_inputs_of_another_preprocessing_are_refused(given: Path) -> None:
    folder = made(given, preprocessing="center64")
    with pytest.raises(UserError, match="made with preprocessing center64, .* evaluated with squash64"):
        score(folder)
    score(folder, parameters={"preprocessing": "center64"})


def test_a_manifest_of_another_program_beside_predictions_is_no_business_of_ours(given: Path) -> None:
    folder = made(given)
    for text in ("{", "[1]", '{"name": "web app"}'):
        (folder / "out" / "manifest.json").write_text(text)
        score(folder, "out")
    with pytest.raises(UserError, match="does not take a manifest, which is for stored predictions"):
        colorbench.load_model(f"zoo/gray[manifest={folder}/in]")


def test_the_command(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = given.parent / "in"
    (given / "broken.png").write_bytes(b"no image")
    arguments = ["inputs", "--data", str(given), "-o", str(target), "--gray", "bt601"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert ended.value.code == 1 and "wrote 3 of 4 images" in told.out and "broken.png" in told.err
    assert isinstance(read_manifest(target / "manifest.json"), Manifest)
    for more, message in ((["--gray", "hsv"], "choose cie-l, bt601"), ([], "already exist: 4")):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *more])
        assert ended.value.code == 2 and re.search(message, capsys.readouterr().err, re.IGNORECASE)
