"""The classification network and the model that ships."""

import pytest
import torch
from skimage.data import astronaut

from colorbench.color.bins import ab_bins
from colorbench.color.lab import rgb_to_lab
from colorbench.models.colorizer import HasFeatures, Inputs, PredictsDistribution
from zoo.cic import CIC
from zoo.cic.model import SHIPPED
from zoo.cic.network import Network, scaled


def test_the_full_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Network(1.0)
    assert network.parameter_count + ab_bins().numel() == 32_236_011


def test_the_full_network_answers_at_a_quarter_of_its_input() -> None:
    with torch.device("meta"):
        assert Network(1.0)(torch.zeros(1, 1, 176, 176)).shape == (1, 313, 44, 44)


@pytest.mark.parametrize(("width", "channels"), [(1.0, 512), (0.5, 256), (0.2, 104), (0.01, 8)])
def test_widths_are_multiples_of_8(width: float, channels: int) -> None:
    assert scaled(512, width) == channels


def test_the_shipped_weights_are_small_and_known_by_their_card() -> None:
    assert SHIPPED.stat().st_size <= 3_000_000
    model = CIC.load("small")
    assert model.card.weights_sha256 and model.card.training_data and model.card.training_hashes


@pytest.fixture(scope="module")
def lightness() -> torch.Tensor:
    return rgb_to_lab(torch.from_numpy(astronaut()[::2, ::2].copy()).permute(2, 0, 1))[None, :1]


def test_capabilities(lightness: torch.Tensor) -> None:
    model = CIC.load("untrained")
    assert isinstance(model, PredictsDistribution) and isinstance(model, HasFeatures)
    with torch.no_grad():
        log_p = model.distribution(lightness[..., :64, :96])
        assert log_p.shape == (1, 313, 16, 24) and torch.allclose(log_p.exp().sum(1), torch.ones(1, 16, 24), atol=1e-4)
        maps = model.features(lightness[..., :64, :96])
    assert maps["conv1"].shape == (1, 16, 32, 48) and maps["conv5_2"].shape == (1, 104, 8, 12)
    assert sum("_" in name for name in maps) == 22 and sum("_" not in name for name in maps) == 8
    # The last block's map is what the head reads.
    head = model.network.head(maps["conv8"])
    assert torch.allclose(head.log_softmax(1), log_p, atol=1e-5)


def test_decoding_is_a_choice_of_the_run(lightness: torch.Tensor) -> None:
    model = CIC.load("small")
    small = lightness[..., :96, :96]
    with torch.no_grad():
        mode = model.with_decoding("mode", None).colorize(small)
        mean, warm = (
            model.with_decoding(*chosen).colorize(small) for chosen in (("mean", None), ("annealed-mean", 1.0))
        )
        annealed = model.colorize(small)
    points = {tuple(point) for point in ab_bins().tolist()}
    assert {tuple(point) for point in mode.movedim(1, -1).reshape(-1, 2).tolist()} <= points
    assert torch.allclose(mean, warm, atol=1e-3) and not torch.allclose(mean, annealed, atol=1)
    # A lower temperature lies nearer the mode.
    assert (annealed - mode).norm(dim=1).mean() < (mean - mode).norm(dim=1).mean()
    assert model.decoding == {"decode": "annealed-mean", "temperature": 0.38}
    assert model.with_decoding("mode", None).decoding == {"decode": "mode"}


def test_the_shipped_model_looks_at_the_photograph(lightness: torch.Tensor) -> None:
    model = CIC.load("small")
    with torch.no_grad():
        ab = model.colorize_batch(Inputs(lightness, ("a",), (0,))).ab
    assert ab is not None and ab.shape == (1, 2, 256, 256)
    assert float(ab.std(dim=(2, 3)).max()) > 3  # one tint for all would have no spread
