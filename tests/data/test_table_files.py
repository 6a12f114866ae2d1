"""Parquet files and saved datasets: against ``datasets`` itself, with every layout of columns, and damaged."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from colorbench.data import Dataset, decode_image
from colorbench.data.image_decoding import UnreadableImage
from colorbench.data.sources import open_dataset, table_files
from colorbench.errors import RunError, UserError
from tests.support.containers import files_of, write_parquet

HF = pytest.importorskip("datasets", reason="the extra hf is not installed")


def picture(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), (color, 255 - color, 7), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


def made(n: int = 10) -> object:
    """A dataset of ``datasets`` with images, names and classes."""
    features = HF.Features({"image": HF.Image(), "label": HF.ClassLabel(names=["dog", "cat"])})
    rows = {
        "image": [{"bytes": picture(i), "path": f"in/{i}.png"} for i in range(n)],
        "label": [i % 2 for i in range(n)],
    }
    return HF.Dataset.from_dict(rows, features=features)


def saved(tmp_path: Path, n: int = 10) -> Path:
    made(n).save_to_disk(tmp_path / "saved", num_shards=3)
    return tmp_path / "saved"


def parquet(tmp_path: Path, n: int = 10) -> Path:
    made(n).to_parquet(tmp_path / "set.parquet", batch_size=3)
    return tmp_path / "set.parquet"


@pytest.mark.parametrize("write", [saved, parquet])
def test_rows_are_those_of_datasets(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path)
    theirs = HF.load_from_disk(path) if path.is_dir() else HF.Dataset.from_parquet(str(path), cache_dir=tmp_path / "c")
    ours = open_dataset(path)
    assert ids(ours) == [f"{i:08d}/{i}.png" for i in range(10)] == sorted(ids(ours))
    assert ours.class_names == ("dog", "cat") and [s.label for s in ours.samples] == theirs["label"]
    for sample, row in zip(ours.samples, theirs, strict=True):
        assert (decode_image(sample).rgb == np.asarray(row["image"].convert("RGB"))).all()
    # Backwards, so that a row group is read again.
    assert [s.read() for s in reversed(ours.samples)] == [picture(i) for i in reversed(range(10))]
    assert len(ours.limit(3)) == 3


def test_a_selection_that_was_saved_is_read_in_its_order(tmp_path: Path) -> None:
    made().select([7, 2, 5]).save_to_disk(tmp_path / "few")
    assert [sample.read() for sample in open_dataset(tmp_path / "few").samples] == [picture(i) for i in (7, 2, 5)]


def test_several_parquet_files_are_numbered_on(tmp_path: Path) -> None:
    for number in range(3):
        images = {f"{number}{i}.png": picture(10 * number + i) for i in range(5)}
        write_parquet(tmp_path / "set" / f"train-{number:05d}-of-00003.parquet", images, ["b", "a", "b", "a", "b"], 2)
    dataset = open_dataset(tmp_path / "set")
    assert ids(dataset)[:2] == ["00000000/00.png", "00000001/01.png"] and ids(dataset)[-1] == "00000014/24.png"
    assert dataset.class_names == ("a", "b") and dataset.source == "3 Parquet files of set"
    assert [s.read() for s in dataset.samples] == [picture(10 * n + i) for n in range(3) for i in range(5)]
    write_parquet(tmp_path / "set" / "test-00000-of-00001.parquet", {"x": picture(1)}, ["b"])
    with pytest.raises(UserError, match="several splits: test, train"):
        open_dataset(tmp_path / "set")


def _table(**columns: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pyarrow.parquet.write_table(pyarrow.table(columns), path)

    return write


TWO = [picture(1), picture(2)]
LAYOUTS: dict[str, tuple[Callable[[Path], None], list[str], object]] = {
    "plain bytes": (_table(image=pyarrow.array(TWO)), ["00000000", "00000001"], None),
    "large bytes of another name": (_table(picture=pyarrow.array(TWO, pyarrow.large_binary())), [], None),
    "no path": (_table(image=pyarrow.array([{"bytes": one} for one in TWO])), ["00000000", "00000001"], None),
    "null paths": (_table(img=pyarrow.array([{"bytes": b, "path": None} for b in TWO])), [], None),
    "hostile paths": (
        _table(image=pyarrow.array([{"bytes": TWO[0], "path": "../../etc/.."}, {"bytes": TWO[1], "path": "C:\\a\\b"}])),
        ["00000000", "00000001/b"],
        None,
    ),
    "numbers as classes": (_table(image=pyarrow.array(TWO), label=pyarrow.array([2, 0])), [], ("0", "", "2")),
    "-1 is not a class": (_table(image=pyarrow.array(TWO), label=pyarrow.array([-1, -1])), [], None),
    "floats are no classes": (_table(image=pyarrow.array(TWO), label=pyarrow.array([0.5, 1.0])), [], None),
    "two columns of bytes": (_table(image=pyarrow.array(TWO), mask=pyarrow.array(TWO)), [], None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_columns(tmp_path: Path, layout: str) -> None:
    write, expected, names = LAYOUTS[layout]
    write(tmp_path / "set.parquet")
    dataset = open_dataset(tmp_path / "set.parquet")
    assert [sample.read() for sample in dataset.samples] == TWO and dataset.class_names == names
    assert not expected or ids(dataset) == expected


def test_a_row_without_bytes_is_skipped_with_a_reason(tmp_path: Path) -> None:
    _table(image=pyarrow.array([{"bytes": None, "path": "/etc/passwd"}, {"bytes": TWO[0], "path": "a"}]))(
        tmp_path / "set.parquet"
    )
    missing, there = open_dataset(tmp_path / "set.parquet").samples
    with pytest.raises(UnreadableImage, match="the row has no bytes of an image"):
        decode_image(missing)
    assert there.read() == TWO[0]


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no images": (_table(text=pyarrow.array(["a"])), "no column of images"),
    "several": (_table(a=pyarrow.array(TWO), b=pyarrow.array(TWO)), "2 columns may be images: a, b"),
    "no rows": (_table(image=pyarrow.array([], pyarrow.binary())), "no images in Parquet file"),
    "no table": (lambda path: path.write_bytes(b"text") and None, "damaged|cannot read"),
    "empty": (lambda path: path.write_bytes(b"") and None, "damaged|cannot read"),
    "a control character in a name": (
        _table(image=pyarrow.array([{"bytes": TWO[0], "path": "a\x1b.png"}])),
        "control characters",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(tmp_path: Path, what: str) -> None:
    write, message = REFUSED[what]
    write(tmp_path / "set.parquet")
    with pytest.raises(UserError, match=message) as error:
        open_dataset(tmp_path / "set.parquet")
    assert "\n" not in str(error.value)


def test_a_row_group_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "LARGEST_ROW_GROUP", 1000)
    write_parquet(tmp_path / "set.parquet", {str(i): picture(i) for i in range(100)}, rows=100)
    with pytest.raises(UserError, match="row group 0 has .* MiB of images.*row_group_size=100"):
        open_dataset(tmp_path / "set.parquet")


def test_row_groups_of_all_files_together_stay_within_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(picture(0))
    monkeypatch.setattr(table_files, "MOST_IN_MEMORY", 6 * (size + 20))  # about three groups of two images
    for number in range(6):
        write_parquet(
            tmp_path / "set" / f"{number}.parquet", {str(i): picture(4 * number + i) for i in range(4)}, rows=2
        )
    read: list[int] = []
    read_group = table_files.ParquetFile._read_group
    monkeypatch.setattr(
        table_files.ParquetFile, "_read_group", lambda file, number: read.append(number) or read_group(file, number)
    )
    samples = open_dataset(tmp_path / "set").samples
    assert [sample.read() for sample in samples] == [picture(i) for i in range(24)] and read == 6 * [0, 1]
    assert samples[-1].read() == picture(23) and samples[-4].read() == picture(20) and len(read) == 12
    kept = samples[0].container._groups  # one for all files
    assert 2 * size <= sum(group.nbytes for group in kept._groups.values()) <= table_files.MOST_IN_MEMORY
    assert samples[0].read() == picture(0) and len(read) == 13


def _problem(path: Path) -> str:
    """What opening and decoding every image says, in one line; empty without a problem."""
    try:
        for sample in open_dataset(path).samples:
            decode_image(sample)
    except (UserError, UnreadableImage) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("write", [saved, parquet])
def test_a_cut_file_is_refused_and_a_flipped_byte_is_no_traceback(
    tmp_path: Path, write: Callable[[Path, int], Path]
) -> None:
    path = write(tmp_path, 4)
    file = sorted(path.glob("*.arrow"))[0] if path.is_dir() else path
    content = file.read_bytes()
    # Also between two batches, and before the mark of the end.
    cuts = [*range(0, len(content), max(1, len(content) // 40)), len(content) - 8, len(content) - 1]
    for place in [*cuts, *(at for at in range(0, len(content), 8) if content[at : at + 4] == b"\xff" * 4)]:
        file.write_bytes(content[:place])
        with pytest.raises(UserError) as error:
            open_dataset(path)
        assert "\n" not in str(error.value)
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        assert "\n" not in _problem(path)


def test_a_saved_dataset_with_splits_or_missing_files_is_named(tmp_path: Path) -> None:
    HF.DatasetDict({"train": made(4), "test": made(2)}).save_to_disk(tmp_path / "both")
    with pytest.raises(UserError, match=r"the splits test, train .*Give one of them, as .*/both/test"):
        open_dataset(tmp_path / "both")
    assert len(open_dataset(tmp_path / "both" / "test")) == 2
    folder = saved(tmp_path)
    first = sorted(folder.glob("*.arrow"))[0]
    first.rename(tmp_path / "away")
    with pytest.raises(UserError, match=f"lacks '{first.name}'"):
        open_dataset(folder)
    (tmp_path / "away").rename(first)
    state = json.loads((folder / "state.json").read_text())
    for wrong in ("../away", "/etc/passwd", "sub/x.arrow"):
        (folder / "state.json").write_text(json.dumps({**state, "_data_files": [{"filename": wrong}]}))
        with pytest.raises(UserError, match="no files of its own folder"):
            open_dataset(folder)
    for text in ("", "[]", "{}", '{"_data_files": 3}', "[" * 100_000):
        (folder / "state.json").write_text(text)
        with pytest.raises(UserError, match="the saved dataset is damaged"):
            open_dataset(folder)


@pytest.mark.parametrize("write", [saved, parquet])
def test_a_table_that_changes_after_listing_is_an_error(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path)
    dataset = open_dataset(path)
    os.utime(dataset.samples[0].path, ns=(1, 1))
    with pytest.raises(RunError, match="changed after its images were listed"):
        decode_image(dataset.samples[0])


def test_a_folder_of_images_is_not_taken_for_a_saved_dataset(images: Path, tmp_path: Path) -> None:
    for name, content in files_of(images).items():
        (tmp_path / Path(name).name).write_bytes(content)
    (tmp_path / "state.json").write_text("{}")
    assert len(open_dataset(tmp_path)) == 3
