"""Presets as data, what of them reaches the loss, the optimizer and the card; images by folder and by step."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from colorbench.color import load_prior, rebalancing_weights, rgb_to_lab
from colorbench.color.prior import from_counts, hard_counts, smooth
from colorbench.data import open_dataset
from colorbench.errors import UserError
from colorbench.models import save_weights
from colorbench.training.accelerator import make_accelerator
from colorbench.training.copied_weights import copy_weights
from colorbench.training.image_cache import ImageCache, build_cache
from colorbench.training.learning_rate_schedule import learning_rate
from colorbench.training.optimizer import make_optimizer
from colorbench.training.trained_model_export import count_prior
from colorbench.training.training_batches import Feed, Order
from colorbench.training.training_plots import prior_plot
from colorbench.training.training_preset import TrainingPreset
from colorbench.training.training_run import name_sources
from tests.support.training import TINY, write_images
from zoo.cic import CIC
from zoo.cic.network import Network
from zoo.cic.training_task import ClassificationTraining


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(
    ("preset", "rates"),
    [
        ("paper", {0: 3e-5, 199_999: 3e-5, 200_000: 1e-5, 374_999: 1e-5, 375_000: 3e-6, 449_999: 3e-6}),
        ("released", {0: 3.16e-5, 214_999: 3.16e-5, 215_000: 9.9856e-6, 430_000: 3.15545e-6}),
    ],
)
def test_the_learning_rates_of_text_and_code(preset: str, rates: dict[int, float]) -> None:
    settings = CIC.presets[preset]
    assert settings.steps == 450_000
    for step, rate in rates.items():
        assert learning_rate(settings, step, settings.steps) == pytest.approx(rate)


def test_paper_and_released_differ_as_text_and_code_do() -> None:
    paper, released = CIC.presets["paper"], CIC.presets["released"]
    assert (paper.neighbors, released.neighbors) == (5, 10)
    assert (paper.prior, released.prior) == ("smoothed", "soft")
    assert (paper.gray_mask, released.gray_mask) == (None, 5.0)
    assert paper.temperature == 0.38 and released.temperature == pytest.approx(0.3837, abs=1e-4)
    for preset in (paper, released):
        (view,) = preset.views
        assert (preset.cache_size, view.size, view.low, view.high, view.batch_size) == (256, 176, 176, 176, 40)
        assert (preset.width, preset.lam, preset.betas, preset.weight_decay) == (1.0, 0.5, (0.9, 0.99), 1e-3)
        assert (preset.optimizer, preset.reduction, preset.start, preset.head) == ("adam", "sum", "kmeans", "kmeans")


def test_departures_are_told_and_impossible_settings_refused() -> None:
    paper = CIC.presets["paper"]
    assert paper.changed({"width": 0.5, "batch_size": 8}).departures(paper) == [
        "width 0.5 instead of 1",
        "views ((begin 0 size 176 low 176 high 176 batch_size 8)) instead of "
        "((begin 0 size 176 low 176 high 176 batch_size 40))",
    ]
    assert paper.departures(paper) == []
    for changes, message in (
        ({"widht": 1}, "widht"),
        ({"lam": 2}, "lam"),
        ({"cache_size": 128}, "crops of 176..176 do not fit into images of 128"),
    ):
        with pytest.raises(UserError, match=message):
            paper.changed(changes)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """A vivid image, and one without color: L and ab."""
    from skimage.data import coffee

    rgb = torch.from_numpy(coffee()[100:148, 100:148].copy()).permute(2, 0, 1)
    lab = torch.stack([rgb_to_lab(rgb), rgb_to_lab(rgb)])
    lab[1, 1:] = 4.9  # the mask's threshold is 5
    return lab[:, :1], lab[:, 1:]


def gradient(preset: TrainingPreset, lightness: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    task = ClassificationTraining(preset, load_prior()).eval()
    loss, _ = task(lightness, ab)
    loss.backward()
    assert task.network.head.weight.grad is not None
    return task.network.head.weight.grad


def test_the_gray_mask_takes_the_gradient_and_not_the_position_in_the_batch() -> None:
    lightness, ab = batch()
    masked = TINY.changed({"gray_mask": 5.0})
    alone = gradient(TINY, lightness[:1], ab[:1])
    assert (gradient(masked, lightness, ab) - alone / 2).norm() < 1e-5 * alone.norm()
    assert (gradient(TINY, lightness, ab) - alone / 2).norm() > 0.01 * alone.norm()
    assert float(gradient(masked, lightness[1:], ab[1:]).abs().max()) == 0


def test_a_sum_over_pixels_is_as_many_times_the_mean() -> None:
    lightness, ab = batch()
    summed = gradient(TINY.changed({"reduction": "sum"}), lightness, ab)
    mean = gradient(TINY, lightness, ab)
    assert (summed - mean * 12 * 12).norm() < 1e-5 * summed.norm()


def test_weight_decay_couples_as_the_preset_says() -> None:
    layer = torch.nn.Linear(1, 1)
    for optimizer, decayed, expected in (
        # Coupled: the decay is all the gradient there is, and Adam makes a whole step of any gradient.
        ("adam", "all", (2 - 0.1, 2 - 0.1)),
        ("adamw", "all", (2 * (1 - 0.1 * 0.5), 2 * (1 - 0.1 * 0.5))),
        ("adamw", "filters", (2 * (1 - 0.1 * 0.5), 2)),
    ):
        torch.nn.init.constant_(layer.weight, 2)
        torch.nn.init.constant_(layer.bias, 2)
        preset = TINY.changed({"optimizer": optimizer, "decayed": decayed, "learning_rate": 0.1, "weight_decay": 0.5})
        chosen = make_optimizer(layer, preset)
        for parameter in layer.parameters():
            parameter.grad = torch.zeros_like(parameter)
        chosen.step()
        assert [float(p.detach()) for p in layer.parameters()] == pytest.approx(list(expected), abs=1e-5)


def test_the_prior_is_soft_or_hard_and_smoothed_once() -> None:
    rng = np.random.default_rng(0)
    from skimage.data import astronaut

    image = astronaut()
    pixels = np.stack([image[t : t + 40, t : t + 40] for t in rng.integers(0, 400, 5)])
    indices = np.array([0, 1, 2, 2, 2])
    ab = rgb_to_lab(torch.from_numpy(pixels[indices][:, ::2, ::2].transpose(0, 3, 1, 2).copy()))[:, 1:].contiguous()
    hard = from_counts(hard_counts(ab), "hard", "x", images=3)
    found = count_prior(pixels, indices, TINY.changed({"prior": "smoothed"}), "x")
    # An image that is drawn three times counts three times, and is one image.
    assert np.allclose(found.probabilities, smooth(hard).probabilities) and found.images == 3
    soft = count_prior(pixels, indices, TINY, "x")
    assert soft.kind == "soft" and soft.entropy > hard.entropy
    assert count_prior(pixels, indices, TINY.changed({"prior_floor": 1e-5}), "x").probabilities.min() > 9e-6


def test_every_image_comes_once_a_round_and_the_chosen_ones_more_often() -> None:
    indices = np.repeat(np.arange(10), [1] * 8 + [5] * 2)
    preset = TINY.changed({"batch_size": 6})
    order = Order(indices, preset, steps=12, seed=0)
    seen = np.concatenate([order.at(step) for step in range(9)])  # three rounds of 18
    assert np.array_equal(np.bincount(seen, minlength=10), [3] * 8 + [15] * 2)
    assert np.array_equal(order.at(7), Order(indices, preset, 12, 0).at(7))
    assert not np.array_equal(order.at(7), Order(indices, preset, 12, 1).at(7))


def test_views_of_other_batch_sizes_follow_one_another_without_a_gap() -> None:
    order = Order(np.arange(1000), TINY, steps=11, seed=0)  # 8 a step, from step 6 on 4
    seen = np.concatenate([order.at(step) for step in range(11)])
    assert [len(order.at(step)) for step in range(11)] == [8] * 6 + [4] * 5
    assert len(np.unique(seen)) == len(seen) == 68


def test_parts_of_a_batch_are_the_batch() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (20, 40, 40, 3), np.uint8)
    order, cpu = Order(np.arange(20), TINY, 12, 0), torch.device("cpu")
    full, halves = (
        Feed(pixels, order, parts=[(0, 1)], device=cpu),
        Feed(pixels, order, parts=[(0, 2), (1, 2)], device=cpu),
    )
    for step in (0, 1, 7):
        assert torch.equal(torch.cat(halves.take(step)), full.take(step)[0])
    full.close(), halves.close()


def test_copies_of_a_image_are_never_on_both_sides() -> None:
    hashes = np.repeat(np.arange(100, dtype=np.uint64), 3)
    chosen, validation = ImageCache(np.zeros(300), hashes).split()
    assert len(validation) >= 8 and len(chosen) + len(validation) == 300
    assert not set(hashes[chosen]) & set(hashes[validation])


def test_an_unfinished_cache_is_made_again_and_skips_are_remembered(images: Path, tmp_path: Path) -> None:
    dataset = open_dataset(images)
    full = build_cache([dataset], tmp_path, 24)
    (tmp_path / "index.json").unlink()  # as when it was killed in between
    np.save(tmp_path / "hashes.npy", full.hashes[:3])
    again = build_cache([dataset], tmp_path, 24)
    assert np.array_equal(again.hashes, full.hashes)
    taken = build_cache([dataset], tmp_path, 24)  # as it is
    assert [id for id, _ in taken.skipped] == ["broken.jpg"] and np.array_equal(taken.pixels, full.pixels)


def test_folders_are_named_as_far_as_they_differ(tmp_path: Path) -> None:
    given = []
    for name in ("a/train", "b/train", "c/misc"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "x.png")
        given.append((folder, open_dataset(folder)))
    sources = name_sources(given, {"misc": 5, "b/train": 2})
    assert [(s.name, s.repeats) for s in sources] == [("a/train", 1), ("b/train", 2), ("misc", 5)]
    for repeats, message in (
        ({"train": 2}, "several"),
        ({"d": 2}, "none"),
        ({"misc": 0}, "an integer of at least 1"),
        ({"misc": 1.5}, "an integer of at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            name_sources(given, repeats)
    with pytest.raises(UserError, match="twice"):
        name_sources([given[0], given[0]], {})


def test_a_regression_begins_from_the_trunk_of_a_classification(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classification, regression = Network(0.125), Network(0.125, 2)
    save_weights({n: v.half() for n, v in classification.state_dict().items()}, tmp_path / "cic.safetensors")
    head = regression.head.weight.detach().clone()
    assert copy_weights(regression, tmp_path / "cic.safetensors") == ["head.weight", "head.bias"]
    trunk = classification.trunk.conv4[2].weight.half().float()
    assert torch.equal(regression.trunk.conv4[2].weight, trunk) and torch.equal(regression.head.weight, head)
    assert copy_weights(Network(0.125), tmp_path / "cic.safetensors") == []
    with pytest.raises(UserError, match="do not fit the network"):
        copy_weights(Network(0.25, 2), tmp_path / "cic.safetensors")


def test_devices_and_precisions_that_are_not_there_are_refused() -> None:
    for device, dtype, message in (
        ("cpu", "float16", "needs a GPU"),
        ("cpu", "int8", "float32, bfloat16, float16"),
        ("tpu", "float32", "no such device"),
    ):
        with pytest.raises(UserError, match=message):
            make_accelerator(device, dtype)


def test_the_prior_is_drawn_with_common_bins_larger(tmp_path: Path) -> None:
    prior_plot(load_prior()).write(tmp_path / "prior.png")
    drawn = np.asarray(Image.open(tmp_path / "prior.png").convert("RGB")).astype(int)
    colored = (np.ptp(drawn, axis=2) > 12).sum()
    p = np.full(313, 1e-9)
    p[120] = 1
    prior_plot(from_counts(p, "hard", "one bin", images=1)).write(tmp_path / "one.png")
    other = np.asarray(Image.open(tmp_path / "one.png").convert("RGB")).astype(int)
    assert colored > 3 * (np.ptp(other, axis=2) > 12).sum()


def test_the_command_shows_presets(colorbench: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    shown = json.loads(colorbench("show", "zoo/cic", "--json").stdout)["training presets"]
    assert set(shown) == {"small", "base", "paper", "released"}
    assert "neighbors=5" in shown["paper"] and "gray_mask=5," in shown["released"]


def test_rebalancing_off_weighs_all_alike() -> None:
    assert np.allclose(rebalancing_weights(load_prior().probabilities, 1.0), 1)
    assert math.isclose(float(rebalancing_weights(load_prior().probabilities, 0.5) @ load_prior().probabilities), 1)
