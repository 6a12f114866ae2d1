"""Any file of a run that is cut off or has a flipped bit is named, set aside and made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from colorbench.data import Dataset
from colorbench.errors import UserError
from tests.support.engine import DistanceProtocol, Flat, Listening, Noise, evaluate, loaded, read_folder, with_protocol
from tests.support.hostile_files import replaced_by_folder
from tests.support.same_records import assert_same, record_below

pytestmark = pytest.mark.usefixtures("only_the_pass")


def flipped(position: float, bit: int) -> Callable[[bytes], bytes]:
    """Return a function that flips a bit of the byte at a share of the length."""

    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[min(int(position * len(data)), len(data) - 1)] ^= 1 << bit
        return bytes(changed)

    return flip


DAMAGES = {
    "first byte": flipped(0, 0),
    "third": flipped(0.33, 1),
    "middle": flipped(0.5, 3),
    "last byte": flipped(1, 2),
    "cut": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "empty": lambda data: b"",
}


IMAGES = {".png", ".webp"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", 2)
    monkeypatch.setattr("colorbench.results.saved_image_index.FIXED", 1)
    monkeypatch.setattr("colorbench.results.saved_image_index.EXTREMES", 0)
    with_protocol(monkeypatch, distance=DistanceProtocol())


def measure(dataset: Dataset, output: Path) -> list[str]:
    """Run, and return what was said."""
    listener = Listening()
    evaluate(dataset, output, Noise(), listener=listener, save="predictions", workers=0)
    return listener.messages


def damaged(whole: Path, scratch: Path, files: list[Path]) -> Iterator[tuple[Path, Path, bytes]]:
    """Yield copies of an output folder with one damaged file each: (output, file, its bytes).

    Of saved images of one format, all but the first are damaged in one way only.
    """
    seen = set()
    for file in files:
        data = file.read_bytes()
        again = file.suffix in IMAGES & seen
        seen.add(file.suffix)
        for name, change in {"middle": DAMAGES["middle"]}.items() if again else DAMAGES.items():
            output = scratch / f"{file.name} {name}"
            shutil.copytree(whole, output)
            path = output / file.relative_to(whole)
            path.write_bytes(change(data))
            yield output, path, change(data)
            shutil.rmtree(output)


def test_every_file_of_a_finished_run(tiny: Path, tmp_path: Path) -> None:
    dataset, whole = read_folder(tiny), tmp_path / "whole"
    measure(dataset, whole)
    files = [path for path in sorted(record_below(whole).rglob("*")) if path.is_file()]
    assert len(files) == 5 + 4 + 3  # record, plan, rows, arrays, list of predictions; thumbnails; predictions
    for output, path, data in damaged(whole, tmp_path, files):
        said = measure(dataset, output)
        assert any(f"{path} is damaged" in line for line in said), (path, said)
        assert_same(output, record_below(whole))
        asides = list(record_below(output).glob(f"{path.stem}.damaged-*"))
        assert [aside.read_bytes() for aside in asides] == [data], path
        if "middle" in output.name:
            assert not any("damaged" in line for line in measure(dataset, output)), "it is whole again"


def test_a_damaged_record_costs_no_other_model(tiny: Path, tmp_path: Path) -> None:
    dataset = read_folder(tiny)
    first = evaluate(dataset, tmp_path, loaded(Noise(), "test/one"), loaded(Flat(), "test/two"), workers=0)
    for name in ("record.json", "rows.parquet", "plan.json"):
        (path,) = tmp_path.glob(f"test/one/*/*/{name}")
        path.write_bytes(DAMAGES["middle"](path.read_bytes()))
        model, listener = Flat(), Listening()
        again = evaluate(
            dataset, tmp_path, loaded(Noise(), "test/one"), loaded(model, "test/two"), workers=0, listener=listener
        )
        assert again[1] == first[1] and model.ids == [], "the other model's record is read as it is"
        assert again[0].metrics == first[0].metrics
        assert any(f"{path} is damaged" in line for line in listener.messages)


class Stopped(Exception):
    """Ends a run before its record is made."""


def stop(*_: object) -> None:
    raise Stopped


def test_every_file_of_an_unfinished_run(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, whole, unfinished = read_folder(tiny), tmp_path / "whole", tmp_path / "unfinished"
    measure(dataset, whole)

    with monkeypatch.context() as patch:
        patch.setattr(import_module("colorbench.evaluation.task_records"), "_record", stop)
        with pytest.raises(Stopped):
            measure(dataset, unfinished)
    files = [path for path in sorted(unfinished.rglob("*")) if path.is_file() and path.stat().st_size]
    assert len(files) == 2 + 1 + 3 + 3  # shards, plan, thumbnails, predictions
    for output, path, _ in damaged(unfinished, tmp_path, files):
        said = measure(dataset, output)
        assert any(str(path) in line and "damaged" in line for line in said), (path, said)
        assert_same(output, record_below(whole))


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_in_the_place_of_any_file(
    finished: bool, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, whole, start = read_folder(tiny), tmp_path / "whole", tmp_path / "start"
    measure(dataset, whole)
    if finished:
        shutil.copytree(whole, start)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(import_module("colorbench.evaluation.task_records"), "_record", stop)
            with pytest.raises(Stopped):
                measure(dataset, start)
    for file in [path for path in sorted(start.rglob("*")) if path.is_file() and path.stat().st_size]:
        output = tmp_path / f"folder {file.name}"
        shutil.copytree(start, output)
        path = output / file.relative_to(start)
        replaced_by_folder(path)
        if file.suffix in IMAGES and not finished:
            with pytest.raises(UserError, match=f"there is a folder where a file is needed .*{file.name}"):
                measure(dataset, output)
            path.rmdir()
        else:
            said = measure(dataset, output)
            assert any(str(path) in line and "damaged" in line for line in said), (path, said)
        measure(dataset, output)
        assert_same(output, record_below(whole))
        shutil.rmtree(output)
