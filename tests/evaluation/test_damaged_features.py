"""Stored features with other bytes than were written are named, and only the shards that have them are computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from colorbench.data import Dataset, open_dataset
from colorbench.errors import RunError
from tests.evaluation.test_features import made
from tests.support.engine import Listening
from tests.support.hostile_files import cut, emptied, flip, replaced_by_folder
from tests.support.probe import Blocks, write_classes

SHARD = 8


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", SHARD)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """24 images, one of which cannot be read: three shards."""
    folder = tmp_path_factory.mktemp("images")
    write_classes(folder, 8)
    open_dataset(folder).samples[0].path.write_bytes(b"no image")
    return open_dataset(folder)


@pytest.fixture
def cache(images: Dataset, tmp_path: Path) -> Path:
    made(Blocks(), images, tmp_path / "cache")
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "features").rglob("*") if path.is_file() and path.suffix != ".lock")


RNG = np.random.default_rng(20)
DAMAGES: dict[str, Callable[[Path], None]] = {
    **{f"flip {i}": lambda path, share=share: flip(path, share) for i, share in enumerate(RNG.uniform(0.05, 1, 6))},
    **{f"cut {i}": lambda path, share=share: cut(path, share) for i, share in enumerate(RNG.random(3))},
    "empty": emptied,
    "missing": Path.unlink,
    "a folder in its place": replaced_by_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_features_are_named_and_computed_again(
    damage: str, images: Dataset, cache: Path, tmp_path: Path
) -> None:
    whole, listing = made(Blocks(), images, cache), files(cache)
    expected = {layer: np.array(whole.matrix(layer)) for layer in whole.layers}
    assert [path.name for path in listing] == ["conv1.float32", "conv2.float32", "index.json"]
    for path in listing:
        copy = tmp_path / "copy"
        shutil.copytree(cache, copy)
        damaged = copy / path.relative_to(cache)
        DAMAGES[damage](damaged)
        model, listener = Blocks(), Listening()
        again = made(model, images, copy, listener=listener)
        if damage != "missing" or path.suffix != ".json":
            assert [line for line in listener.messages if str(damaged) in line], (path, listener.messages)
        for layer, rows in expected.items():
            np.testing.assert_array_equal(again.matrix(layer), rows)
        assert again.rows == whole.rows or again.rows.sha256s == whole.rows.sha256s
        if "flip" in damage and path.suffix != ".json":
            assert model.seen in (SHARD - 1, SHARD), "one shard is computed again, no other"
        quiet, unseen = Listening(), Blocks()
        made(unseen, images, copy, listener=quiet)
        assert quiet.messages == [] and unseen.seen == 0, "they are whole again"
        shutil.rmtree(copy)


def test_a_disk_that_damages_what_is_written_ends_it_in_one_line(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colorbench.results.feature_writer.wrong_shards", lambda *_: {1})
    listener = Listening()
    with pytest.raises(RunError, match="damaged 3 times after they were written"):
        made(Blocks(), images, tmp_path, listener=listener)
    assert len(listener.messages) == 2 * 4
