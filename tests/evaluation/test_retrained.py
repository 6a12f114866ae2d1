"""A run that is killed, its model trained again, and the run resumed: the new model's number, in every protocol."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from colorbench.data import Dataset, open_dataset
from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import record_folder, run
from colorbench.models import load_model
from colorbench.results import Record
from tests.support.engine import Listening, read_folder, write_images
from tests.support.probe import request, write_classes
from tests.support.voc import write_devkit

MODEL = """
import torch
from pathlib import Path
from torch import nn
from colorbench.models.model_card import ModelCard

class Model(nn.Module):
    card = ModelCard(title="reads a checkpoint beside it")

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 12, 3, 2, 1)
        state = torch.load(Path(__file__).with_name("ckpt" + ".pt"), weights_only=True)
        self.load_state_dict(state)

    def colorize(self, lightness):
        found = self.features(lightness)["conv2"].mean(dim=(2, 3))[:, :2, None, None]
        return (40 * found.tanh()).expand(-1, -1, *lightness.shape[-2:]).clone()

    def features(self, lightness):
        first = self.conv1(lightness / 50 - 1).relu()
        return {"conv1": first, "conv2": self.conv2(first).relu()}
"""


def train(folder: Path, seed: int) -> str:
    """Write the model's checkpoint; the name to run it by."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv1.weight": (6, 1, 3, 3), "conv1.bias": (6,), "conv2.weight": (12, 6, 3, 3), "conv2.bias": (12,)}
    state = {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MODEL)
    torch.save(state, folder / "ckpt.pt")
    return f"{folder / 'model.py'}:Model"


class Killed(BaseException):
    """Stands in for a process that ends at this instruction."""


class Killing(Listening):
    """Ends the run at a time of its progress: what is on the disk then stays there."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.calls = after, 0

    def advanced(self, n: int, images_per_second: float) -> None:
        self.calls += 1
        if self.calls > self.after:
            raise Killed


Asked = Callable[[Any, Path], RunConfig]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asked]:
    """Protocol -> the request of a small run."""
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder)
    return requests(folder)


def write_sets(folder: Path) -> None:
    """Write the images that ``requests`` reads."""
    write_images(folder / "images", 10)
    write_classes(folder / "train", 8)
    write_classes(folder / "test", 8, first=20)
    write_devkit(folder / "voc", count=12)


def requests(folder: Path) -> dict[str, Asked]:
    """Protocol -> the request of a small run on images below a folder."""
    images = read_folder(folder / "images")
    classes = open_dataset(folder / "train"), open_dataset(folder / "test")
    devkit = open_dataset(folder / "voc" / "VOC2007")

    def of_images(protocol: str, **parameters: str) -> Asked:
        def made(model: Any, output: Path) -> RunConfig:
            common = {"baselines": False, "save": "none", "device": "cpu", "workers": 0, "batch_size": 2}
            chosen = {protocol: {"preprocessing": "squash64", **parameters}}
            return RunConfig([model], [protocol], images, output=output, parameters=chosen, **common)

        return made

    def of_sets(protocol: str, train: Dataset, test: Dataset, **parameters: Any) -> Asked:
        return lambda model, output: request(model, protocol, train, test, output, parameters=parameters)

    fast = {"epochs": 3, "batch": 4, "learning_rate": 0.01}
    return {
        "auc": of_images("auc"),
        "fidelity": of_images("fidelity"),
        "semantic": of_images("semantic"),
        "linear-probe": of_sets("linear-probe", *classes, dims=60, controls=""),
        "transfer-classification": of_sets("transfer-classification", *classes, **fast),
        "transfer-segmentation": of_sets("transfer-segmentation", devkit, devkit, hidden=8, **fast),
    }


PROTOCOLS = ("auc", "fidelity", "semantic", "linear-probe", "transfer-classification", "transfer-segmentation")
KILLS = 2
"""Moments of death tried."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.usefixtures("only_the_pass")
def test_killed_trained_again_and_resumed_it_is_the_new_models_number(
    protocol: str, asked: dict[str, Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", 2)
    check(protocol, asked[protocol], tmp_path, KILLS)


def check(protocol: str, asked: Asked, folder: Path, kills: int) -> None:
    """Kill a run at random moments, each time train its model again and resume."""
    draw = random.Random(protocol)
    counted = Killing(10**9)
    first = train(folder / "model", seed=0)
    old = run(asked(load_model(first), folder / "full"), counted)[0]
    new = run(asked(load_model(train(folder / "model", seed=1)), folder / "fresh"))[0]
    assert numbers(new) != numbers(old), "the two models must differ"
    for index in range(kills):
        output = folder / str(index)
        name = train(folder / "model", seed=0)
        with pytest.raises(Killed):
            run(asked(load_model(name), output), Killing(draw.randrange(1, counted.calls)))
        assert not list(output.rglob("record.json"))
        name = train(folder / "model", seed=1)
        resumed = run(asked(load_model(name), output))[0]
        assert numbers(resumed) == numbers(new), f"killed at {index}"
        assert resumed.key == new.key
        # And the old model's run goes on where it was.
        name = train(folder / "model", seed=0)
        assert numbers(run(asked(load_model(name), output))[0]) == numbers(old)


def numbers(record: Record) -> list[tuple[str, float | None]]:
    return [(metric.name, metric.value) for metric in record.metrics]


def test_a_model_trained_in_a_loop_is_measured_each_time_it_changed(asked: dict[str, Asked], tmp_path: Path) -> None:
    model = load_model(train(tmp_path / "model", seed=0))
    found = []
    for step in range(3):
        with torch.no_grad():
            model.colorizer.model.conv2.bias[:2] = step / 2
        found.append(run(asked["auc"](model, tmp_path / "runs"))[0])
    assert len({record.key for record in found}) == 3
    assert len({str(numbers(record)) for record in found}) == 3
    listener = Listening()
    assert run(asked["auc"](model, tmp_path / "runs"), listener)[0] == found[-1]
    assert "reused from" in listener.messages[0]


def test_a_shard_of_another_model_is_not_used(
    asked: dict[str, Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", 2)
    new = run(asked["auc"](load_model(train(tmp_path / "model", seed=1)), tmp_path / "fresh"))[0]
    for seed in (0, 1):
        with pytest.raises(Killed):
            run(asked["auc"](load_model(train(tmp_path / "model", seed=seed)), tmp_path / "runs"), Killing(3 - seed))
    old, started = sorted(
        {path.parent for path in (tmp_path / "runs").rglob("*.npz")}, key=lambda one: len(list(one.iterdir()))
    )[::-1]
    for path in old.glob("*.npz"):
        (started / path.name).write_bytes(path.read_bytes())
    resumed = run(asked["auc"](load_model(train(tmp_path / "model", seed=1)), tmp_path / "runs"))[0]
    assert numbers(resumed) == numbers(new)
    assert record_folder(tmp_path / "runs", resumed) == started.parent
