"""Features: what a map becomes, and that images are shown to a network once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset, contents_digest, open_dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import read_features
from colorbench.evaluation.protocol_interfaces import ThroughputMeter
from colorbench.evaluation.run_config import ExecutionConfig
from colorbench.models import FeatureExtractor, FeatureSpec, Pooling, chosen_layers
from colorbench.results import FeatureStore
from tests.support.engine import Listening
from tests.support.probe import Blocks, write_classes

CUT = FeatureSpec("squash32", Pooling(60))


@pytest.fixture
def images(tmp_path: Path) -> Dataset:
    """72 images: two shards."""
    return write_classes(tmp_path / "images", 24)


def settings(**changes: Any) -> ExecutionConfig:
    values = {
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "batch_size": 8,
        "workers": 0,
        "seed": 0,
        "gray_policy": "keep",
        "threads": 1,
        "gallery": frozenset(),
        "predictions": {},
    }
    return ExecutionConfig(**{**values, **changes})


def made(
    model: Blocks,
    dataset: Dataset,
    cache: Path,
    cut: FeatureSpec = CUT,
    listener: Listening | None = None,
    **changes: Any,
) -> FeatureStore:
    source = FeatureExtractor("test/blocks", {"of": "the test"}, model.eval().features, "blocks")
    progress = ThroughputMeter(listener or Listening())
    with torch.no_grad():
        (stored,) = read_features([source], dataset, cut, settings(**changes), cache, progress)
    return stored


@pytest.mark.parametrize(("channels", "side"), [(96, 10), (256, 6), (384, 5)])
def test_sides_are_those_of_the_released_code(channels: int, side: int) -> None:
    # feature_learning_tests/linear/train_val.prototxt: 96x10x10, 256x6x6, 384x5x5.
    assert Pooling(9000).side(channels, 30, 30) == side


def test_a_map_is_never_enlarged() -> None:
    assert Pooling(9000).side(48, 12, 12) == 12


def test_average_pooling_is_the_mean_of_equal_areas() -> None:
    maps = torch.rand(2, 15, 8, 8)
    rows = Pooling(60).apply(maps)
    by_hand = maps.reshape(2, 15, 2, 4, 2, 4).mean(dim=(3, 5)).reshape(2, 60)
    torch.testing.assert_close(rows, by_hand)


def test_bilinear_takes_the_corners_as_they_are() -> None:
    maps = torch.rand(1, 15, 7, 7)
    rows = Pooling(60, "bilinear").apply(maps).reshape(15, 2, 2)
    torch.testing.assert_close(rows, maps[0][:, ::6, ::6])


def test_blocks_are_what_is_no_layer_within_a_block() -> None:
    names = ["conv1_1", "conv1_2", "conv1", "stage_2", "head"]
    assert chosen_layers(names, "blocks") == ["conv1", "stage_2", "head"]
    assert chosen_layers(names, "all") == names
    assert chosen_layers(names, "head,conv1") == ["conv1", "head"]
    with pytest.raises(UserError, match="conv9"):
        chosen_layers(names, "conv9")


def test_stored_rows_are_those_of_each_image_alone(images: Dataset, tmp_path: Path) -> None:
    model = Blocks()
    stored = made(model, images, tmp_path)
    assert dict(stored.layers) == {"conv1": 54, "conv2": 48}
    for position in (0, 41, 71):
        rgb = np.array(Image.open(images.samples[position].path))
        lightness = rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[:, :1]
        with torch.no_grad():
            row = CUT.shrinking.apply(model.features(lightness)["conv2"]).numpy()[0]
        np.testing.assert_allclose(stored.matrix("conv2")[position], row, atol=2e-3)
    assert stored.rows.ids == tuple(sample.id for sample in images.samples)
    assert stored.labels.tolist() == [sample.label for sample in images.samples]


def test_the_size_and_place_of_stored_features_are_stated_once(images: Dataset, tmp_path: Path) -> None:
    told = [Listening(), Listening()]
    for listener in told:
        made(Blocks(), images, tmp_path / "cache", listener=listener)
    (line,) = [one for one in told[0].messages if one.startswith("features: ")]
    assert line.endswith(f" MB in {tmp_path / 'cache' / 'features'}, for later runs")
    assert not [one for one in told[1].messages if one.startswith("features: ")], "nothing new is stored"


def test_a_second_time_no_image_is_opened(images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, model = made(Blocks(), images, tmp_path), Blocks()

    def opened(*_: Any, **__: Any) -> Any:
        pytest.fail("an image was opened")

    # Their times and places on the disk are looked at: a file that was replaced has other features.
    monkeypatch.setattr("colorbench.data.dataset_hashes.sha256_if_readable", opened)
    monkeypatch.setattr("colorbench.evaluation.feature_store.load_batches", opened)
    second = made(model, images, tmp_path)
    assert model.seen == 0
    np.testing.assert_array_equal(first.matrix("conv1"), second.matrix("conv1"))


def test_out_of_memory_goes_on_with_smaller_batches(images: Dataset, tmp_path: Path) -> None:
    class Limited(Blocks):
        def features(self, lightness: torch.Tensor) -> dict[str, torch.Tensor]:
            if len(lightness) > 3:
                raise MemoryError
            return super().features(lightness)

    model, listener = Limited(), Listening()
    stored = made(model, images, tmp_path / "a", listener=listener)
    assert [line for line in listener.messages if not line.startswith("features: ")] == [
        "out of memory with batches of 8: going on with 4",
        "out of memory with batches of 4: going on with 2",
    ]
    assert listener.done == listener.total == model.seen == 72, "the next shard has the smaller batches at once"
    usual = made(Blocks(), images, tmp_path / "b")
    np.testing.assert_allclose(stored.matrix("conv2"), usual.matrix("conv2"), atol=1e-5)


def test_it_goes_on_after_the_last_finished_shard(images: Dataset, tmp_path: Path) -> None:
    class Killed(Blocks):
        def features(self, lightness: torch.Tensor) -> dict[str, torch.Tensor]:
            if self.seen >= 64:
                raise KeyboardInterrupt
            return super().features(lightness)

    with pytest.raises(KeyboardInterrupt):
        made(Killed(), images, tmp_path / "a")
    again = Blocks()
    resumed = made(again, images, tmp_path / "a")
    assert again.seen == 72 - 64
    full = made(Blocks(), images, tmp_path / "b")
    np.testing.assert_array_equal(resumed.matrix("conv2"), full.matrix("conv2"))
    assert resumed.rows.sha256s == full.rows.sha256s


def test_content_decides_and_not_names_or_times(images: Dataset, tmp_path: Path) -> None:
    folder = images.samples[0].path.parents[1]
    key = made(Blocks(), images, tmp_path).key
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(f"x-{path.name}"))
    model = Blocks()
    touched = made(model, open_dataset(folder), tmp_path)
    assert touched.key == key and model.seen == 0
    assert touched.rows.ids[0].startswith("x-")
    path = open_dataset(folder).samples[3].path
    Image.open(path).rotate(90).save(path)
    assert made(Blocks(), open_dataset(folder), tmp_path).key != key


def test_the_digest_of_a_set_knows_its_classes(images: Dataset, tmp_path: Path) -> None:
    folder = images.samples[0].path.parents[1]
    before = contents_digest(images, tmp_path)
    (folder / "coffee").rename(folder / "tea")
    assert contents_digest(open_dataset(folder), tmp_path) != before


def test_an_unreadable_image_is_passed_over(images: Dataset, tmp_path: Path) -> None:
    broken = images.samples[5]
    broken.path.write_bytes(b"no image")
    stored = made(Blocks(), images, tmp_path)
    assert [id for id, _ in stored.rows.skipped] == [broken.id]
    assert stored.matrix("conv1").shape == (71, 54)
    rows = np.asarray(stored.matrix("conv1"))
    assert np.abs(rows).sum(axis=1).min() > 0
    np.testing.assert_array_equal(stored.matrix("conv1")[[3, 70]], rows[[3, 70]])


def test_features_that_are_no_numbers_are_refused(images: Dataset, tmp_path: Path) -> None:
    model = Blocks()
    model.spoilt = "conv2"
    with pytest.raises(RunError, match="NaN or infinity in layer conv2"):
        made(model, images, tmp_path)


def test_features_too_large_for_half_precision_are_refused(images: Dataset, tmp_path: Path) -> None:
    model = Blocks()
    model.conv2.weight.data *= 1e6
    with pytest.raises(RunError, match="too large for float16"):
        made(model, images, tmp_path, FeatureSpec("squash32", Pooling(60), "float16"))
    assert np.isfinite(made(model, images, tmp_path).matrix("conv2")).all()
