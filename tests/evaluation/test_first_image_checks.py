"""What is found of a model before its pass: randomness, dependence on the batch, other inputs than the lightness."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset
from colorbench.errors import RunError
from colorbench.evaluation.first_image_checks import check_first_batch, check_lightness_only
from colorbench.evaluation.predict import Query
from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import run
from colorbench.evaluation.truth_and_prediction import GroundTruth
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard, as_colorizer, evaluation_mode, load_model
from colorbench.models.networks import networks_of
from tests.support.engine import DistanceProtocol, Noise, SmallNetwork, TruthTeller, loaded, with_protocol


class Short:
    card = ModelCard(title="short form")

    def colorize(self, lightness: Tensor) -> Tensor:
        return lightness.repeat(1, 2, 1, 1) - 50


def batch(n: int = 3) -> GroundTruth:
    generator = torch.Generator().manual_seed(0)
    rgb8 = torch.randint(0, 256, (n, 3, 32, 40), generator=generator, dtype=torch.uint8)
    return GroundTruth(tuple(f"a/{i}.jpg" for i in range(n)), rgb8)


def kinds(model: Any, n: int = 3, dtype: torch.dtype = torch.float32) -> list[str]:
    given = loaded(as_colorizer(model, "my/model"), "my/model")
    with torch.no_grad():
        found = check_first_batch(given, Query(batch(n), ((32, 40),) * n, tuple(range(1, n + 1)), "native", dtype))
    return [one.kind for one in found]


class Seeded(Noise):
    """Stochastic, and seeded by its image."""


class Reads(Short):
    """Looks for the true colors in the frames of its callers."""

    def colorize(self, lightness: Tensor) -> Tensor:
        frame = sys._getframe()
        while frame is not None:
            for value in frame.f_locals.values():
                if isinstance(value, GroundTruth) and len(value.ids) == len(lightness):
                    return value.ab
            frame = frame.f_back  # type: ignore[assignment]
        return super().colorize(lightness)


class KnowsIds:
    card = ModelCard(title="looks its predictions up by id")

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        values = torch.tensor([float({"a/0.jpg": 3}.get(id, 9)) for id in inputs.ids]).view(-1, 1, 1, 1)
        return ColorPrediction(ab=values.expand(-1, 2, *inputs.lightness.shape[-2:]))


class FailsOnOtherIds(KnowsIds):
    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        assert all(id.startswith("a/") for id in inputs.ids)
        return super().colorize_batch(inputs)


class Remembers(Short):
    """Blends with what it was shown before, as models for video do."""

    last: Tensor | None = None

    def colorize(self, lightness: Tensor) -> Tensor:
        candidate = super().colorize(lightness)
        before, self.last = self.last, candidate.mean()
        return candidate if before is None else candidate + 0.5 * before


class Counts(Short):
    calls = 0

    def colorize(self, lightness: Tensor) -> Tensor:
        self.calls += 1
        return super().colorize(lightness) + self.calls


class Unseeded(Short):
    def colorize(self, lightness: Tensor) -> Tensor:
        return torch.randn(len(lightness), 2, *lightness.shape[-2:])


class OfTheBatch(Short):
    def colorize(self, lightness: Tensor) -> Tensor:
        return super().colorize(lightness) - lightness.mean()


class OneAtATime(Short):
    def colorize(self, lightness: Tensor) -> Tensor:
        assert len(lightness) == 1
        return super().colorize(lightness)


class NeverAlone(Short):
    def colorize(self, lightness: Tensor) -> Tensor:
        assert len(lightness) > 1
        return super().colorize(lightness)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Short(), []),
        (SmallNetwork(), []),
        (Seeded(), []),
        (TruthTeller(), []),
        (OneAtATime(), []),
        (Unseeded(), ["not deterministic"]),
        (Counts(), ["not deterministic"]),
        (Remembers(), ["not deterministic"]),
        (OfTheBatch(), ["depends on the batch"]),
        (NeverAlone(), ["depends on the batch"]),
        (Reads(), ["uses more than the lightness"]),
        (KnowsIds(), ["uses more than the lightness"]),
        (FailsOnOtherIds(), ["uses more than the lightness"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "-".join(value),
)
@pytest.mark.parametrize("n", [1, 3])
def test_each_kind_of_model_is_found_and_honest_ones_are_not(model: Any, expected: list[str], n: int) -> None:
    assert kinds(model, n) == expected


@pytest.mark.parametrize("name", ["zoo/gray", "zoo/random", "zoo/mean-color", "zoo/half-chroma", "zoo/l2", "zoo/cic"])
def test_shipped_models_pass(name: str) -> None:
    assert kinds(load_model(name).colorizer) == []


def test_a_model_that_always_fails_fails_the_check() -> None:
    with pytest.raises(RunError, match="my/model failed: ZeroDivisionError"):
        kinds(SimpleNamespace(card=Short.card, colorize=lambda lightness: 1 / 0))


def test_a_full_batch_is_asked_again_under_other_colors() -> None:
    # What a verifier calls: only the last image is looked up.
    class Late(KnowsIds):
        def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
            values = torch.tensor([float(id == "a/2.jpg") for id in inputs.ids]).view(-1, 1, 1, 1)
            return ColorPrediction(ab=values.expand(-1, 2, *inputs.lightness.shape[-2:]))

    def found(model: Any) -> Any:
        return check_lightness_only(loaded(model), Query(batch(), ((32, 40),) * 3, (1, 2, 3), "native"))

    assert found(SmallNetwork()) is None
    assert found(Late()).kind == "uses more than the lightness"
    assert found(Late()).difference == pytest.approx(1 / 3)


def test_generators_are_left_as_they_were() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    kinds(Unseeded())
    assert torch.equal(torch.rand(3), expected)


def test_the_record_says_what_was_found(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())

    def record(model: Any, name: str) -> Any:
        short = loaded(as_colorizer(model, name), name)
        return run(RunConfig([short], ["distance"], crops.limit(4), output=tmp_path, baselines=False, save="none"))[0]

    honest = record(Short(), "test/honest")
    assert honest.execution.deterministic and not any("determin" in note for note in honest.notes)
    for model, message in ((Unseeded(), "not deterministic"), (OfTheBatch(), "depends on the batch")):
        found = record(model, f"test/{type(model).__name__}")
        assert not found.execution.deterministic
        assert sum(note.startswith(message) for note in found.notes) == 1
    first = crops.limit(4).samples[0].path
    for cheat in (Reads(), FromMemory(), FromFile(first), FromFile(link(first, tmp_path / "elsewhere.png"))):
        looks = record(cheat, f"test/{type(cheat).__name__}")
        assert any(note.startswith("uses more than the lightness") for note in looks.notes), type(cheat)


class FromMemory(Short):
    """Looks for the true colors among all tensors of the process."""

    def colorize(self, lightness: Tensor) -> Tensor:
        answer = torch.zeros_like(lightness).repeat(1, 2, 1, 1)
        for i, one in enumerate(lightness):
            for rgb8 in gc.get_objects():
                fits = type(rgb8) is Tensor and rgb8.dtype == torch.uint8 and rgb8.dim() == 4
                if fits and rgb8.shape[1:] == (3, *one.shape[-2:]):
                    lab = rgb_to_lab(rgb8.float() / 255)
                    apart = (lab[:, :1] - one).abs().mean((1, 2, 3))
                    if apart.min() < 0.6:
                        answer[i] = lab[apart.argmin(), 1:]
                        break
        return answer


class FromFile(Short):
    """Opens a file of the dataset, and goes without where it cannot."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def colorize(self, lightness: Tensor) -> Tensor:
        with contextlib.suppress(OSError):
            return lightness.repeat(1, 2, 1, 1) - 50 + len(self.path.read_bytes()) % 7 * 0
        return lightness.repeat(1, 2, 1, 1) - 50


def link(path: Path, there: Path) -> Path:
    os.link(path, there) if os.stat(path).st_dev == os.stat(there.parent).st_dev else there.symlink_to(path)
    return there


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class InClass:
    net = network()


class Hidden(nn.Module):
    """Holds a network where torch does not look."""

    def __init__(self) -> None:
        super().__init__()
        self.others = [network()]


def closure() -> Any:
    net = network()
    return lambda lightness: net(lightness)


@pytest.mark.parametrize(
    "held",
    [
        lambda: network(),
        lambda: SimpleNamespace(net=network()),
        lambda: SimpleNamespace(nets=[network(), (network(),)]),
        lambda: SimpleNamespace(by_name={"a": {"b": network()}}),
        lambda: SimpleNamespace(helper=SimpleNamespace(net=network())),
        lambda: Slotted(network()),
        lambda: InClass(),
        lambda: Hidden(),
        lambda: SimpleNamespace(run=closure()),
        lambda: SimpleNamespace(run=functools.partial(closure(), 1)),
        lambda: SimpleNamespace(run=network().forward),
        lambda: as_colorizer(SimpleNamespace(card=Short.card, colorize=closure()), "my/model"),
    ],
)
def test_networks_are_found_wherever_they_are_kept(held: Any) -> None:
    model = held()
    found = networks_of(model)
    norms = [module for one in found for module in one.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    norms[0].training = False  # a part that its owner froze
    before = [module.training for one in found for module in one.modules()]
    during: list[bool] = []
    with contextlib.suppress(ZeroDivisionError), evaluation_mode(model):
        during += [module.training for one in found for module in one.modules()]
        raise ZeroDivisionError
    assert during and not any(during)
    assert [module.training for one in found for module in one.modules()] == before


def test_a_run_puts_networks_back_into_their_own_mode(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())

    class Keeps(Short):
        def __init__(self) -> None:
            self.net = network()
            self.net[1].eval()
            self.modes: set[bool] = set()

        def colorize(self, lightness: Tensor) -> Tensor:
            self.modes |= {module.training for module in self.net.modules()}
            return self.net(lightness / 100)

    model = Keeps()
    weights = {name: value.clone() for name, value in model.net.state_dict().items()}
    asked = RunConfig(
        [loaded(as_colorizer(model, "test/model"))], ["distance"], crops.limit(4), output=tmp_path, baselines=False
    )
    record = run(asked)[0]
    assert model.modes == {False} and record.execution.deterministic
    assert not any("deterministic" in note or "the batch" in note for note in record.notes)
    assert [module.training for module in model.net] == [True, False, True, True] and model.net.training
    assert all(torch.equal(value, weights[name]) for name, value in model.net.state_dict().items())
