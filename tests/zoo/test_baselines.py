"""Every registered model on a real image, and each baseline and reference against what it says it is."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from colorbench.color import lab_to_rgb8, load_prior, nearest_bin, rebalancing_weights, rgb_to_lab
from colorbench.data import decode_image, get_preprocessing, open_dataset
from colorbench.errors import UserError
from colorbench.metrics import auc_statistics, pooled_statistics
from colorbench.models import ColorizerInput, LoadedModel, load_model, model_factory, tags_of
from colorbench.registry import registered
from tests.support.released import downloaded
from zoo.baselines import build_data
from zoo.baselines.build_data import Statistics


def every_model() -> list[str]:
    """All models of ours whose weights come along, each with all its tags."""
    plugins = [plugin for plugin in registered("models") if plugin.distribution == "colorbench"]
    names = [plugin.name for plugin in plugins if not downloaded(plugin)]
    return [f"{name}.{tag}" if tag else name for name in names for tag in (tags_of(model_factory(name)) or [None])]


@lru_cache(maxsize=32)
def loaded(name: str) -> LoadedModel:
    return load_model(name)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    """(7, 3, 64, 96) uint8: the packaged images."""
    images = [Image.fromarray(decode_image(sample).rgb).resize((96, 64)) for sample in open_dataset("samples").samples]
    return torch.from_numpy(np.stack([np.asarray(image) for image in images]).transpose(0, 3, 1, 2).copy())


def shown(truth: Tensor, model: LoadedModel, seeds: range | None = None) -> ColorizerInput:
    """What the engine shows this model."""
    return ColorizerInput(
        lightness=rgb_to_lab(truth)[:, :1].contiguous(),
        ids=tuple(f"{i}.png" for i in range(len(truth))),
        seeds=tuple(seeds or range(len(truth))),
        truth=truth if model.card.role == "reference" else None,
        sizes=((64, 96),) * len(truth),
    )


@torch.no_grad()
def ab_of(model: LoadedModel, inputs: ColorizerInput) -> Tensor:
    """(N, 2, H, W), from whichever form the answer has; its type and size checked."""
    colors = model.colorizer.colorize_batch(inputs)
    n, _, h, w = inputs.lightness.shape
    if colors.rgb8 is not None:
        assert colors.ab is None
        assert (colors.rgb8.dtype, colors.rgb8.shape) == (torch.uint8, (n, 3, h, w))
        return rgb_to_lab(colors.rgb8)[:, 1:]
    assert colors.ab is not None
    assert colors.ab.is_floating_point()
    assert colors.ab.shape == (n, 2, h, w)
    return colors.ab


@pytest.mark.parametrize("name", every_model())
def test_every_model_colorizes_real_images(name: str, truth: Tensor) -> None:
    model, given = loaded(name), truth[:3]
    inputs = shown(given, model)
    before = inputs.lightness.clone()
    ab = ab_of(model, inputs)
    assert bool(ab.isfinite().all())
    assert float(ab.abs().max()) <= 130
    assert torch.equal(inputs.lightness, before)
    assert torch.equal(ab_of(model, inputs), ab)
    alone = [
        ab_of(model, ColorizerInput(inputs.lightness[i : i + 1], inputs.ids[i : i + 1], inputs.seeds[i : i + 1],
                            None if inputs.truth is None else inputs.truth[i : i + 1], inputs.sizes[i : i + 1]))
        for i in (2, 0, 1)
    ]  # fmt: skip
    # A network's convolutions may add in another order for another batch; nothing else may differ at all.
    bound = 2e-3 if model.card.parameters else 0.0
    assert float((torch.cat([alone[1], alone[2], alone[0]]) - ab).abs().max()) <= bound


@pytest.mark.parametrize("name", every_model())
def test_every_card_is_complete(name: str) -> None:
    model = loaded(name)
    assert model.full_name == name
    assert model.package == "colorbench"
    assert model.card.title and model.card.license
    assert model.card.notes
    roles = {"gray": "baseline", "mean-color": "baseline", "constant": "baseline", "random": "baseline"}
    roles |= {"cic-pixelwise.small": "baseline", "nearest-hint": "baseline"}
    roles |= {"ground-truth": "reference", "ground-truth-jpeg95": "reference", "half-chroma": "reference"}
    assert model.card.role == roles.get(name.removeprefix("zoo/"), "competitor")
    assert model.card.stochastic == (name == "zoo/random")


@pytest.mark.parametrize("name", every_model())
def test_only_stochastic_models_hear_the_seed(name: str, truth: Tensor) -> None:
    model = loaded(name)
    first, second = (ab_of(model, shown(truth[:2], model, seeds)) for seeds in (range(2), range(100, 102)))
    assert torch.equal(first, second) != model.card.stochastic


def test_gray_has_no_color_and_mean_and_constant_have_one(truth: Tensor) -> None:
    for name in ("gray", "mean-color", "constant"):
        model = loaded(f"zoo/{name}")
        ab = ab_of(model, shown(truth, model))
        expected = torch.tensor([model.card.settings.get("a", 0.0), model.card.settings.get("b", 0.0)])
        assert torch.equal(ab, expected.view(1, 2, 1, 1).expand_as(ab))
    assert loaded("zoo/constant").card.settings != loaded("zoo/mean-color").card.settings


def test_the_images_behind_a_baseline_are_known_by_their_hashes() -> None:
    for name in ("mean-color", "constant", "random"):
        package, _, path = str(loaded(f"zoo/{name}").card.training_hashes).partition(":")
        with resources.files(package).joinpath(path).open("rb") as file:
            hashes = np.load(file)
        assert hashes.dtype == np.uint64
        assert len(np.unique(hashes)) > 17_000
        assert f"{len(hashes)} images" in str(loaded(f"zoo/{name}").card.training_data)


def test_random_gives_the_thumbnail_that_the_seed_chooses(truth: Tensor) -> None:
    model = loaded("zoo/random")
    thumbnails = model.colorizer.thumbnails  # type: ignore[attr-defined]
    assert thumbnails.shape == (512, 2, 16, 16)
    ab = ab_of(model, shown(truth[:2], model, range(511, 513)))
    for prediction, index in zip(ab, (511, 0), strict=True):
        for channel in range(2):
            image = Image.fromarray(thumbnails[index, channel].float().numpy())
            oracle = np.asarray(image.resize((96, 64), Image.Resampling.BILINEAR))
            assert np.abs(prediction[channel].numpy() - oracle).max() < 1e-3
    # Images, not one repeated, and colors as images have them.
    assert len(thumbnails.flatten(1).unique(dim=0)) == 512
    assert 5 < float(thumbnails.float().norm(dim=1).mean()) < 25


def test_references_show_the_truth_its_copy_and_half_of_it(truth: Tensor) -> None:
    ab = rgb_to_lab(truth)[:, 1:]
    exact = loaded("zoo/ground-truth")
    inputs = shown(truth, exact)
    assert exact.colorizer.colorize_batch(inputs).rgb8 is inputs.truth
    half = loaded("zoo/half-chroma")
    assert torch.equal(ab_of(half, shown(truth, half)) * 2, ab)
    jpeg = loaded("zoo/ground-truth-jpeg95")
    prediction = jpeg.colorizer.colorize_batch(shown(truth, jpeg)).rgb8
    assert prediction is not None
    for image, original in zip(prediction, truth, strict=True):
        file = io.BytesIO()
        Image.fromarray(original.permute(1, 2, 0).numpy()).save(
            file, "JPEG", quality=95
        )  # 4:2:0 is Pillow's own choice
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))
    assert 0 < float((prediction.float() - truth.float()).abs().mean()) < 8


@pytest.mark.parametrize("name", ["zoo/ground-truth", "zoo/ground-truth-jpeg95", "zoo/half-chroma"])
def test_a_reference_without_truth_says_so(name: str, truth: Tensor) -> None:
    model = loaded(name)
    inputs = ColorizerInput(rgb_to_lab(truth)[:, :1], tuple("abcdefg"), tuple(range(7)))
    with pytest.raises(UserError, match="none are known here"):
        model.colorizer.colorize_batch(inputs)


WEIGHTS = rebalancing_weights(load_prior().probabilities, build_data.LAMBDA)


def stable_auc(truth: Tensor, ab: tuple[float, float]) -> float:
    """The metric itself, of one color as it is seen: what the histogram must agree with."""
    lab = rgb_to_lab(truth)
    prediction = torch.tensor(ab).view(1, 2, 1, 1).expand(len(truth), 2, *truth.shape[-2:])
    rendered = rgb_to_lab(lab_to_rgb8(torch.cat([lab[:, :1], prediction], dim=1)))[:, 1:]
    statistics = auc_statistics(rendered, lab[:, 1:], nearest_bin(lab[:, 1:].contiguous()))
    sums = pooled_statistics(statistics.doubled_scores, statistics.counts, 300, WEIGHTS).sum(axis=0)
    return float(sums[0] / sums[1])


@pytest.fixture(scope="module")
def counted(truth: Tensor) -> Statistics:
    """What ``make_data`` counts on the packaged images."""
    statistics = Statistics.empty(WEIGHTS)
    for part in truth.split(3):
        statistics.add(rgb_to_lab(part))
    return statistics


@pytest.mark.parametrize("ab", [(0.0, 0.0), (5.5, 17.5), (-40.0, 30.0), (60.0, -70.0), (10.0, 80.0)])
def test_the_pooled_histogram_gives_the_metric(truth: Tensor, counted: Statistics, ab: tuple[float, float]) -> None:
    assert build_data.score(counted, [ab])[ab] == pytest.approx(stable_auc(truth, ab), abs=0.1)


def test_the_best_constant_is_the_best_by_the_metric_itself(truth: Tensor, counted: Statistics) -> None:
    best, value = build_data.best_constant(counted)
    assert value == pytest.approx(stable_auc(truth, best), abs=0.1)
    grid = [(float(a), float(b)) for a in range(-24, 49, 8) for b in range(-40, 57, 8)]
    around = [(best[0] + da, best[1] + db) for da in (-3, 0, 3) for db in (-3, 0, 3)]
    assert stable_auc(truth, best) >= max(stable_auc(truth, ab) for ab in grid + around) - 0.05


def test_the_mean_color_is_the_mean(truth: Tensor, counted: Statistics) -> None:
    oracle = rgb_to_lab(truth.double() / 255)[:, 1:].mean(dim=(0, 2, 3))
    assert counted.mean_ab == pytest.approx(oracle.tolist(), abs=1e-4)
    assert counted.images == len(truth)


def test_the_data_are_made_from_a_folder_and_fit_the_models(tmp_path, images, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["make_data", "--data", str(images), "--output", str(tmp_path)])
    build_data.main()
    with np.load(tmp_path / "random_ab.npz") as file:
        thumbnails = file["ab"]
        assert file["images"] == 3
    assert (thumbnails.shape, thumbnails.dtype) == ((3, 2, 16, 16), np.int8)
    # Each is the 16 x 16 means of one of the images.
    blocks = []
    for sample in open_dataset(images).samples:
        rgb = get_preprocessing("squash128").apply(decode_image(sample).rgb)
        lab = rgb_to_lab(torch.from_numpy(rgb.transpose(2, 0, 1).copy())).numpy()
        blocks.append(lab[1:].reshape(2, 16, 8, 16, 8).mean(axis=(2, 4)))
    for thumbnail in thumbnails:
        assert min(np.abs(thumbnail - block).max() for block in blocks) < 0.51
    for file_name in ("constant.json", "mean_color.json"):
        assert (tmp_path / file_name).is_file()
    hashes = sorted(int(decode_image(sample).sha256[:16], 16) for sample in open_dataset(images).samples)
    assert np.load(tmp_path / "training_hashes.npy").tolist() == hashes
    assert (tmp_path / "random_ab.npz").stat().st_size < 1_000_000
