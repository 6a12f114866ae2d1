"""The authors' released networks against the authors' own classes (PyPI rz-colorization), by random official files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor, nn

from colorbench.color import ab_bins, rgb_to_lab
from colorbench.errors import UserError
from colorbench.models import ColorizerInput, RevealedColors, load_model
from colorbench.storage import cache_folder
from zoo.cic import CIC
from zoo.released import ECCV16, Siggraph17, colorizers
from zoo.released.annealing_temperature import FACTOR, temperature_evidence

OURS = {"eccv16": ECCV16, "siggraph17": Siggraph17}
TOLERANCE = {"eccv16": 1e-4, "siggraph17": 1e-5}


@pytest.fixture(scope="module")
def official() -> ModuleType:
    """The authors' package; what it imports and does not need for its networks is an empty module here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPython", "matplotlib", "matplotlib.pyplot"):
            patch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["IPython"].embed = None  # type: ignore[attr-defined]
        import colorizers as package
    return package


@pytest.fixture(scope="module")
def networks(official: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[nn.Module, Path]]:
    """The authors' networks with random weights, and their state dicts as files."""
    found = {}
    for name in OURS:
        torch.manual_seed(1)
        network = getattr(official, name)(pretrained=False).eval()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(module.weight)
                elif isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.5, 1.5)
            if name == "eccv16":
                network.model_out.weight.copy_(ab_bins().T[:, :, None, None] / 110)
            else:  # else tanh is at its ends everywhere
                network.model_out[0].weight.mul_(1e-3)
        path = tmp_path_factory.mktemp("official") / f"{name}.pth"
        torch.save(network.state_dict(), path)
        found[name] = network, path
    return found


@pytest.fixture(scope="module")
def ours(networks: Any) -> dict[str, Any]:
    """Our networks with the weights of the authors' ones."""
    return {name: kind.load("released", weights=networks[name][1]) for name, kind in OURS.items()}


def lightness_of(height: int, width: int) -> Tensor:
    """(1, 1, H, W): L of a part of a real image."""
    image = torch.from_numpy(skimage.data.astronaut()[:height, :width].copy()).permute(2, 0, 1)[None].contiguous()
    return rgb_to_lab(image)[:, :1].contiguous()


@torch.no_grad()
@pytest.mark.parametrize("size", [(128, 160), (64, 96), (176, 176)])
@pytest.mark.parametrize("name", OURS)
def test_a_network_equals_the_authors_class(networks: Any, ours: Any, name: str, size: tuple[int, int]) -> None:
    network = networks[name][0]
    lightness = lightness_of(*size)
    expected = network(lightness)
    assert float(expected.std()) > 0.1 and float(expected.abs().max()) < 109
    assert (ours[name].colorize(lightness) - expected).abs().max() <= TOLERANCE[name]


@pytest.mark.parametrize("name", OURS)
def test_a_network_has_as_many_parameters_as_the_authors_and_the_card(networks: Any, ours: Any, name: str) -> None:
    counts = [sum(one.numel() for one in net.parameters()) for net in (networks[name][0], ours[name].network)]
    assert counts == [ours[name].card.parameters] * 2


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 7])
def test_hints_reach_the_network_as_in_the_authors_class(networks: Any, ours: Any, size: int) -> None:
    network = networks["siggraph17"][0]
    lightness = lightness_of(256, 256)
    positions = torch.tensor([[[40, 50], [200, 10], [0, 255]]])
    revealed = RevealedColors(positions, torch.tensor([[[60.0, -20.0], [-45.0, 30.0], [5.0, 80.0]]]), size)
    hinted = ours["siggraph17"].colorize_guided(ColorizerInput(lightness, ("a",), (0,)), revealed).ab
    ab, mask = torch.zeros(1, 2, 256, 256), torch.zeros(1, 1, 256, 256)
    half = size // 2
    for (row, column), color in zip(positions[0].tolist(), revealed.ab[0], strict=True):
        rows, columns = (slice(max(0, center - half), center + half + 1) for center in (row, column))
        square = (0, slice(None), rows, columns)
        ab[square], mask[square] = color[:, None, None], 1
    expected = network(lightness, ab, mask)
    assert (hinted - expected).abs().max() <= TOLERANCE["siggraph17"]
    assert (expected - network(lightness)).abs().max() > 1000 * TOLERANCE["siggraph17"]


@torch.no_grad()
def test_the_network_of_eccv16_rounds_odd_sides_up_as_the_authors_does(networks: Any, ours: Any) -> None:
    network = networks["eccv16"][0]
    lightness = lightness_of(50, 75)
    expected = network(lightness)
    assert expected.shape[-2:] == (56, 80)
    assert (ours["eccv16"].colorize(lightness) - expected).abs().max() <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize(("name", "size"), [("eccv16", (299, 215)), ("siggraph17", (120, 90)), ("eccv16", (256, 256))])
def test_the_pipeline_is_that_of_the_authors_demo(
    official: ModuleType, networks: Any, ours: Any, name: str, size: tuple[int, int]
) -> None:
    network = networks[name][0]
    color = skimage.data.chelsea()[: size[0], : size[1]]
    # Of a gray image, L holds all that the demo sees; at 256 x 256 of a color image, too.
    rgb = color.copy() if size == (256, 256) else np.repeat(color[..., 1:2], 3, axis=2)
    original, shown = official.preprocess_img(rgb)
    expected = torch.nn.functional.interpolate(network(shown), size=size, mode="bilinear")
    ab = ours[name].colorize_batch(ColorizerInput(original, ("a",), (0,))).ab
    assert ab is not None and ab.shape == (1, 2, *size)
    assert (ab - expected).abs().max() <= 1e-3  # L of the two libraries differs by 1e-5, and the softmax is sharp


def changed(path: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    state = torch.load(path, weights_only=True)
    state = change(state) or state
    torch.save(state, folder / "changed.pth")
    return folder / "changed.pth"


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def renamed(state: dict[str, Any]) -> None:
    state["model3.2.weights"] = state.pop("model3.2.weight")


def with_nan(state: dict[str, Any]) -> None:
    state["model5.4.bias"][7] = float("nan")


def with_infinite_statistics(state: dict[str, Any]) -> None:
    state["model2.4.running_var"][0] = float("inf")


def misshapen(state: dict[str, Any]) -> None:
    state["model1.0.weight"] = state["model1.0.weight"][:, :, :1]


def nested(state: dict[str, Any]) -> dict[str, Any]:
    return {"state_dict": state}


def with_code(state: dict[str, Any]) -> None:
    state["model1.0.bias"] = Bomb()


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, r"1 missing \(the first: model3.2.weight\); 1 unknown \(the first: model3.2.weights\)"),
        (with_nan, "NaN or infinity: model5.4.bias"),
        (with_infinite_statistics, "NaN or infinity: model2.4.running_var"),
        (misshapen, r"1 of another shape \(the first: model1.0.weight"),
        (nested, "not contain a plain state dict, but: state_dict"),
        (with_code, "contains more than tensors"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(
    networks: Any, tmp_path: Path, name: str, change: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(networks[name][1], tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        OURS[name].load("released", weights=path)
    assert "\n" not in str(caught.value) and "changed.pth" in str(caught.value)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("order", ["reversed", "swapped", "ab exchanged", "not divided"])
def test_another_order_or_scale_of_the_bins_is_refused(networks: Any, tmp_path: Path, order: str) -> None:
    def change(state: dict[str, Any]) -> None:
        weight = state["model_out.weight"]
        index = list(range(313))
        index[10], index[11] = 11, 10
        others = {"reversed": weight.flip(1), "swapped": weight[:, index], "ab exchanged": weight.flip(0)}
        state["model_out.weight"] = others.get(order, weight * 110)

    with pytest.raises(UserError, match="does not have the 313 bins in order"):
        ECCV16.load("released", weights=changed(networks["eccv16"][1], tmp_path, change))


def test_a_file_without_counters_of_batchnorm_is_read(networks: Any, tmp_path: Path) -> None:
    def change(state: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}

    for name, ours in OURS.items():
        ours.load("released", weights=changed(networks[name][1], tmp_path, change))


def test_a_file_that_is_not_the_released_one_says_so(networks: Any) -> None:
    file = networks["eccv16"][1]
    loaded = load_model("zoo/eccv16", weights=file)
    assert loaded.full_name == f"zoo/eccv16@{file.parent.name}"
    assert "weights of eccv16.pth, not the released file" in loaded.card.title
    assert loaded.card.notes is None and loaded.card.training_data is None
    assert loaded.decoding == {"decode": "mean"}


@pytest.mark.parametrize("name", OURS)
def test_offline_the_released_weights_are_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORBENCH_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="downloads are switched off") as caught:
        load_model(f"zoo/{name}")
    assert OURS[name].address in str(caught.value) and "\n" not in str(caught.value)
    assert OURS[name].sha256[:8] in OURS[name].address


def test_at_the_first_sight_of_the_released_file_the_card_says_whether_the_temperature_is_folded_in(
    networks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from colorbench.storage import file_sha256

    path, calls = networks["eccv16"][1], []

    def measure(network: nn.Module, sha256: str) -> str:
        calls.append(sha256)
        return "settled"

    monkeypatch.setattr(ECCV16, "sha256", file_sha256(path))
    monkeypatch.setattr(colorizers, "temperature_note", measure)
    card = ECCV16.load("released", weights=path).card
    assert card.notes == "settled" and calls == [file_sha256(path)] == [card.weights_sha256]
    assert card.training_data is not None


@pytest.mark.parametrize(("scale", "folded"), [(1.0, False), (FACTOR, True)])
def test_the_evidence_finds_a_factor_in_the_logits_of_a_trained_network(
    scale: float, folded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.released import annealing_temperature

    network = CIC.load("small").network
    with torch.no_grad():
        network.head.weight.mul_(scale)
        assert network.head.bias is not None
        network.head.bias.mul_(scale)
    evidence = temperature_evidence(network)
    assert evidence.folded is folded
    assert evidence.entropy_multiplied < evidence.entropy
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    note = annealing_temperature.temperature_note(network, "0" * 64)
    assert ("is part of" in note) is folded and "nats" in note
    assert [path.parent.name for path in cache_folder().rglob("*.txt")] == ["notes"]
    monkeypatch.setattr(annealing_temperature, "temperature_evidence", None)  # remembered: not measured again
    assert annealing_temperature.temperature_note(network, "0" * 64) == note


def test_random_weights_need_no_file_and_can_be_drawn_again() -> None:
    model = Siggraph17.load("random")
    again, other = model.redrawn(0), model.redrawn(1)
    assert again is not None and other is not None
    key = "model1.0.weight"
    first = model.network.state_dict()[key]
    assert torch.equal(first, again.network.state_dict()[key])
    assert not torch.equal(first, other.network.state_dict()[key])
    assert model.card.weights_sha256 is None and "random initialization" in model.card.title


@torch.no_grad()
def test_a_distribution_and_features_are_given(ours: Any) -> None:
    lightness = lightness_of(64, 64)
    model = ours["eccv16"]
    log_probabilities = model.distribution(lightness)
    assert log_probabilities.shape == (1, 313, 16, 16)
    assert torch.allclose(log_probabilities.exp().sum(1), torch.ones(1, 16, 16))
    modes = model.with_decoding("mode", None).colorize(lightness)
    assert not torch.allclose(modes, model.colorize(lightness), atol=1)
    assert {f"conv{n}" for n in range(1, 9)} <= set(model.features(lightness))
    assert set(Siggraph17.load("random").features(lightness)) == {f"conv{n}" for n in range(1, 11)}
