"""Loss, initialization, images, and the command from a folder to measured weights."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import coffee
from typer.testing import CliRunner

from colorbench.cli import app
from colorbench.color import load_prior, rebalancing_weights, rgb_to_lab, soft_encode
from colorbench.data import open_dataset
from colorbench.errors import UserError
from colorbench.training.image_cache import build_cache, crop_batch, open_cache
from colorbench.training.journal import Journal
from colorbench.training.kmeans_initialization import kmeans_initialize
from colorbench.training.learning_rate_schedule import trapezoid
from colorbench.training.loss import rebalanced_cross_entropy
from colorbench.training.packaged_images import packaged_lightness
from colorbench.training.training_preset import CropStage
from tests.support.training import TINY, Silent, make_trainer, write_images
from zoo.cic.network import Network, layer_maps, scale_lightness


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def test_the_sparse_loss_and_its_gradient_equal_the_dense_definition() -> None:
    torch.manual_seed(0)
    ab = rgb_to_lab(torch.from_numpy(coffee()[:64:8, :96:8].copy()).permute(2, 0, 1))[None, 1:]
    logits = torch.randn(1, 313, 8, 12, requires_grad=True)
    weights = torch.from_numpy(rebalancing_weights(load_prior().probabilities)).float()
    target = soft_encode(ab)
    loss, kl = rebalanced_cross_entropy(logits, target, weights)
    summed = rebalanced_cross_entropy(logits, target, weights, reduction="sum").loss
    assert summed.item() == pytest.approx(loss.item() * 96, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    dense = target.dense()  # (1, 8, 12, 313)
    log_p = logits.movedim(1, -1).log_softmax(-1)
    entropy = -(dense * log_p).sum(-1)
    expected = (entropy * weights[dense.argmax(-1)]).mean()
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (gradient - expected_gradient).abs().max() < 1e-5 * expected_gradient.abs().max()
    unweighted = torch.nn.functional.kl_div(log_p, dense, reduction="sum") / entropy.numel()
    assert kl.item() == pytest.approx(unweighted.item(), rel=1e-4)


def test_the_loss_is_computed_in_float32_whatever_the_network_predictions_in() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 313, 4, 4).bfloat16()
    target = soft_encode(torch.randn(2, 2, 4, 4) * 20)
    loss = rebalanced_cross_entropy(logits, target, torch.ones(313)).loss
    assert loss.dtype == torch.float32
    assert torch.equal(loss, rebalanced_cross_entropy(logits.float(), target, torch.ones(313)).loss)


def test_kmeans_initialization_gives_every_layer_activations_of_unit_order() -> None:
    torch.manual_seed(0)
    lightness = packaged_lightness(48)
    network = Network(0.125)
    kmeans_initialize(network.trunk, scale_lightness(lightness))
    network.trunk.train()
    with torch.no_grad():
        initialized = layer_maps(network.trunk, scale_lightness(lightness))
        default = layer_maps(Network(0.125).trunk.train(), scale_lightness(lightness))
    deviations = {name: float(x.std()) for name, x in initialized.items()}
    assert all(0.3 < deviation < 2 for deviation in deviations.values()), deviations
    # The same bound fails for torch's own initialization, which is what it is for.
    assert not all(0.3 < float(x.std()) < 2 for x in default.values())


def test_kmeans_filters_differ_and_repeat_with_the_seed() -> None:
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        network = Network(0.125)
        kmeans_initialize(network.trunk, scale_lightness(packaged_lightness(32)), seed)
        networks.append(network.trunk.conv3[0].weight.detach())
    assert torch.equal(networks[0], networks[1]) and not torch.equal(networks[0], networks[2])
    filters = torch.nn.functional.normalize(networks[0].flatten(1), dim=1)
    similar = filters @ filters.T - torch.eye(len(filters))
    assert similar.max() < 0.999  # no two filters are one


def test_the_schedule_rises_stays_and_falls() -> None:
    factors = [trapezoid(step, 100, warmup=10, decay=0.4) for step in range(100)]
    assert factors[0] == 0.1 and factors[9] == 1 and factors[59] == 1 and factors[80] == 0.5
    assert factors[99] == pytest.approx(1 / 40)


def test_crops_keep_images_real(images: Path, tmp_path: Path) -> None:
    cache = build_cache([open_dataset(images)], tmp_path, 40)
    assert len(cache.pixels) == 72 and [id for id, _ in cache.skipped] == ["broken.jpg"]
    full = crop_batch(
        cache.pixels, [3], CropStage(begin=0, size=40, low=40, high=40, batch_size=1), np.random.default_rng(0)
    )
    expected = rgb_to_lab(torch.from_numpy(cache.pixels[3].copy()).permute(2, 0, 1))
    assert torch.equal(full[0], expected) or torch.equal(full[0], expected.flip(-1))
    again = build_cache([open_dataset(images)], tmp_path, 40)
    assert np.array_equal(again.pixels, cache.pixels) and np.array_equal(again.hashes, cache.hashes)


def test_held_images_are_not_trained_on(images: Path, tmp_path: Path) -> None:
    chosen, validation = build_cache([open_dataset(images)], tmp_path, 40).split()
    assert len(validation) > 0 and not set(chosen) & set(validation) and len(chosen) + len(validation) == 72


def test_training_lowers_the_loss_and_shows_how_good_it_got(images: Path, tmp_path: Path) -> None:
    listener = Silent()
    preset = TINY.changed({"steps": 60, "average": 0.9})
    make_trainer(images, tmp_path, preset, validate_every=20).run(listener)
    kl = [figures["kl"] for figures in listener.figures]
    assert np.mean(kl[-5:]) < np.mean(kl[:5]) - 0.1
    rows = Journal(tmp_path / "validation.csv").rows()
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[-1]["kl"] == pytest.approx(listener.validation[-1]["kl"], rel=1e-5) and rows[-1]["kl"] < rows[0]["kl"]
    # Gray is scored as the protocol scores it: by its mean chroma.
    cache = open_cache(tmp_path / "images")
    truth = rgb_to_lab(torch.from_numpy(cache.pixels[cache.split()[1]].transpose(0, 3, 1, 2).copy()))[:, 1:]
    chroma = float(truth.norm(dim=1).mean())
    assert rows[0]["gray_auc_raw"] == pytest.approx(100 - chroma / 1.5, abs=0.4)
    for name, size in (("curve.png", (2176, 510)), ("examples/0000060.png", (72 + 8 * 44, 3 * 44 + 4))):
        assert Image.open(tmp_path / name).size == size


def test_too_few_images_are_refused(images: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(images.glob("coffee*.jpg"))[:5]:
        (few / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="5 images are too few to train on"):
        make_trainer(few, tmp_path / "out")


@pytest.mark.parametrize("counts", [(0, 1), (1, 1), (9, 1), (71, 1), (40, 2)])
def test_too_few_images_are_refused_before_any_is_decoded(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int]
) -> None:
    count, folders = counts
    paths = sorted(images.glob("c*.jpg")) + sorted(images.glob("a*.jpg"))
    arguments = ["train", "zoo/cic", "-o", str(tmp_path / "out")]
    for part in range(folders):
        folder = tmp_path / f"part{part}"
        folder.mkdir()
        for path in paths[part * count // folders : (part + 1) * count // folders]:
            (folder / path.name).write_bytes(path.read_bytes())
        arguments += ["--data", str(folder)]

    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr("colorbench.training.training_run.build_cache", decoded)
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: no images in this folder" if count == 0 else "error: ")
    if count:
        told = re.search(r"(\d+) images are too few to train on.*Give at least (\d+) images", line)
        assert told is not None and (int(told[1]), int(told[2])) == (count, 72)
    assert not (tmp_path / "out" / "images").exists()


def test_the_command_trains_and_its_weights_can_be_measured(
    images: Path, tmp_path: Path, colorbench: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    arguments = ("train", "zoo/cic", "--data", images, "--steps", 3, "--output", tmp_path / "candidate")
    arguments = (*arguments, "--param", "width=0.125", "--dtype", "bfloat16", "--batch-size", 4, "--accumulate", 2)
    arguments = (*arguments, "--repeat", f"{images.name}=2")
    trained = colorbench(*arguments)
    assert trained.returncode == 0, trained.stderr
    assert "skipped 1 unreadable" in trained.stderr and "step 3/3" in trained.stderr
    assert "validation at step 3" in trained.stderr
    weights = tmp_path / "candidate" / "cic.safetensors"
    card = json.loads(weights.with_suffix(".json").read_text())
    assert "1 unreadable files skipped" in card["training_data"] and "oversampled 2 times" in card["training_data"]
    assert "width 0.125 instead of 0.2" in card["notes"] and "3 steps, seed 0, bfloat16" in card["notes"]
    assert card["scores"]["validation_gray_auc_raw"] > 80
    content = weights.read_bytes()
    again = colorbench(*arguments)
    assert again.returncode == 0 and "training is already finished (3 steps)" in again.stderr
    assert weights.read_bytes() == content
    (closing,) = [line for line in trained.stderr.splitlines() if line.startswith("evaluate it: ")]
    command = shlex.split(closing.removeprefix("evaluate it: colorbench "))
    assert command[:3] == ["run", "--model", f"zoo/cic[weights={weights}]"]
    measured = colorbench(
        *command, "--data", images, "--limit", 9, "--no-baselines", "--json", "--output", tmp_path / "runs"
    )
    assert measured.returncode == 0, measured.stderr
    (record,) = json.loads(measured.stdout)
    assert record["model"]["name"] == "zoo/cic@candidate" and record["model"]["card"]["preset"] == "small"
    # Most of these images were trained on, and the record says how many.
    assert 0 < record["dataset"]["overlap"] <= 9
    refused = colorbench("train", "zoo/gray", "--data", images)
    assert refused.returncode == 2 and "cannot be trained" in refused.stderr
