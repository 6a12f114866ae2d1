"""Samples of the classification networks: their frequencies, coherence, and what they depend on."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from colorbench.color import ab_bins, nearest_bin
from colorbench.models import ColorizerInput, Samples, load_model
from zoo.cic import CIC
from zoo.cic.sampling import drawn_colors
from zoo.released import ECCV16


def frequencies(log_probabilities: Tensor, draws: int, *, coherent: bool) -> Tensor:
    """(313, pixels): how often each bin was drawn at each pixel of one image."""
    counts = torch.zeros(313, log_probabilities[0, 0].numel())
    for seed in range(draws):
        bins = nearest_bin(drawn_colors(log_probabilities, (seed,), coherent=coherent))[0].flatten()
        counts[bins, torch.arange(len(bins))] += 1
    return counts


@pytest.mark.parametrize("coherent", [True, False])
def test_each_pixel_is_drawn_from_its_own_distribution(coherent: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.full((1, 313, 1, 3), -30.0)
    logits[0, :12] = torch.randn(12, 1, 3, generator=generator)
    logits[0, 40:45, :, 1] = 1.5
    counts = frequencies(logits, 2000, coherent=coherent).numpy()
    probabilities = logits[0, :, 0].softmax(dim=0).double().numpy()
    for pixel in range(3):
        likely = probabilities[:, pixel] * 2000 > 5
        assert counts[~likely, pixel].sum() < 0.02 * 2000
        expected = probabilities[likely, pixel]
        observed = counts[likely, pixel]
        assert chisquare(observed, expected / expected.sum() * observed.sum()).pvalue > 1e-3


def test_pixels_of_one_distribution_are_of_one_color_and_the_control_is_not() -> None:
    logits = torch.zeros(1, 313, 4, 4)
    assert drawn_colors(logits, (7,)).flatten(2).unique(dim=2).shape[2] == 1
    assert drawn_colors(logits, (7,), coherent=False).flatten(2).unique(dim=2).shape[2] > 10
    with pytest.raises(AssertionError):
        torch.testing.assert_close(drawn_colors(logits, (7,)), drawn_colors(logits, (8,)))


def given(count: int = 3, size: tuple[int, int] = (64, 48)) -> ColorizerInput:
    lightness = torch.rand(count, 1, *size, generator=torch.Generator().manual_seed(0)) * 100
    return ColorizerInput(lightness, tuple("abc"[:count]), (0,) * count)


def samples_of(model: object, inputs: ColorizerInput, seeds: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    assert isinstance(model, Samples)
    with torch.no_grad():
        found = [one.ab for one in model.sample(inputs, seeds)]
    assert all(one is not None for one in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["zoo/cic", "zoo/cic-pixelwise", "zoo/cic-class"])
def test_an_image_has_the_same_samples_in_any_batch(name: str) -> None:
    model, inputs = load_model(name).colorizer, given()
    both = samples_of(model, inputs, ((1, 2, 3), (4, 5, 6)))
    assert [tuple(one.shape) for one in both] == [(3, 2, 64, 48)] * 2
    alone = ColorizerInput(inputs.lightness[1:2], ("b",), (9,))
    for draw, seed in ((0, 2), (1, 5)):
        assert torch.equal(samples_of(model, alone, ((seed,),))[0][0], both[draw][1])
    assert not torch.allclose(both[0], both[1], atol=1)


def test_the_decoding_decides_what_is_drawn() -> None:
    inputs, seeds = given(1), tuple((seed,) for seed in range(40))
    spread = {}
    for decoding in ("mean", "annealed-mean", "mode"):
        model = load_model(f"zoo/cic[decode={decoding}]").colorizer
        draws = torch.stack(samples_of(model, inputs, seeds))
        spread[decoding] = float(draws.std(dim=0).mean())
    assert spread["mean"] > spread["annealed-mean"] > 0.5
    assert spread["mode"] < 1e-4


def test_the_mean_of_many_samples_is_the_prediction_of_the_same_decoding() -> None:
    model, inputs = load_model("zoo/cic").colorizer, given(1, (32, 32))
    draws = torch.stack(samples_of(model, inputs, tuple((seed,) for seed in range(400))))
    with torch.no_grad():
        usual = model.colorize_batch(inputs).ab
    error = draws.std(dim=0) / 400**0.5
    far = (draws.mean(dim=0) - usual).abs() > 4 * error + 0.1
    assert float(far.float().mean()) < 0.01


def test_the_released_network_samples_its_own_distribution() -> None:
    torch.manual_seed(0)
    model, inputs = ECCV16.load("random"), given(1, (32, 32))
    with torch.no_grad():
        found = samples_of(model, inputs, ((1,), (2,)))
    assert found[0].shape == (1, 2, 32, 32) and not torch.equal(found[0], found[1])


def test_the_control_predicts_as_the_network_and_says_what_it_is() -> None:
    control, network = load_model("zoo/cic-pixelwise"), load_model("zoo/cic")
    assert control.card.role == "baseline" and "control" in control.card.title
    assert isinstance(control.colorizer, CIC)
    with torch.no_grad():
        ours, theirs = (one.colorizer.colorize_batch(given(1)).ab for one in (control, network))
    assert torch.equal(ours, theirs)
    assert len(ab_bins()) == 313
