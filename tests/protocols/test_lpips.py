"""LPIPS: torchmetrics on a shared drawn trunk, and files that cannot be taken."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import models

from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import GroundTruth, Prediction
from colorbench.models import save_weights
from protocols.fidelity import FidelityProtocol, FidelityScorer

pytest.importorskip("lpips")
NETWORKS = {"alex": models.alexnet, "squeeze": models.squeezenet1_1}


@pytest.fixture(scope="module")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> drawn weights with torchvision's keys."""
    folder, found = tmp_path_factory.mktemp("trunks"), {}
    for name, make in NETWORKS.items():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            state = make(weights=None).state_dict()
        small = {key: value for key, value in state.items() if key.startswith("features.")}
        found[name] = folder / f"{name}.safetensors"
        save_weights(small, found[name])
    return found


def images(side: int = 72) -> Tensor:
    """(2, 3, side, side) uint8."""
    import skimage.data

    originals = [Image.fromarray(image()) for image in (skimage.data.coffee, skimage.data.chelsea)]
    cut = [np.asarray(image.resize((side, side))) for image in originals]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).contiguous()


def scorer(**parameters: object) -> FidelityScorer:
    return FidelityProtocol().resolve(parameters, Dataset("nothing", ()))


def oracle(name: str, trunk: Path, a: Tensor, b: Tensor) -> list[float]:
    module = pytest.importorskip("torchmetrics.functional.image.lpips")
    from safetensors.torch import load_file

    with torch.random.fork_rng():
        network = module._LPIPS(pretrained=True, net=name, pnet_rand=True).eval()
    state = load_file(trunk)
    network.net.load_state_dict({key: state[f"features.{key.partition('.')[2]}"] for key in network.net.state_dict()})
    with torch.no_grad():
        return [float(network(x[None], y[None])) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("value_range", ["-1..1", "0..1"])
def test_agrees_with_torchmetrics_on_the_same_trunk(trunks: dict[str, Path], value_range: str) -> None:
    truth = GroundTruth(("a.png", "b.png"), images())
    half = Prediction(truth, ab=truth.ab / 2)
    s = scorer(lpips=f"alex:{trunks['alex']}", lpips_range=value_range)
    columns = s.score(half).columns
    given = [x.float() / 255 for x in (half.rgb8, truth.rgb8)]
    if value_range == "-1..1":
        given = [2 * x - 1 for x in given]
    assert columns["lpips_alex"] == pytest.approx(oracle("alex", trunks["alex"], *given), abs=1e-6)
    assert s.summarize(columns, {}).effective_n["lpips_alex"] == 2
    assert s.metrics[-1].name == "lpips_alex"


def test_the_truth_is_at_0_each_trunk_has_its_name_and_small_images_none(trunks: dict[str, Path]) -> None:
    truth = GroundTruth(("a.png", "b.png"), images())
    s = scorer(lpips=f"squeeze:{trunks['squeeze']}")
    assert s.score(Prediction(truth, rgb8=truth.rgb8)).columns["lpips_squeeze"].tolist() == [0.0, 0.0]
    assert (s.score(Prediction(truth, ab=truth.ab / 2)).columns["lpips_squeeze"] > 0).all()
    small = GroundTruth(("a.png", "b.png"), images(31))
    assert np.isnan(s.score(Prediction(small, ab=small.ab / 2)).columns["lpips_squeeze"]).all()
    least = GroundTruth(("a.png", "b.png"), images(32))
    assert np.isfinite(s.score(Prediction(least, ab=least.ab / 2)).columns["lpips_squeeze"]).all()
    identities = [scorer(lpips=f"{name}:{path}").identity["lpips"] for name, path in trunks.items()]
    assert identities[0]["weights_sha256"] != identities[1]["weights_sha256"]
    assert scorer().identity["lpips"] == "none" and "lpips" not in {m.name for m in scorer().metrics}


def test_what_cannot_be_taken_is_said_in_one_line(
    trunks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, message in (
        ({"lpips": "resnet"}, "lpips cannot be 'resnet'.*none or alex or vgg or squeeze"),
        ({"lpips_range": "0..255"}, "lpips_range cannot be '0..255'"),
        ({"lpips": f"vgg:{trunks['alex']}"}, "do not fit the network"),
        ({"lpips": "alex:nowhere.pth"}, "no such weights file"),
    ):
        with pytest.raises(UserError, match=message):
            scorer(**given)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("COLORBENCH_OFFLINE", "1")
    with pytest.raises(UserError, match="not in the cache, and downloads are switched off") as caught:
        scorer(lpips="squeeze")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UserError, match=r"needs the package lpips.*extra `lpips`"):
        scorer(lpips=f"alex:{trunks['alex']}")
