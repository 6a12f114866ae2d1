"""Speed of AuC of a 256 x 256 image against a loop over 151 thresholds: ``uv run python -m benchmarks.auc``."""

from __future__ import annotations

import torch
from skimage.data import astronaut
from torch import Tensor

from benchmarks.timing import compare, report
from colorbench.color import load_prior, nearest_bin, rebalancing_weights, rgb_to_lab
from colorbench.metrics import auc, auc_statistics


def plain(predicted: Tensor, truth: Tensor, weights: Tensor | None = None) -> float:
    """Compute the definition: the weighted share of pixels with d <= t at each t, then the trapezoid rule."""
    distance = (predicted - truth).norm(dim=0)
    weights = torch.ones_like(distance) if weights is None else weights
    shares = [float((weights * (distance <= t)).sum() / weights.sum()) for t in range(151)]
    return 100 * (sum(shares) - (shares[0] + shares[-1]) / 2) / 150


if __name__ == "__main__":
    lab = rgb_to_lab(torch.from_numpy(astronaut()[100:356, 100:356].copy()).permute(2, 0, 1))
    truth = lab[1:].contiguous()
    predicted = truth * 0.4 + 5
    weights = torch.from_numpy(rebalancing_weights(load_prior().probabilities, 0.1)).float()
    difference = abs(float(auc(predicted[None], truth[None])[0]) - plain(predicted, truth))
    ours, reference = compare(lambda: auc(predicted[None], truth[None]), lambda: plain(predicted, truth))
    report(
        f"raw AuC of 256 x 256 (difference {difference:.1e} points)", ours, reference, "loop over 151 thresholds", 10
    )

    def all_statistics() -> object:
        return auc_statistics(predicted[None], truth[None], nearest_bin(truth[None]))

    def both_loops() -> object:
        squared = nearest_bin(truth)
        return plain(predicted, truth), plain(predicted, truth, weights[squared])

    ours, reference = compare(all_statistics, both_loops)
    report("every stored statistic of 256 x 256", ours, reference, "raw and rebalanced loops", 10)
