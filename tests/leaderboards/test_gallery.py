"""The gallery: whose image is shown as ground truth, and why an image was chosen."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaderboards.board_building import build
from leaderboards.gallery import Gallery, GalleryImage, _farthest, galleries
from leaderboards.record_collection import collect
from tests.support.board import change, copy, folders, measured


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real run, not to be changed."""
    return measured(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def alone(results: Path) -> Gallery:
    return gallery_of(results)


def gallery_of(*positions: Path) -> Gallery:
    board, entries = build(collect(positions))
    (made,) = galleries(board, entries)
    return made


def repaint(folder: Path, ending: str, paint: Image.Image | bytes) -> None:
    """Put another image in place of some saved ones, with the checksums that belong to it."""
    files = json.loads((folder / "record.json").read_text())["files"]
    for path in sorted((folder / "thumbnails").glob(f"*{ending}")):
        if isinstance(paint, bytes):
            data = paint
        else:
            buffer = io.BytesIO()
            with Image.open(path) as image:
                paint.resize(image.size).save(buffer, "WEBP")
            data = buffer.getvalue()
        path.write_bytes(data)
        files["saved_images"][f"thumbnails/{path.name}"] = hashlib.sha256(data).hexdigest()
    change(folder, files=files)


def forged(
    results: Path, folder: Path, name: str, model: str = "lab/warm", of: tuple[str, ...] = ("truth", "gray")
) -> Path:
    """A record with a red square in place of every ground truth and grayscale image."""
    made = copy(folders(results)[model], folder / name / "auc" / "x", model__name=name)
    for end in of:
        repaint(made, f".{end}.webp", Image.new("RGB", (8, 8), (220, 20, 20)))
    return made


def ends(gallery: Gallery) -> Iterator[np.ndarray]:
    """Mean colors of all ground truths and grayscale images that are shown."""
    for image in gallery.images:
        for source in (image.truth, image.gray):
            if source is not None:
                data = base64.b64decode(source.partition("base64,")[2])
                yield np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).mean(axis=(0, 1))


def shown(image: GalleryImage) -> Iterator[tuple[str, str]]:
    """Row and image of each model that has one."""
    yield from ((prediction.row, prediction.source) for prediction in image.predictions if prediction.source)


def is_red(color: np.ndarray) -> bool:
    return bool(np.abs(color - [220, 20, 20]).max() < 12)


def same_ends(one: Gallery, other: Gallery) -> bool:
    candidate, counterpart = ({p.sha256: (p.truth, p.gray) for p in gallery.images} for gallery in (one, other))
    return all(candidate[hash] == counterpart[hash] for hash in candidate.keys() & counterpart.keys())


def test_a_stranger_s_thumbnail_never_stands_as_truth(results: Path, tmp_path: Path, alone: Gallery) -> None:
    """Whoever sorts first decides nothing, nor does one whose files are not those that it lists."""
    forged(results, tmp_path / "counterpart", "aaa/first")
    other = copy(folders(results)["lab/warm"], tmp_path / "counterpart" / "0" / "x", model__name="aaa/bytes")
    for path in (other / "thumbnails").glob("*.truth.webp"):
        path.write_bytes(b"RIFF")
    made = gallery_of(tmp_path / "counterpart", results)
    assert len(made.images) == len(alone.images) and same_ends(made, alone)
    assert all(image.truth and image.gray for image in made.images)


def test_many_forgers_or_a_forged_reference_can_only_hide_the_truth(results: Path, tmp_path: Path) -> None:
    for position in range(7):
        forged(results, tmp_path / "many", f"aaa/f{position}")
    forged(results, tmp_path / "reference", "zoo/ground-truth", "zoo/ground-truth", of=("truth",))
    for position in ("many", "reference"):
        made = gallery_of(tmp_path / position, results)
        assert not any(is_red(color) for color in ends(made)), position
        assert "show different ground truths" in (made.note or "")


def test_a_forged_reference_that_forges_gray_too_is_outvoted(results: Path, tmp_path: Path, alone: Gallery) -> None:
    forged(results, tmp_path / "reference", "zoo/ground-truth", "zoo/ground-truth")
    made = gallery_of(tmp_path / "reference", results)
    assert same_ends(made, alone) and all(image.truth and image.gray for image in made.images)


def test_without_a_reference_all_records_must_agree(results: Path, tmp_path: Path) -> None:
    candidate = shutil.copytree(results / "lab", tmp_path / "candidate" / "lab")
    assert all(image.truth for image in gallery_of(candidate).images)
    forged(results, tmp_path / "counterpart", "aaa/first")
    made = gallery_of(candidate, tmp_path / "counterpart")
    assert not any(image.truth or image.gray for image in made.images)


def test_another_encoder_s_file_of_the_same_image_agrees(results: Path, tmp_path: Path, alone: Gallery) -> None:
    folder = copy(folders(results)["zoo/ground-truth"], tmp_path / "a" / "x")
    files = json.loads((folder / "record.json").read_text())["files"]
    for path in (folder / "thumbnails").glob("*.truth.webp"):
        buffer = io.BytesIO()
        with Image.open(path) as image:
            image.save(buffer, "WEBP", quality=80)
        path.write_bytes(buffer.getvalue())
        files["saved_images"][f"thumbnails/{path.name}"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    change(folder, files=files)
    made = gallery_of(tmp_path / "a", results)
    assert made.note == alone.note and all(image.truth for image in made.images)


def _damaged_profile() -> bytes:
    """A PNG with an empty iCCP chunk after its pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(buffer, "PNG")
    data = buffer.getvalue()
    end = data.rindex(b"IEND") - 4
    return data[:end] + b"\0\0\0\0iCCP" + (0x12345678).to_bytes(4, "big") + data[end:]


def test_damaged_and_huge_images_and_a_rewritten_index_cost_their_own_record(
    results: Path, tmp_path: Path, alone: Gallery
) -> None:
    damaged = copy(folders(results)["lab/warm"], tmp_path / "counterpart" / "0" / "x", model__name="aaa/damaged")
    repaint(damaged, ".webp", _damaged_profile())
    heavy = copy(folders(results)["lab/warm"], tmp_path / "counterpart" / "1" / "x", model__name="aaa/heavy")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "WEBP")
    chunk = b"JUNK" + (2_000_000).to_bytes(4, "little") + b"\0" * 2_000_000
    full = buffer.getvalue() + chunk
    repaint(heavy, ".webp", full[:4] + (len(full) - 8).to_bytes(4, "little") + full[8:])
    made = gallery_of(tmp_path / "counterpart", results)
    assert len(made.images) == len(alone.images) and same_ends(made, alone)
    before = {image.sha256: dict(shown(image)) for image in alone.images}
    for image in made.images:
        assert before.get(image.sha256, {}).items() <= dict(shown(image)).items()


def test_a_gallery_names_what_tells_it_from_others_of_its_dataset(results: Path) -> None:
    board, entries = build(collect([results]))
    (one,) = galleries(board, entries)
    assert one.evaluation == "40 images · auc · squash256"
    groups = tuple(replace(group, n=1, preprocessing="native") for group in board.groups)
    (other,) = galleries(replace(board, groups=groups), entries)
    assert other.evaluation == "1 image · auc · native"


def test_ties_are_at_no_end() -> None:
    assert _farthest({"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0}, 2) == []
    assert _farthest({"a": 0.0, "b": 1.0, "c": 1.0, "d": 1.0}, 2) == ["a"]
    assert _farthest({"a": 0.0, "b": 1.0, "c": 2.0}, 2) == ["a", "b"]
    assert _farthest({"a": 0.0, "b": 0.0}, 2) == ["a", "b"]


def test_an_image_on_which_all_models_tie_is_not_disputed(results: Path, tmp_path: Path, alone: Gallery) -> None:
    reasons = [reason for image in alone.images for reason in image.reasons]
    assert reasons.count("largest disagreement") == 4
    for name in ("lab/warm", "lab/twin"):
        copy(folders(results)["lab/warm"], tmp_path / name / "auc" / "x", model__name=name)
    tied = [reason for image in gallery_of(tmp_path).images for reason in image.reasons]
    assert "largest disagreement" not in tied and tied.count("best") == tied.count("worst") == 4


def test_it_says_how_many_of_how_many_images_it_shows_and_how_to_get_more(results: Path, alone: Gallery) -> None:
    board, entries = build(collect([results]))
    pictured = len(galleries(board, entries, most=1000)[0].images)
    assert 24 == len(alone.images) < pictured < board.groups[0].n == 40
    for stated in ("24 of 40 images:", f"among the {pictured} with saved thumbnails", f"--gallery-images {pictured}"):
        assert stated in alone.extent
    assert "by AuC rebalanced (λ = 0.1)" in alone.extent and "--save predictions" in alone.extent
    (every,) = galleries(board, entries, most=pictured)
    assert len(every.images) == pictured and every.extent.startswith(f"{pictured} of 40 images:")
    assert "--gallery-images" not in every.extent and every.note is None
    assert {one.sha256 for one in alone.images} <= {one.sha256 for one in every.images}


def test_a_number_that_is_given_has_no_limit_of_size(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaderboards.gallery.BUDGETS", {"small": 60_000, "large": 60_000})
    board, entries = build(collect([results]))
    (short,) = galleries(board, entries)
    assert len(short.images) < 24 and f"{len(short.images)} of 40 images" in short.extent
    assert short.note is not None and "--gallery-images 24 sets no limit" in short.note
    (given,) = galleries(board, entries, most=24)
    assert len(given.images) == 24 and given.note is None


def test_without_thumbnails_it_counts_what_it_lists(results: Path, tmp_path: Path) -> None:
    only = shutil.copytree(folders(results)["lab/warm"], tmp_path / "one")
    change(only, files={**json.loads((only / "record.json").read_text())["files"], "saved_images": {}})
    made = gallery_of(tmp_path)
    assert not made.embedded and made.extent.startswith("24 of 40 images:") and "--gallery-images 40" in made.extent
    assert "saved thumbnails" not in made.extent and "--save none" in (made.note or "")
