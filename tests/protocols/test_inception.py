"""Inception as a backend: pytorch-fid on shared drawn weights, published ranges, and files that are refused."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import inception_v3

from colorbench.errors import UserError
from colorbench.models import save_weights
from protocols.distribution.feature_networks import load_backend
from protocols.distribution.inception import Inception


def drawn(network: nn.Module) -> dict[str, Tensor]:
    """Weights under which activations neither vanish nor explode."""
    rng = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("running_var") or (value.dim() == 1 and name.endswith("bn.weight")):
            state[name] = 0.8 + 0.4 * torch.rand(value.shape, generator=rng)
        elif value.dim() > 1:
            state[name] = torch.randn(value.shape, generator=rng) * (2 / value[0].numel()) ** 0.5
        elif value.is_floating_point():
            state[name] = 0.1 * torch.randn(value.shape, generator=rng)
    return state


@pytest.fixture(scope="module")
def ported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the keys of the ported weights."""
    module = pytest.importorskip("pytorch_fid.inception")
    with torch.random.fork_rng():
        network = module._inception_v3(num_classes=1008, aux_logits=False, weights=None)
        for name, block in (
            ("Mixed_5b", module.FIDInceptionA(192, pool_features=32)),
            ("Mixed_5c", module.FIDInceptionA(256, pool_features=64)),
            ("Mixed_5d", module.FIDInceptionA(288, pool_features=64)),
            ("Mixed_6b", module.FIDInceptionC(768, channels_7x7=128)),
            ("Mixed_6c", module.FIDInceptionC(768, channels_7x7=160)),
            ("Mixed_6d", module.FIDInceptionC(768, channels_7x7=160)),
            ("Mixed_6e", module.FIDInceptionC(768, channels_7x7=192)),
            ("Mixed_7b", module.FIDInceptionE_1(1280)),
            ("Mixed_7c", module.FIDInceptionE_2(2048)),
        ):
            setattr(network, name, block)
    state = {name: value for name, value in drawn(network).items() if not name.endswith("num_batches_tracked")}
    path = tmp_path_factory.mktemp("inception") / "drawn.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def of_torchvision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        network = inception_v3(weights=None, aux_logits=True, init_weights=False)
    path = tmp_path_factory.mktemp("torchvision") / "drawn.safetensors"
    save_weights(drawn(network), path)
    return path


def images(side: int = 64) -> Tensor:
    """(2, 3, side, side) uint8."""
    import skimage.data

    cut = [
        np.asarray(Image.fromarray(getattr(skimage.data, name)()).resize((side, side)))
        for name in ("coffee", "chelsea")
    ]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).contiguous()


def test_features_are_those_of_pytorch_fid(ported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pytorch_fid.inception as module

    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: torch.load(ported, weights_only=True))
    oracle = module.InceptionV3([3]).eval()
    with torch.no_grad():
        expected = oracle(images().float() / 255)[0].flatten(1)
    backend = load_backend(f"inception:{ported}", "pool", "bilinear", "own")
    found = backend.features(images())
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().mean()))


def test_its_own_resizing_is_that_of_torch_fidelity(ported: Path) -> None:
    backend = load_backend(f"inception:{ported}", "pool", "own", "own")
    assert isinstance(backend, Inception) and backend.resize == "tf"
    with torch.no_grad():
        expected = backend.network(images())[0]
    torch.testing.assert_close(backend.features(images()), expected, rtol=1e-4, atol=1e-4)
    others = [
        load_backend(f"inception:{ported}", layer, resize, "own")
        for layer, resize in (("pool", "clean"), ("Mixed_6e", "tf"))
    ]
    assert len({one.key for one in (backend, *others)}) == 3
    assert others[1].features(images()).shape == (2, 768)


def test_clean_resizing_is_pillows_in_floating_point(ported: Path) -> None:
    backend = load_backend(f"inception:{ported}", "pool", "clean", "own")
    assert isinstance(backend, Inception)
    rgb8 = images()
    plane = Image.fromarray(rgb8[1, 2].numpy().astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
    expected = (np.asarray(plane).clip(0, 255) - 128) / 128
    np.testing.assert_allclose(backend.prepared(rgb8)[1, 2].numpy(), expected, atol=1e-6)


def test_published_code_gives_torchvisions_network_other_ranges(of_torchvision: Path) -> None:
    """CT2's network sees red in -.03...43 and blue in -.19...26, DDColor's red in .20...43 and blue in .04...26."""
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    seen = {}
    for name in ("own", "ct2", "ddcolor"):
        backend = load_backend(f"inception-torchvision:{of_torchvision}", "pool", "own", name)
        assert isinstance(backend, Inception)
        shown = backend.prepared(black_and_white)
        seen[name] = [(shown[0, c, 0, 0].item(), shown[1, c, 0, 0].item()) for c in (0, 2)]
    assert seen["own"] == [(-1, 1), (-1, 1)]
    assert np.round(seen["ct2"], 2).tolist() == [[-0.03, 0.43], [-0.19, 0.26]]
    assert np.round(seen["ddcolor"], 2).tolist() == [[0.2, 0.43], [0.04, 0.26]]


def test_torchvisions_network_is_its_own(of_torchvision: Path) -> None:
    backend = load_backend(f"inception-torchvision:{of_torchvision}", "pool", "own", "own")
    assert isinstance(backend, Inception)
    network = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=False)
    network.load_state_dict(backend.network.state_dict())
    network.fc = nn.Identity()
    with torch.no_grad():
        expected = network.eval()(backend.prepared(images()))
    torch.testing.assert_close(backend.features(images()), expected, rtol=1e-4, atol=1e-4)


def test_files_that_are_none_are_refused_in_one_line(ported: Path, tmp_path: Path) -> None:
    state = torch.load(ported, weights_only=True)
    renamed = dict(state)
    renamed["Conv2d_1a_3x3.other"] = renamed.pop("Conv2d_1a_3x3.conv.weight")
    torch.save(renamed, tmp_path / "renamed.pth")
    with pytest.raises(UserError, match="do not fit"):
        load_backend(f"inception:{tmp_path / 'renamed.pth'}", "pool", "own", "own")

    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    (tmp_path / "code.pth").write_bytes(pickle.dumps({"a": Code()}))
    with pytest.raises(UserError, match="more than tensors, or is damaged|cannot be read"):
        load_backend(f"inception:{tmp_path / 'code.pth'}", "pool", "own", "own")


@pytest.mark.parametrize(
    ("name", "layer", "resize", "value_range", "message"),
    [
        ("inception", "fc", "own", "own", "layer cannot be 'fc'"),
        ("inception", "pool", "bicubic", "own", "resize cannot be 'bicubic'.*tf or bilinear or clean"),
        ("inception", "pool", "own", "ct2", "range cannot be 'ct2' with inception.*own"),
        ("inception-torchvision", "pool", "tf", "own", "resize cannot be 'tf'"),
        ("inception:nowhere.pth", "pool", "own", "own", "no such weights file"),
    ],
)
def test_what_does_not_fit_is_named(name: str, layer: str, resize: str, value_range: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_backend(name, layer, resize, value_range)


@pytest.mark.parametrize("name", ["inception", "inception-torchvision"])
def test_offline_it_says_so_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("COLORBENCH_OFFLINE", "1")
    with pytest.raises(UserError, match="not in the cache, and downloads are switched off") as caught:
        load_backend(name, "pool", "own", "own")
    assert "\n" not in str(caught.value)


def test_the_missing_extra_is_named(ported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r"needs torch-fidelity.*--extra fid"):
        load_backend(f"inception:{ported}", "pool", "own", "own")
