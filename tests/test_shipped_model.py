"""What the shipped weights can do, on real ImageNet validation photographs that no training has seen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from colorbench.data.loading import load_batches
from colorbench.data.recipes import get_recipe
from colorbench.data.sources import open_dataset
from colorbench.evaluation.protocol import Colorization, Truth
from colorbench.models.colorizer import Inputs
from colorbench.models.loading import load_model
from colorbench.stats.paired import PairedDifference, paired_interval
from protocols.auc import AucProtocol

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "data" / "ilsvrc_val650"
METRIC = "auc_rebalanced_stable"

pytestmark = pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the validation photographs are not at hand")


@pytest.fixture(scope="module")
def statistics() -> dict[str, np.ndarray]:
    """Row -> (n, 2) statistics of the metric, all on the same photographs."""
    dataset = open_dataset(PHOTOGRAPHS)
    scorer = AucProtocol().resolve({}, dataset)
    names = ("zoo/cic.small", "zoo/cic.untrained", "zoo/gray", "zoo/constant")
    models = {name: load_model(name).colorizer for name in names}
    for name in names[:2]:
        models[f"{name}, mean"] = load_model(name, decode="mean").colorizer
    found: dict[str, list[np.ndarray]] = {}
    before: Tensor | None = None
    with torch.inference_mode():
        for batch in load_batches(dataset.samples, get_recipe("squash256"), batch_size=13, workers=1):
            truth = Truth(batch.ids, batch.rgb8)
            another = truth.lightness.roll(1, dims=0) if before is None else before
            before = truth.lightness
            shown = {name: (model, truth.lightness) for name, model in models.items()}
            shown["another photograph"] = (models["zoo/cic.small"], another[: len(batch.ids)])
            for name, (model, lightness) in shown.items():
                colors = model.colorize_batch(Inputs(lightness, batch.ids, (0,) * len(batch.ids)))
                columns = scorer.score(Colorization(truth, ab=colors.ab)).columns
                found.setdefault(name, []).append(np.stack([columns[f"{METRIC}.s{j}"] for j in (0, 1)], axis=1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


@pytest.fixture(scope="module")
def minus(statistics: dict[str, np.ndarray]) -> Callable[[str, str], PairedDifference]:
    """The paired difference of two rows with its 95 % interval."""
    return lambda a, b: paired_interval(statistics[a], statistics[b], "ratio", seed=0)


def beats(difference: PairedDifference) -> bool:
    """Whether the interval lies above 0."""
    return difference.interval is not None and difference.interval.low > 0


def test_decoded_by_the_mean_the_shipped_model_beats_what_looks_at_no_picture(
    minus: Callable[[str, str], PairedDifference],
) -> None:
    for rival in ("zoo/gray", "zoo/constant"):
        difference = minus("zoo/cic.small, mean", rival)
        assert difference.n == 650 and beats(difference), (rival, difference)


def test_decoded_as_in_the_paper_it_beats_gray(minus: Callable[[str, str], PairedDifference]) -> None:
    assert beats(minus("zoo/cic.small", "zoo/gray"))


def test_the_shipped_model_beats_itself_fed_another_photograph(
    minus: Callable[[str, str], PairedDifference],
) -> None:
    difference = minus("zoo/cic.small", "another photograph")
    assert beats(difference), difference


@pytest.mark.parametrize("decoding", ["", ", mean"])
def test_the_same_check_fails_for_an_untrained_network(
    minus: Callable[[str, str], PairedDifference], decoding: str
) -> None:
    name = f"zoo/cic.untrained{decoding}"
    assert not (beats(minus(name, "zoo/gray")) and beats(minus(name, "zoo/constant")))
