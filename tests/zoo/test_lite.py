"""``zoo/lite``: the encoder stays as it came, only the decoder is trained and shipped, and the card says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from colorbench.color import load_prior
from colorbench.data import Dataset, open_dataset
from colorbench.models import ColorizerInput, load_classifier, load_model, model_identity
from colorbench.results import find_shared_weights
from colorbench.training import Trainer, TrainerOptions, build_cache
from protocols.distribution import DistributionProtocol
from protocols.semantic import SemanticProtocol
from tests.support.training import TINY, Silent, write_images
from zoo.lite import Lite
from zoo.lite.network import Encoder, Network
from zoo.lite.training_task import DecoderTraining

PRESET = TINY.model_copy(update={"start": "default", "steps": 2, "average": 0.0})


def tensors_of(encoder: Encoder) -> dict[str, torch.Tensor]:
    network = encoder.network
    assert isinstance(network, torch.nn.Module)
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_only_the_decoder_is_shipped() -> None:
    assert Lite.shipped.stat().st_size <= 4_000_000
    with safe_open(Lite.shipped, "pt") as file:
        assert all(name.startswith("decoder.") for name in file.keys())  # noqa: SIM118  # no mapping


def test_the_encoder_is_the_packaged_classifier() -> None:
    classifier = load_classifier("tf_efficientnet_lite0")
    card = load_model("zoo/lite").card
    assert classifier.weights_sha256 in {part.weights_sha256 for part in card.pretrained}
    rgb8 = torch.full((1, 3, 224, 224), 119, dtype=torch.uint8)
    lightness = torch.full((1, 1, 224, 224), 50.0344)  # of that gray
    wanted = classifier.features(rgb8, "blocks.6")
    found = Encoder()(lightness)[-1].mean(dim=(2, 3))
    assert (wanted - found).abs().max() < 1e-2 * wanted.abs().max()


def test_training_changes_the_decoder_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = DecoderTraining(PRESET, load_prior())
    before = tensors_of(task.network.encoder)
    assert not any(name.startswith("network.encoder") for name in task.state_dict())
    assert all("encoder" not in name for name, _ in task.named_parameters())
    head = task.network.decoder.head.weight.clone()
    cache = build_cache([open_dataset(write_images(tmp_path / "images"))], tmp_path / "cache", PRESET.cache_size)
    Trainer(task, PRESET, cache, TrainerOptions(tmp_path / "run", checkpoint_every=1)).run(Silent())
    after = tensors_of(task.network.encoder)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(head, task.network.decoder.head.weight)
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert not any("encoder" in name for name in saved["network"])


def test_two_trainings_of_one_seed_give_the_same_weights(tmp_path: Path) -> None:
    cache = build_cache([open_dataset(write_images(tmp_path / "images"))], tmp_path / "cache", PRESET.cache_size)
    found = []
    for name in ("a", "b"):
        torch.manual_seed(0)
        task = DecoderTraining(PRESET, load_prior())
        found.append(Trainer(task, PRESET, cache, TrainerOptions(tmp_path / name)).run(Silent()))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_the_encoder_moves_along_and_counts_for_the_fingerprint() -> None:
    network = Network(0.25).double()
    assert all(
        value.dtype == torch.float64 for value in tensors_of(network.encoder).values() if value.is_floating_point()
    )
    model = load_model("zoo/lite")
    before = model_identity(model)
    encoder = model.colorizer.network.encoder.network  # type: ignore[attr-defined]
    with torch.no_grad():
        encoder.conv_stem.weight[0, 0, 0, 0] += 1
    assert model_identity(dataclasses.replace(model)) != before


@pytest.mark.parametrize("size", [(64, 96), (40, 104), (160, 160)])
def test_shapes(size: tuple[int, int]) -> None:
    model = load_model("zoo/lite").colorizer
    lightness = torch.rand(2, 1, *size) * 100
    with torch.inference_mode():
        assert model.distribution(lightness).shape == (2, 313, size[0] // 4, size[1] // 4)  # type: ignore[attr-defined]
        maps = model.features(lightness)  # type: ignore[attr-defined]
        assert model.colorize_batch(ColorizerInput(lightness, ("a", "b"), (0, 0))).ab.shape == (2, 2, *size)
    assert set(maps) == {f"{part}{stride}" for part in ("encoder", "decoder") for stride in (4, 8, 16, 32)}


def test_the_default_judge_is_named_as_its_encoder() -> None:
    card = load_model("zoo/lite").card
    nothing = Dataset("nothing", ())
    for protocol, parameter in ((SemanticProtocol(), "classifiers"), (DistributionProtocol(), "backend")):
        for name, shared in (("tf_efficientnet_lite0", True), ("tf_efficientnet_lite1", False)):
            scorer = protocol.resolve({parameter: name}, nothing)
            found = find_shared_weights(card, protocol.spec.name, scorer.identity, alternatives=protocol.spec.networks)
            assert [one.parameter for one in found] == ([f"{protocol.spec.name}.{parameter}"] if shared else [])
            assert all("tf_efficientnet_lite0" not in one.alternatives for one in found)
