"""AuC of a 256 x 256 image against a loop over 151 thresholds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from skimage.data import astronaut
from torch import Tensor

from benchmarks.case import Case
from colorbench.color import load_prior, nearest_bin, rebalancing_weights, rgb_to_lab
from colorbench.metrics import auc, auc_statistics


def plain(predicted: Tensor, truth: Tensor, weights: Tensor | None = None) -> float:
    """Compute the definition: the weighted share of pixels with d <= t at each t, then the trapezoid rule."""
    distance = (predicted - truth).norm(dim=0)
    weights = torch.ones_like(distance) if weights is None else weights
    shares = [float((weights * (distance <= t)).sum() / weights.sum()) for t in range(151)]
    return 100 * (sum(shares) - (shares[0] + shares[-1]) / 2) / 150


def cases() -> Iterator[Case]:
    """Yield the comparisons of AuC."""
    lab = rgb_to_lab(torch.from_numpy(astronaut()[100:356, 100:356].copy()).permute(2, 0, 1))
    truth = lab[1:].contiguous()
    predicted = truth * 0.4 + 5
    weights = torch.from_numpy(rebalancing_weights(load_prior().probabilities, 0.1)).float()
    traffic = 2 * truth.numel() * truth.element_size()
    yield Case(
        "raw AuC, 256 x 256",
        lambda: auc(predicted[None], truth[None]),
        "loop over 151 thresholds",
        lambda: plain(predicted, truth),
        aim=10,
        limit="memory",
        work=traffic,
    )

    def both_loops() -> object:
        return plain(predicted, truth), plain(predicted, truth, weights[nearest_bin(truth)])

    yield Case(
        "every stored statistic of AuC, 256 x 256",
        lambda: auc_statistics(predicted[None], truth[None], nearest_bin(truth[None])),
        "raw and rebalanced loops",
        both_loops,
        aim=10,
        limit="memory",
        work=traffic,
    )
