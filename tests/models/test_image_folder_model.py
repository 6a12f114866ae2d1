"""``images:DIR``: images find their images, take the preprocessing's size, and stand for weights by their hash."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from colorbench.data import get_preprocessing
from colorbench.errors import RunError, UserError
from colorbench.models.colorizer_interfaces import ColorizerInput
from colorbench.models.image_folder_model import ImageFolderModel
from colorbench.models.model_loading import load_model


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def flat(value: int, height: int = 8, width: int = 8) -> np.ndarray:
    """One color that tells which image it is."""
    return np.full((height, width, 3), value, np.uint8)


def asked(ids: list[str], size: tuple[int, int] = (8, 8), **more: object) -> ColorizerInput:
    return ColorizerInput(torch.zeros(len(ids), 1, *size), tuple(ids), tuple(range(len(ids))), **more)  # type: ignore[arg-type]


def values(folder: Path, ids: list[str]) -> list[int]:
    """The colors of the images that were found for ``ids``."""
    model = ImageFolderModel(folder)
    model.prepare(ids)
    colors = model.colorize_batch(asked(ids))
    assert colors.rgb8 is not None and colors.ab is None
    return [int(image.float().mean()) for image in colors.rgb8]


def test_a_image_is_given_back_as_it_was_stored(tmp_path: Path, astronaut: np.ndarray) -> None:
    save(tmp_path / "a.png", astronaut)
    loaded = load_model(f"images:{tmp_path}")
    loaded.prepare(("a.jpg",))
    rgb8 = loaded.colorizer.colorize_batch(asked(["a.jpg"], (512, 512))).rgb8
    assert rgb8 is not None and rgb8.dtype == torch.uint8
    assert np.array_equal(rgb8[0].permute(1, 2, 0).numpy(), astronaut)
    assert loaded.card.role == "competitor"
    assert loaded.full_name == f"images:{tmp_path.parent.name}/{tmp_path.name}"


def test_suffixes_do_not_matter_and_folders_do(tmp_path: Path) -> None:
    save(tmp_path / "n01" / "b.png", flat(10))
    save(tmp_path / "n02" / "b.webp", flat(20))
    save(tmp_path / "n02" / "night.v2.png", flat(30))
    save(tmp_path / "n02" / "night.v1.png", flat(40))
    ids = ["n02/b.JPEG", "n01/b.JPEG", "n02/night.v1.jpg", "n02/night.v2.jpg"]
    assert values(tmp_path, ids) == pytest.approx([20, 10, 40, 30], abs=2)


def test_images_side_by_side_are_found_by_name(tmp_path: Path) -> None:
    save(tmp_path / "b.png", flat(10))
    save(tmp_path / "c.png", flat(20))
    assert values(tmp_path, ["n01/b.JPEG", "n02/c.JPEG"]) == [10, 20]


def test_a_flat_name_that_two_images_have_is_in_doubt(tmp_path: Path) -> None:
    save(tmp_path / "b.png", flat(10))
    with pytest.raises(RunError, match="2 of 2 images match several .* n01/b.JPEG and n02/b.JPEG may be b.png"):
        ImageFolderModel(tmp_path).prepare(["n01/b.JPEG", "n02/b.JPEG"])


@pytest.mark.parametrize("pattern", ["{}", "{}.png"])
def test_images_that_differ_in_their_suffix_alone_keep_it(tmp_path: Path, pattern: str) -> None:
    for value, id in ((10, "a.bmp"), (20, "a.png")):
        save(tmp_path / pattern.format(id), flat(value))
    assert values(tmp_path, ["a.bmp", "a.png"]) == [10, 20]


def test_two_images_for_one_image_and_two_images_for_one_image_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", flat(10))
    save(tmp_path / "a.webp", flat(20))
    with pytest.raises(RunError, match="1 of 1 images match several .* a.jpg may be a.png or a.webp"):
        ImageFolderModel(tmp_path).prepare(["a.jpg"])
    (tmp_path / "a.webp").unlink()
    with pytest.raises(RunError, match="2 of 2 images match several .* a.jpg and a.gif may be a.png"):
        ImageFolderModel(tmp_path).prepare(["a.jpg", "a.gif"])


def test_missing_images_are_counted_and_the_first_named(tmp_path: Path) -> None:
    save(tmp_path / "p0.png", flat(1))
    ids = [f"p{i}.jpg" for i in range(6)]
    with pytest.raises(
        RunError, match=r"5 of 6 images have no prediction: p1.jpg, p2.jpg, p3.jpg \.\.\. \(.*\). Create them, or"
    ) as caught:
        load_model(f"images:{tmp_path}").prepare(tuple(ids))
    assert str(tmp_path) in str(caught.value)


def test_a_missing_or_empty_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").touch()
    for folder, message in ((tmp_path, "no images in this folder"), (tmp_path / "none", "no such folder of images")):
        with pytest.raises(UserError, match=message):
            load_model(f"images:{folder}")


def test_a_damaged_image_is_named(tmp_path: Path, astronaut: np.ndarray) -> None:
    save(tmp_path / "a.png", astronaut)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:5000])
    model = ImageFolderModel(tmp_path)
    model.prepare(["a.jpg"])
    with pytest.raises(RunError, match="a stored prediction cannot be read.*a.png"):
        model.colorize_batch(asked(["a.jpg"]))


@pytest.mark.parametrize("preprocessing", ["squash64", "native", None])
def test_another_size_is_resized_as_the_truth_is(
    tmp_path: Path, astronaut: np.ndarray, preprocessing: str | None
) -> None:
    image = astronaut[:300]
    save(tmp_path / "own.png", image)
    save(tmp_path / "fits.png", flat(7, 64, 64))
    model = ImageFolderModel(tmp_path)
    ids = ["own.jpg", "fits.jpg"]
    model.prepare(ids)
    rgb8 = model.colorize_batch(asked(ids, (64, 64), sizes=((300, 512), (300, 512)), preprocessing=preprocessing)).rgb8
    assert rgb8 is not None
    assert np.array_equal(rgb8[0].permute(1, 2, 0).numpy(), get_preprocessing("squash64").apply(image))


def test_a_preprocessing_that_crops_crops_the_full_image_and_refuses_a_squashed_one(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    image = astronaut[:300]
    save(tmp_path / "own.png", image)
    save(tmp_path / "squashed.png", get_preprocessing("squash128").apply(image))
    model = ImageFolderModel(tmp_path)
    model.prepare(["own.jpg", "squashed.jpg"])
    own = ((300, 512),)
    rgb8 = model.colorize_batch(asked(["own.jpg"], (64, 64), sizes=own, preprocessing="center64")).rgb8
    assert rgb8 is not None
    assert np.array_equal(rgb8[0].permute(1, 2, 0).numpy(), get_preprocessing("center64").apply(image))
    with pytest.raises(RunError, match="a prediction of 128x128 does not fit its image of 512x300"):
        model.colorize_batch(asked(["squashed.jpg"], (64, 64), sizes=own, preprocessing="center64"))


def test_the_hash_follows_contents_and_ids_and_nothing_else(tmp_path: Path) -> None:
    for name, value in (("a", 10), ("b", 20), ("unused", 30)):
        save(tmp_path / "one" / f"{name}.png", flat(value))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    ids = ("a.jpg", "b.jpg")

    def fingerprint(folder: str, ids: tuple[str, ...] = ids) -> str | None:
        loaded = load_model(f"images:{tmp_path / folder}")
        assert loaded.weights_sha256 is None
        loaded.prepare(ids)
        return loaded.weights_sha256

    first = fingerprint("one")
    save(tmp_path / "two" / "unused.png", flat(99))
    assert first == fingerprint("two") == fingerprint("one", ids[::-1])
    assert first is not None and len(first) == 64
    assert fingerprint("one", ids[:1]) != first
    save(tmp_path / "two" / "b.png", flat(21))
    assert fingerprint("two") != first
    save(tmp_path / "one" / "a.png", flat(20))
    save(tmp_path / "one" / "b.png", flat(10))
    assert fingerprint("one") != first  # the same images, but for the other images


def test_without_a_run_images_are_looked_up_as_they_are_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "a.png", flat(10))
    model = ImageFolderModel(tmp_path)
    assert model.colorize_batch(asked(["a.jpg"])).rgb8 is not None
    with pytest.raises(RunError, match="1 of 1 images have no prediction: b.jpg; the folder has a.png"):
        model.colorize_batch(asked(["b.jpg"]))
