"""Stored predictions are compared with their images: refused where turned, cropped or padded; told where doubtful."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from colorbench.color import rgb_to_lab
from colorbench.data import get_preprocessing, open_dataset
from colorbench.errors import UserError
from colorbench.evaluation import RunConfig, record_folder, run
from colorbench.models.image_folder_model import fit, same_aspect
from colorbench.models.model_loading import load_model
from colorbench.models.stored_prediction_checks import LIGHTNESS_GAP, WARNING
from colorbench.reporting.record_remarks import remarks
from colorbench.results import load_run
from tests.support.engine import DistanceProtocol, Listening, with_protocol

NAMES = ("astronaut", "coffee", "chelsea", "rocket")
SIDE = 72, 48
"""Width and height of the images: not square, so that squashing, cropping and turning differ."""
Change = Callable[[int, Image.Image], Image.Image | None]


def originals(count: int = 8, size: tuple[int, int] = SIDE) -> list[Image.Image]:
    """Different parts of real images."""
    import skimage.data

    made = []
    for i in range(count):
        full = Image.fromarray(getattr(skimage.data, NAMES[i % 4])())
        left, top = 40 * (i // 4), 30 * (i // 4)
        made.append(full.crop((left, top, left + 240, top + 240)).resize(size))
    return made


@pytest.fixture(autouse=True)
def _distance(monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())


def save(root: Path, images: Sequence[Image.Image], suffix: str = ".png", **options: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        image.save(root / f"{i:02d}{suffix}", **options)  # type: ignore[arg-type]
    return root


def measured(
    tmp_path: Path, images: Sequence[Image.Image], predictions: Path, preprocessing: str = "squash64", **more: object
) -> tuple[list[str], list[str], Path]:
    """Notes of the record, what the terminal was told, and the record's folder."""
    if not (tmp_path / "images").exists():
        save(tmp_path / "images", images, compress_level=9)  # other bytes than predictions of equal pixels
    listener = Listening()
    request = RunConfig(
        models=[f"images:{predictions}"],
        protocols=["distance"],
        data=open_dataset(tmp_path / "images"),
        parameters={"distance": {"preprocessing": preprocessing}},
        device="cpu",
        output=tmp_path / "runs",
        save="none",
        baselines=False,
        threads=1,
        **more,  # type: ignore[arg-type]
    )
    (record,) = run(request, listener)
    notes = [note for note in record.notes if "smoke test" not in note and note != "all is well"]
    return notes, listener.messages, record_folder(tmp_path / "runs", record)


@pytest.mark.parametrize(
    "preprocessing",
    [
        "squash64",
        "center32",
        "native",
        "cropsquare32",
        "cropsquare32-bilinear-aa",
        "squash32-bilinear",
        "squash32-area",
    ],
)
def test_predictions_of_their_images_are_measured_without_a_word(tmp_path: Path, preprocessing: str) -> None:
    images = originals()
    notes, _, folder = measured(tmp_path, images, save(tmp_path / "out", images), preprocessing)
    assert notes == []
    rows = load_run(folder)
    assert rows.columns[LIGHTNESS_GAP].max() == 0
    assert not any(metric.warning == WARNING for metric in rows.record.metrics)


REFUSED: dict[str, tuple[Change, str, str]] = {
    "cropped to a multiple of 32": (lambda _, one: one.crop((0, 0, 64, 32)), "squash64", "8 of 8 .*aspect ratio"),
    "padded to a multiple of 64": (
        lambda _, one: ImageOps.pad(one, (128, 64)),
        "squash64",
        "8 of 8 .*128x64 for an image of 72x48",
    ),
    "a network's own size": (lambda _, one: one.resize((24, 24)), "native", "24x24 for an image of 72x48"),
    "squashed to another size": (lambda _, one: one.resize((32, 32)), "squash64", "aspect ratio"),
    "one of them": (lambda i, one: one.crop((0, 0, 40, 48)) if i == 3 else one, "native", "1 of 8 .*first 03.png"),
    "turned": (lambda _, one: one.transpose(Image.Transpose.ROTATE_90), "squash64", "8 of 8 .*rotated by 90"),
    "turned and smaller": (lambda _, one: one.rotate(90, expand=True).resize((24, 36)), "native", "turned"),
    "whole where its center is wanted": (lambda _, one: one.resize((32, 32)), "center32", "preprocessing=squash32"),
    "whole where its central square is wanted": (
        lambda _, one: one.resize((32, 32)),
        "cropsquare32-bilinear-aa",
        "preprocessing=squash32",
    ),
    "center where the whole is wanted, by another kernel": (
        lambda _, one: ImageOps.fit(one, (32, 32)),
        "squash32-bilinear-aa",
        "preprocessing=center32",
    ),
    "center where the whole is wanted": (
        lambda _, one: ImageOps.fit(one, (32, 32)),
        "squash32",
        r"do not show the whole image, squashed to 32x32.*Evaluate with preprocessing=center32",
    ),
    "cut out without resizing": (lambda _, one: one.crop((20, 8, 52, 40)), "squash32", "but a crop"),
}


@pytest.mark.parametrize(("change", "preprocessing", "message"), REFUSED.values(), ids=REFUSED)
def test_what_was_cut_or_turned_is_refused_before_any_work(
    tmp_path: Path, change: Change, preprocessing: str, message: str
) -> None:
    images = originals()
    folder = save(tmp_path / "out", [change(i, image) for i, image in enumerate(images)])
    with pytest.raises(UserError, match=message) as caught:
        measured(tmp_path, images, folder, preprocessing)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "runs").rglob("*.npz"))


@pytest.mark.parametrize("preprocessing", ["squash32", "native", "center32"])
def test_a_rotation_that_a_model_did_not_apply_is_refused(tmp_path: Path, preprocessing: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, seen standing
    images = originals()
    save(tmp_path / "images", images, ".jpg", exif=exif, quality=95)
    for name, turn in (("lying", None), ("standing", Image.Transpose.ROTATE_270)):
        save(tmp_path / name, [image if turn is None else image.transpose(turn) for image in images])
    notes, _, _ = measured(tmp_path, images, tmp_path / "standing", preprocessing)
    assert notes == []
    with pytest.raises(UserError, match="8 of 8 predictions are rotated by 90 degrees"):
        measured(tmp_path, images, tmp_path / "lying", preprocessing)


def center32(image: Image.Image) -> Image.Image:
    return Image.fromarray(get_preprocessing("center32").apply(np.asarray(image)))


TOLD: dict[str, tuple[Change, str, Sequence[str]]] = {
    "smaller": (
        lambda _, one: one.resize((36, 24)),
        "native",
        ["8 of 8 .* resized .* 36x24, its image 72"],
    ),
    "larger": (lambda _, one: one.resize((144, 96)), "squash64", ["8 of 8 predictions were resized"]),
    "rounded to whole pixels": (lambda _, one: one.resize((35, 23)), "center32", ["8 of 8 predictions were resized"]),
    "some": (lambda i, one: one.resize((144, 96)) if i < 3 else one, "squash64", ["3 of 8 predictions were resized"]),
    "as the preprocessing": (
        lambda _, one: one.resize((64, 64), 3),
        "squash64",
        ["8 of 8 .* had the size of squash64"],
    ),
    "its center": (
        lambda _, one: center32(one),
        "center32",
        ["8 of 8"],
    ),
    "gray": (lambda _, one: one.convert("L"), "squash64", ["8 of 8 predictions are gray images"]),
    "palette": (lambda _, one: one.quantize(256), "squash64", ["8 of 8 predictions have a palette"]),
    "alpha": (lambda i, one: one.convert("RGBA") if i == 2 else one, "native", [r"1 of 8 .*alpha channel.*02.png"]),
}


@pytest.mark.parametrize(("change", "preprocessing", "message"), TOLD.values(), ids=TOLD)
def test_what_was_resized_or_stored_otherwise_is_counted(
    tmp_path: Path, change: Change, preprocessing: str, message: Sequence[str]
) -> None:
    images = originals()
    folder = save(tmp_path / "out", [change(i, image) for i, image in enumerate(images)])
    notes, _, _ = measured(tmp_path, images, folder, preprocessing)
    notes = [note for note in notes if "lightness" not in note]  # of images this small, resizing moves it
    assert len(notes) == len(message)
    for note, pattern in zip(notes, message, strict=True):
        assert re.search(pattern, note), note


def test_images_that_are_given_as_their_own_predictions_are_told(tmp_path: Path) -> None:
    images = originals()
    folder = save(tmp_path / "out", images)
    images[3].save(folder / "03.png", compress_level=9)
    notes, _, _ = measured(tmp_path, images, folder)
    assert notes == ["1 of 8 predictions are identical to their ground-truth images (first 03.png)"]
    notes, _, _ = measured(tmp_path, images, tmp_path / "images")
    assert notes[0].startswith("8 of 8 predictions are identical to their ground-truth images")


def test_lossy_and_deep_files_are_counted(tmp_path: Path) -> None:
    images = originals(4)
    folder = save(tmp_path / "jpeg", images, ".jpg", quality=95)
    notes, _, _ = measured(tmp_path, images, folder)
    assert [note[:45] for note in notes] == ["4 of 4 predictions are stored lossily (JPEG a"]
    folder = save(tmp_path / "webp", images, ".webp", quality=80)
    images[0].save(folder / "00.webp", lossless=True)
    notes, _, _ = measured(tmp_path, images, folder)
    assert notes[0].startswith("3 of 4 predictions are stored lossily") and "first 01.png" in notes[0]
    folder = save(tmp_path / "deep", images)
    Image.fromarray(np.asarray(images[0].convert("L")).astype(np.uint16) * 257).save(folder / "00.png")
    notes, _, _ = measured(tmp_path, images, folder)
    assert any(note.startswith("1 of 4 predictions have 16 bits") for note in notes)


def swapped(images: list[Image.Image]) -> list[Image.Image]:
    return [*images[1:], images[0]]


@pytest.mark.parametrize("preprocessing", ["squash64", "native", "center32"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, "8 of 8 .* have the lightness of another image .that of 00.png looks like 01.png"),
        (lambda images: images[::-1], "lightness of another image .that of 00.png"),
        (lambda images: [image.transpose(Image.Transpose.ROTATE_180) for image in images], "rotated or mirrored"),
        (lambda images: [ImageOps.mirror(image) for image in images], "rotated or mirrored"),
        (lambda images: [Image.new("RGB", SIDE, "white") for _ in images], "do not look like colorizations"),
        (lambda images: [ImageOps.invert(image) for image in images], "do not look like colorizations"),
    ],
    ids=["one off", "reversed", "upside down", "mirrored", "white", "inverted"],
)
def test_another_lightness_is_told_explained_and_marked(
    tmp_path: Path, preprocessing: str, change: Callable[[list[Image.Image]], list[Image.Image]], message: str
) -> None:

    images = originals()
    notes, _, folder = measured(tmp_path, images, save(tmp_path / "out", change(images)), preprocessing)
    assert re.match(r"[5-8] of 8 predictions do not have the lightness of their image", notes[0]), notes
    assert any(re.search(message, note) for note in notes), notes
    stored = load_run(folder)
    assert all(metric.warning == WARNING for metric in stored.record.metrics)
    assert sum(WARNING in line for line in remarks(stored.record)) == 1  # one line for all metrics


def test_a_few_of_another_image_are_counted_and_named(tmp_path: Path) -> None:
    images = originals(24)
    predictions = [*images[:5], images[6], *images[6:]]
    notes, _, folder = measured(tmp_path, images, save(tmp_path / "out", predictions))
    assert notes[0].startswith("1 of 24 predictions do not have the lightness") and "first 05.png" in notes[0]
    assert "1 of 1 of these that were examined have the lightness of another image" in notes[1]
    assert "that of 05.png looks like 06.png" in notes[1]
    assert not any(metric.warning == WARNING for metric in load_run(folder).record.metrics)


def test_honest_colorizations_have_the_lightness_of_their_images(tmp_path: Path) -> None:
    """Other colors on the same lightness, clipped and rounded as any model's, small networks' and JPEG among them."""
    import torch

    from colorbench.color import lab_to_rgb8

    images = originals(8, (180, 120))
    made = []
    for image in images:
        lab = rgb_to_lab(torch.from_numpy(np.array(image).transpose(2, 0, 1))[None])
        other = torch.cat([lab[:, :1], torch.full_like(lab[:, 1:], 40.0)], dim=1)
        made.append(Image.fromarray(lab_to_rgb8(other)[0].numpy().transpose(1, 2, 0)))
    for name, predictions, suffix in (
        ("png", made, ".png"),
        ("jpeg", made, ".jpg"),
        ("gray", [image.convert("L") for image in images], ".png"),
    ):
        notes, _, _ = measured(tmp_path, images, save(tmp_path / name, predictions, suffix), preprocessing="native")
        assert not any("lightness" in note for note in notes), (name, notes)


def test_a_resumed_run_tells_what_an_unbroken_one_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", 2)
    images = originals()
    folder = save(tmp_path / "out", [*swapped(images)[:4], *[image.resize((36, 24)) for image in images[4:]]])
    full, _, _ = measured(tmp_path, images, folder)
    from colorbench.evaluation import RunDirectory

    (position,) = [path.parent for path in (tmp_path / "runs").rglob("record.json")]
    (position / "record.json").unlink()
    written = RunDirectory.write_shard

    def killed(self: RunDirectory, index: int, shard: object) -> None:
        if index == 2:
            raise KeyboardInterrupt
        written(self, index, shard)  # type: ignore[arg-type]

    monkeypatch.setattr(RunDirectory, "write_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, images, folder)
    monkeypatch.setattr(RunDirectory, "write_shard", written)
    assert measured(tmp_path, images, folder)[0] == full
    assert len(full) >= 3


def test_how_files_were_found_is_told(tmp_path: Path) -> None:
    images = originals(4)
    folder = save(tmp_path / "out" / "deeper", images)
    (folder / "log.txt").touch()
    images[0].save(folder / "extra.png")
    _, messages, _ = measured(tmp_path, images, folder.parent)
    told = " | ".join(messages)
    assert "1 other file was ignored: 1 .txt" in told
    assert "4 predictions were found by file name only" in told
    assert "predictions without an image in the dataset: 1, the first: deeper/extra.png" in told


def test_unreadable_images_stay_skips(tmp_path: Path) -> None:
    images = originals(4)
    save(tmp_path / "images", images)
    (tmp_path / "images" / "04.png").write_bytes(b"none")
    _, _, folder = measured(tmp_path, images, save(tmp_path / "out", [*images, images[0]]))
    assert [one.id for one in load_run(folder).record.dataset.skipped] == ["04.png"]


@pytest.mark.parametrize(
    ("prediction", "image", "same"),
    [
        ((191, 255), (192, 256), True),
        ((256, 256), (321, 481), False),
        ((171, 256), (321, 481), True),
        ((170, 256), (321, 481), True),
        ((1, 256), (1, 60_000), True),
        ((375, 500), (376, 501), True),
        ((368, 496), (375, 500), False),
        ((1000, 1009), (1000, 1000), True),
        ((1000, 1012), (1000, 1000), False),
        ((24, 24), (48, 72), False),
    ],
)
def test_aspect_ratios(prediction: tuple[int, int], image: tuple[int, int], same: bool) -> None:
    assert same_aspect(prediction, image) is same
    assert same_aspect(prediction[::-1], image[::-1]) is same
    if not same:
        assert fit(prediction, image, get_preprocessing("native")) in ("other", "turned")


def test_a_dangling_link_among_predictions_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"cannot read the file: No such file.*a\.png"):
        load_model(f"images:{tmp_path / 'out'}").prepare(("a.png",))
