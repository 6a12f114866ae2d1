"""Training task of the regression network: the loss as a module, which can be wrapped for several processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from colorbench.color import Prior
from colorbench.training import TrainingPreset, colored, kmeans_initialize, reduce_pixels
from zoo.cic.network import STRIDE, Network, scale_lightness

AB_SCALE = 110.0
"""The network predicts ab / 110, which is of order one."""
LOSS_UNIT = 27.5
"""ab distance with a loss of 1/2, so that gradients are as large as for classification."""


class RegressionTraining(nn.Module):
    """Network and Euclidean loss; ``forward`` is the loss."""

    def __init__(self, preset: TrainingPreset, prior: Prior) -> None:
        """Create the task; the prior is not used, since regression is not rebalanced."""
        super().__init__()
        self.preset = preset
        self.network = Network(preset.width, 2)

    def initialize(self, lightness: Tensor, seed: int) -> None:
        """Initialize the trunk by k-means on (N, 1, H, W) images; the head starts at gray.

        A head from patches would start with vivid colors, which the Euclidean loss would first have to unlearn.
        """
        if self.preset.start == "kmeans":
            kmeans_initialize(self.network.trunk, scale_lightness(lightness), seed)
        nn.init.normal_(self.network.head.weight, 0, 0.01)
        assert self.network.head.bias is not None
        nn.init.zeros_(self.network.head.bias)

    def forward(self, lightness: Tensor, ab: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of (N, 1, H, W) L and (N, 2, H, W) ab, and the metrics to log.

        The loss is half the squared ab distance (paper, equation 1) in units of 27.5 squared. Targets are ab at every
        fourth pixel, as the classification's.
        """
        prediction = self.network(lightness.contiguous(memory_format=torch.channels_last)).float() * AB_SCALE
        truth = ab[..., ::STRIDE, ::STRIDE]
        squared = (prediction - truth).square().sum(1)  # (N, H/4, W/4)
        threshold = self.preset.gray_mask
        counted = squared if threshold is None else squared * colored(truth, threshold)[:, None, None]
        loss = reduce_pixels(counted, self.preset.reduction) / (2 * LOSS_UNIT**2)
        return loss, {"loss": loss.detach(), "rmse": squared.detach().mean().sqrt()}
