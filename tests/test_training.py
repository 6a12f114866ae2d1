"""Loss, initialization, and a training that survives being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

from colorbench.color.bins import soft_encode
from colorbench.color.lab import rgb_to_lab
from colorbench.color.prior import load_prior, rebalancing_weights
from colorbench.data.sources import open_dataset
from colorbench.errors import RunError, UserError
from colorbench.training.initialization import kmeans_initialize
from colorbench.training.loss import rebalanced_cross_entropy
from colorbench.training.photographs import build_cache, cut
from colorbench.training.preset import Preset, View
from colorbench.training.samples import packaged_lightness
from colorbench.training.schedule import trapezoid
from colorbench.training.trainer import Options, Trainer
from zoo.cic.network import Network, layer_maps, scale_lightness
from zoo.cic.training import ClassificationTraining

TINY = Preset(
    description="for tests",
    width=0.125,
    cache_size=40,
    views=(
        View(begin=0.0, size=16, low=24, high=40, batch_size=4),
        View(begin=0.5, size=24, low=30, high=40, batch_size=3),
    ),
    steps=12,
    learning_rate=1e-3,
    warmup=2,
    decay=0.4,
    betas=(0.9, 0.99),
    weight_decay=1e-2,
    clip=1.0,
    average=0.99,
    neighbours=10,
    lam=0.5,
    working_size=24,
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy-two real crops as JPEG files, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, picture in {"astronaut": astronaut(), "chelsea": chelsea(), "coffee": coffee()}.items():
        for i in range(24):
            top, left = 40 * (i // 5), 45 * (i % 5)
            Image.fromarray(picture[top : top + 90, left : left + 90]).save(folder / f"{name}{i}.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def trainer(photographs: Path, folder: Path, *, steps: int = 12, resume: bool = True) -> Trainer:
    cache = build_cache([open_dataset(photographs)], folder / "photographs", TINY.cache_size)
    torch.manual_seed(0)
    task = ClassificationTraining(TINY, load_prior())
    return Trainer(task, TINY, cache, Options(folder, steps, checkpoint_every=4, log_every=4, resume=resume))


class Silent:
    def stepped(self, *_: object) -> None:
        return


def test_the_sparse_loss_and_its_gradient_equal_the_dense_definition() -> None:
    torch.manual_seed(0)
    ab = rgb_to_lab(torch.from_numpy(coffee()[:64:8, :96:8].copy()).permute(2, 0, 1))[None, 1:]
    logits = torch.randn(1, 313, 8, 12, requires_grad=True)
    weights = torch.from_numpy(rebalancing_weights(load_prior().probabilities)).float()
    target = soft_encode(ab)
    loss, kl = rebalanced_cross_entropy(logits, target, weights)
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


def test_crops_keep_photographs_real(photographs: Path, tmp_path: Path) -> None:
    cache = build_cache([open_dataset(photographs)], tmp_path, 40)
    assert len(cache.pixels) == 72 and [id for id, _ in cache.skipped] == ["broken.jpg"]
    whole = cut(cache.pixels, [3], View(begin=0, size=40, low=40, high=40, batch_size=1), np.random.default_rng(0))
    expected = rgb_to_lab(torch.from_numpy(cache.pixels[3].copy()).permute(2, 0, 1))
    assert torch.equal(whole[0], expected) or torch.equal(whole[0], expected.flip(-1))
    again = build_cache([open_dataset(photographs)], tmp_path, 40)
    assert np.array_equal(again.pixels, cache.pixels) and np.array_equal(again.hashes, cache.hashes)


def test_held_photographs_are_not_trained_on(photographs: Path, tmp_path: Path) -> None:
    chosen, held = build_cache([open_dataset(photographs)], tmp_path, 40).split()
    assert len(held) > 0 and not set(chosen) & set(held) and len(chosen) + len(held) == 72


def test_training_lowers_the_loss(photographs: Path, tmp_path: Path) -> None:
    losses = []

    class Keep:
        def stepped(self, step: int, steps: int, figures: dict[str, float], speed: float) -> None:
            losses.append(figures["kl"])

    trainer(photographs, tmp_path, steps=60).run(Keep())
    assert np.mean(losses[-3:]) < losses[0] - 0.1


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_training as t
class Slow:
    def stepped(self, *_): time.sleep(0.2)
t.torch.set_num_threads(1)
t.trainer(Path(sys.argv[2]), Path(sys.argv[3])).run(Slow())
"""


def test_a_killed_training_goes_on_to_the_same_weights(photographs: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = trainer(photographs, tmp_path / "whole").run(Silent())
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(photographs), str(tmp_path / "killed")]
        child = subprocess.Popen(command)
        log = tmp_path / "killed" / "log.csv"
        deadline = time.monotonic() + 120
        while not log.exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert child.returncode == -signal.SIGKILL
        resumed = trainer(photographs, tmp_path / "killed")
        state = resumed.run(Silent())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(state[name], whole[name]) for name in whole)


def test_a_gradient_that_is_not_finite_stops_with_the_checkpoint_kept(photographs: Path, tmp_path: Path) -> None:
    training = trainer(photographs, tmp_path)
    training.run(Silent())
    before = training.checkpoint.read_bytes()
    longer = trainer(photographs, tmp_path, steps=20)
    longer.task.weights.fill_(float("nan"))
    with pytest.raises(RunError, match="not finite"):
        longer.run(Silent())
    assert longer.checkpoint.read_bytes() == before


def test_too_few_photographs_and_a_second_training_are_refused(photographs: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(photographs.glob("coffee*.jpg"))[:5]:
        (few / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="too few"):
        trainer(few, tmp_path / "out")
    trainer(photographs, tmp_path / "first", steps=1).run(Silent())
    with pytest.raises(UserError, match="training already"):
        trainer(photographs, tmp_path / "first", resume=False).run(Silent())


def test_the_command_trains_and_its_weights_can_be_measured(
    photographs: Path, tmp_path: Path, colorbench: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    arguments = ("train", "zoo/cic", "--data", photographs, "--steps", 3, "--output", tmp_path / "mine")
    trained = colorbench(*arguments)
    assert trained.returncode == 0, trained.stderr
    assert "skipped 1 unreadable" in trained.stderr and "step 3/3" in trained.stderr
    weights = tmp_path / "mine" / "cic.safetensors"
    measured = colorbench(
        "run", "--model", "zoo/cic", "--weights", weights, "--protocol", "auc", "--data", photographs, "--limit", 9,
        "--no-anchors", "--json", "--output", tmp_path / "runs",
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    record = json.loads(measured.stdout)
    assert record["model"]["name"] == "zoo/cic@cic" and record["model"]["card"]["preset"] == "small"
    # Most of these photographs were trained on, and the record says how many.
    assert 0 < record["dataset"]["overlap"] <= 9
    refused = colorbench("train", "zoo/gray", "--data", photographs)
    assert refused.returncode == 2 and "cannot be trained" in refused.stderr
