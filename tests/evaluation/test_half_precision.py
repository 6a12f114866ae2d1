"""Half precision rounds no weight, and what half precision cannot hold stays in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from colorbench.evaluation.predict import Query, predict
from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import run
from colorbench.models import ModelCard, as_colorizer, load_model
from tests.evaluation.test_first_image_checks import batch
from tests.support.engine import loaded, write_images


class WideVariance(nn.Module):
    """A short form whose normalization has a variance that float16 cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.card = ModelCard(title="wide")
        torch.manual_seed(0)
        self.first, self.norm, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)
        nn.init.constant_(self.norm.running_var, 1e6)
        nn.init.constant_(self.norm.weight, 1e3)

    def colorize(self, lightness: Tensor) -> Tensor:
        return self.last(self.norm(self.first(lightness)).relu())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_and_rounds_no_weight(dtype: torch.dtype) -> None:
    network = WideVariance().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        exact, half = (
            predict(
                loaded(as_colorizer(network, "test/model")), Query(batch(), ((32, 40),) * 3, (1, 2, 3), "native", one)
            ).ab_float
            for one in (torch.float32, dtype)
        )
    assert exact.abs().max() > 5, "the normalization counts"
    assert not torch.equal(exact, half), "half precision was used"
    assert (exact - half).abs().mean() < 0.01 * exact.abs().mean()
    after = network.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())


SHIPPED = ["zoo/cic.small", "zoo/cic-class.small", "zoo/l2.small", "zoo/l2-ft.small"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", SHIPPED)
def test_half_precision_hardly_moves_a_shipped_model(name: str, dtype: str, tmp_path: Path) -> None:
    """On real crops, all three scores; and the weights are afterwards what they were."""
    data = write_images(tmp_path / "images", 6, side=128)
    model = load_model(name)
    before = [tensor.clone() for tensor in model.colorizer.network.state_dict().values()]
    scores = {}
    for kind in ("float32", dtype):
        (record,) = run(
            RunConfig(
                models=[model], protocols=["auc"], data=data, output=tmp_path / kind, dtype=kind,
                device="cpu", baselines=False, save="none", parameters={"auc": {"preprocessing": "squash128"}},
            )
        )  # fmt: skip
        scores[kind] = [metric.value for metric in record.metrics]
    # Six crops are few: on 650 images of ILSVRC no score moves by more than 0.03 in bfloat16, 0.002 in float16.
    assert scores[dtype] == pytest.approx(scores["float32"], abs={"float16": 0.1, "bfloat16": 1.0}[dtype])
    after = list(model.colorizer.network.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
