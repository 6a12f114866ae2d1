"""Half precision rounds no weight, and what half precision cannot hold stays in float32."""

from __future__ import annotations

import pytest
import torch
from engine_support import loaded
from test_model_check import batch
from torch import Tensor, nn

from colorbench.evaluation.predict import predict
from colorbench.models.adapters import Wrapped
from colorbench.models.card import ModelCard


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
            predict(loaded(Wrapped(network)), batch(), ((32, 40),) * 3, (1, 2, 3), "native", one).ab_float
            for one in (torch.float32, dtype)
        )
    assert exact.abs().max() > 5, "the normalization counts"
    assert not torch.equal(exact, half), "half precision was used"
    assert (exact - half).abs().mean() < 0.01 * exact.abs().mean()
    after = network.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())
