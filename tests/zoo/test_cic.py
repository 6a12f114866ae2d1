"""The classification network and the model that ships."""

import pytest
import torch
from safetensors.torch import load_file
from skimage.data import astronaut

from colorbench.color import ab_bins, load_prior, rgb_to_lab
from colorbench.data import get_preprocessing, load_batches, open_dataset
from colorbench.evaluation import GroundTruth, Prediction
from colorbench.models import ColorizerInput, HasFeatures, PredictsDistribution
from protocols.auc import AucProtocol
from zoo.cic import CIC, CICClass
from zoo.cic.network import Network, scaled
from zoo.cic.trunk_colorizer import TrunkColorizer
from zoo.regression import L2, L2FineTuned


def test_the_full_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Network(1.0)
    assert network.parameter_count + ab_bins().numel() == 32_236_011


def test_the_full_network_predictions_at_a_quarter_of_its_input() -> None:
    with torch.device("meta"):
        assert Network(1.0)(torch.zeros(1, 1, 176, 176)).shape == (1, 313, 44, 44)


@pytest.mark.parametrize(("width", "channels"), [(1.0, 512), (0.5, 256), (0.2, 104), (0.01, 8)])
def test_widths_are_multiples_of_8(width: float, channels: int) -> None:
    assert scaled(512, width) == channels


@pytest.mark.parametrize("family", [CIC, CICClass, L2, L2FineTuned])
def test_the_shipped_weights_are_small_and_known_by_their_card(family: type[TrunkColorizer]) -> None:
    assert family.shipped.stat().st_size <= 3_000_000
    card = family.load("small").card
    assert card.weights_sha256 and card.training_data and card.training_hashes


@pytest.mark.parametrize("family", [CIC, CICClass, L2, L2FineTuned])
def test_storing_filters_in_half_precision_moves_scores_by_less_than_2_hundredths(
    family: type[TrunkColorizer],
) -> None:
    """Rounding moved each filter by half a step of float16 at most; moving them so again shows what that does."""
    stored = load_file(family.shipped)
    generator = torch.Generator().manual_seed(0)
    model, moved = family.load("small"), family.load("small")
    state = moved.network.state_dict()
    for name, value in stored.items():
        if value.dtype == torch.float16:
            step = torch.exp2(value.float().abs().clamp_min(2.0**-14).log2().floor() - 10)
            state[name] = value.float() + step * (torch.rand(value.shape, generator=generator) - 0.5)
    moved.network.load_state_dict(state)
    scores = []
    for one in (model, moved):
        scorer = AucProtocol().resolve({}, open_dataset())
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in load_batches(open_dataset().samples, get_preprocessing("squash256"), batch_size=3, workers=1):
            truth = GroundTruth(batch.ids, batch.rgb8)
            with torch.inference_mode():
                ab = one.colorize_batch(ColorizerInput(truth.lightness, batch.ids, (0,) * len(batch.ids))).ab
            columns = scorer.score(Prediction(truth, ab=ab)).columns
            sums += torch.tensor([columns[f"auc_rebalanced_stable.s{j}"].sum() for j in (0, 1)])
        scores.append(float(sums[0] / sums[1]))
    assert scores[0] != scores[1] and abs(scores[0] - scores[1]) < 0.02


@pytest.mark.parametrize("family", [L2, L2FineTuned])
def test_the_regression_predictions_colors_and_features(family: type[L2], lightness: torch.Tensor) -> None:
    model = family.load("small")
    assert not isinstance(model, PredictsDistribution) and isinstance(model, HasFeatures)
    with torch.no_grad():
        ab = model.colorize(lightness[..., :96, :96])
        head = model.network.head(model.features(lightness[..., :96, :96])["conv8"])
    assert ab.shape == (1, 2, 24, 24) and torch.allclose(ab, head * 110, atol=1e-3) and 1 < ab.abs().max() < 110


@pytest.mark.parametrize("family", [CIC, L2])
def test_a_head_gives_the_same_for_all_batches_and_threads(family: type[TrunkColorizer]) -> None:
    """The answers themselves, since rounding to 8 bits hides most of what they differ by."""
    network = family.load("small").network
    lightness = 100 * torch.rand(32, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    before, predictions = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.no_grad():
                predictions += [torch.cat([network(part) for part in lightness.split(size)]) for size in (2, 5, 16, 32)]
    finally:
        torch.set_num_threads(before)
    for prediction in predictions[1:]:
        assert torch.allclose(predictions[0], prediction, rtol=1e-5, atol=1e-5)


def test_the_euclidean_loss_is_half_the_squared_distance_in_units() -> None:
    preset = L2.presets["small"].changed({"width": 0.05})
    task = L2.training(preset, load_prior())
    torch.nn.init.zeros_(task.network.head.weight)
    assert task.network.head.bias is not None
    task.network.head.bias.data = torch.tensor([0.1, 0.0])  # answers ab = (11, 0) everywhere
    loss, figures = task(torch.full((2, 1, 16, 16), 50.0), torch.full((2, 2, 16, 16), 11.0))
    assert loss.item() == pytest.approx(0.5 * 11**2 / 27.5**2) and figures["rmse"].item() == pytest.approx(11)
    summed = L2.training(preset.changed({"reduction": "sum"}), load_prior())
    summed.load_state_dict(task.state_dict())
    full, _ = summed(torch.full((2, 1, 16, 16), 50.0), torch.full((2, 2, 16, 16), 11.0))
    assert full.item() == pytest.approx(16 * loss.item())  # 4 x 4 targets an image


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


def test_the_shipped_model_looks_at_the_image(lightness: torch.Tensor) -> None:
    model = CIC.load("small")
    with torch.no_grad():
        ab = model.colorize_batch(ColorizerInput(lightness, ("a",), (0,))).ab
    assert ab is not None and ab.shape == (1, 2, 256, 256)
    assert float(ab.std(dim=(2, 3)).max()) > 3  # one tint for all would have no spread
