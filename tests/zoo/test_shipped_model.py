"""What the shipped weights can do, on real ImageNet validation images that no training has seen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from colorbench.data import get_preprocessing, load_batches, open_dataset
from colorbench.evaluation import GroundTruth, Prediction
from colorbench.models import ColorizerInput, load_model
from colorbench.stats import PairedDifference, paired_interval
from protocols.auc import AucProtocol

IMAGES = Path(__file__).resolve().parents[3] / "shared" / "data" / "ilsvrc_val650"
METRIC = "auc_rebalanced_stable"
TRAINED = ("zoo/cic.small", "zoo/cic-class.small", "zoo/l2.small", "zoo/l2-ft.small", "zoo/lite.small")

pytestmark = pytest.mark.skipif(not IMAGES.is_dir(), reason="the validation images are not at hand")


@pytest.fixture(scope="module")
def statistics() -> dict[str, np.ndarray]:
    """Row, with a metric after ": " for the raw one -> (n, 2) statistics, all on the same images."""
    dataset = open_dataset(IMAGES)
    scorer = AucProtocol().resolve({}, dataset)
    names = (*TRAINED, "zoo/cic.untrained", "zoo/gray", "zoo/constant")
    models = {name: load_model(name).colorizer for name in names}
    for name in ("zoo/cic.small", "zoo/cic-class.small", "zoo/cic.untrained"):
        models[f"{name}, mean"] = load_model(name, decode="mean").colorizer
    models["zoo/cic.small, mode"] = load_model("zoo/cic.small", decode="mode").colorizer
    found: dict[str, list[np.ndarray]] = {}
    before: Tensor | None = None
    with torch.inference_mode():
        for batch in load_batches(dataset.samples, get_preprocessing("squash256"), batch_size=13, workers=1):
            truth = GroundTruth(batch.ids, batch.rgb8)
            another = truth.lightness.roll(1, dims=0) if before is None else before
            before = truth.lightness
            shown = {name: (model, truth.lightness) for name, model in models.items()}
            shown["another image"] = (models["zoo/cic.small"], another[: len(batch.ids)])
            for name, (model, lightness) in shown.items():
                colors = model.colorize_batch(ColorizerInput(lightness, batch.ids, (0,) * len(batch.ids)))
                columns = scorer.score(Prediction(truth, ab=colors.ab)).columns
                for metric, row in ((METRIC, name), ("auc_raw", f"{name}: raw")):
                    found.setdefault(row, []).append(np.stack([columns[f"{metric}.s{j}"] for j in (0, 1)], axis=1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


@pytest.fixture(scope="module")
def minus(statistics: dict[str, np.ndarray]) -> Callable[[str, str], PairedDifference]:
    """The paired difference of two rows with its 95 % interval."""
    return lambda a, b: paired_interval(statistics[a], statistics[b], "ratio", seed=0)


def beats(difference: PairedDifference) -> bool:
    """Whether the interval lies above 0."""
    return difference.interval is not None and difference.interval.low > 0


@pytest.mark.parametrize("decoding", ["", ", mean", ", mode"])
def test_however_decoded_the_shipped_model_beats_what_looks_at_no_image(
    minus: Callable[[str, str], PairedDifference], decoding: str
) -> None:
    for rival in ("zoo/gray", "zoo/constant"):
        difference = minus(f"zoo/cic.small{decoding}", rival)
        assert difference.n == 650 and beats(difference), (rival, difference)


def test_a_pretrained_encoder_pays(minus: Callable[[str, str], PairedDifference]) -> None:
    for rival in ("zoo/cic.small", "zoo/constant"):
        assert beats(minus("zoo/lite.small", rival))


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_model_beats_gray(minus: Callable[[str, str], PairedDifference], name: str) -> None:
    assert beats(minus(name, "zoo/gray"))


@pytest.mark.parametrize("decoding", ["", ", mean"])
def test_rebalancing_pays_in_rare_colors(minus: Callable[[str, str], PairedDifference], decoding: str) -> None:
    assert beats(minus(f"zoo/cic.small{decoding}", f"zoo/cic-class.small{decoding}"))


@pytest.mark.parametrize("name", ["zoo/cic-class.small", "zoo/l2.small"])
def test_rebalancing_costs_in_common_colors(minus: Callable[[str, str], PairedDifference], name: str) -> None:
    assert beats(minus(f"{name}: raw", "zoo/cic.small: raw"))


def test_the_shipped_model_beats_itself_fed_another_image(
    minus: Callable[[str, str], PairedDifference],
) -> None:
    difference = minus("zoo/cic.small", "another image")
    assert beats(difference), difference


@pytest.mark.parametrize("decoding", ["", ", mean"])
def test_the_same_check_fails_for_an_untrained_network(
    minus: Callable[[str, str], PairedDifference], decoding: str
) -> None:
    name = f"zoo/cic.untrained{decoding}"
    assert not (beats(minus(name, "zoo/gray")) and beats(minus(name, "zoo/constant")))
