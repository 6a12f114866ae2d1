"""Training task of the classification network: the loss as a module, which can be wrapped for several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from colorbench.color import Prior, rebalancing_weights, soft_encode
from colorbench.training import TrainingPreset, colored, kmeans_initialize, rebalanced_cross_entropy
from zoo.cic.network import STRIDE, Network, scale_lightness


class ClassificationTraining(nn.Module):
    """Network, rebalancing weights and loss; ``forward`` is the loss."""

    network_class: ClassVar[Callable[[float], Any]] = Network
    """From width to a network: lightness to logits of 313 bins at every fourth pixel."""
    weights: Tensor

    def __init__(self, preset: TrainingPreset, prior: Prior) -> None:
        super().__init__()
        self.preset = preset
        self.network = type(self).network_class(preset.width)
        weights = rebalancing_weights(prior.probabilities, preset.lam)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)
        # The best prediction without the image is the rebalanced prior, from which training may start.
        start = prior.probabilities * weights
        self.start = np.log(np.maximum(start / start.sum(), 1e-9))

    def initialize(self, lightness: Tensor, seed: int) -> None:
        """Initialize by k-means on (N, 1, H, W) images; the head, too, or it starts at the prior."""
        kmeans = self.preset.start == "kmeans"
        maps = kmeans_initialize(self.network.trunk, scale_lightness(lightness), seed) if kmeans else None
        if maps is not None and self.preset.head == "kmeans":
            kmeans_initialize(nn.Sequential(nn.Sequential(self.network.head)), maps, seed)
        elif self.preset.head == "prior":
            self.start_at_prior(self.network.head)

    def start_at_prior(self, head: nn.Conv2d) -> None:
        """Initialize the last convolution so that training starts at the best prediction without the image."""
        nn.init.normal_(head.weight, 0, 0.01)
        assert head.bias is not None
        head.bias.data = torch.from_numpy(self.start).float()

    def forward(self, lightness: Tensor, ab: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of (N, 1, H, W) L and (N, 2, H, W) ab, and the metrics to log.

        Targets are ab at every fourth pixel, subsampled and not averaged, as in the released code.
        """
        logits = self.network(lightness.contiguous(memory_format=torch.channels_last))
        truth = ab[..., ::STRIDE, ::STRIDE].contiguous()
        threshold = self.preset.gray_mask
        result = rebalanced_cross_entropy(
            logits,
            soft_encode(truth, self.preset.neighbors),
            self.weights,
            reduction=self.preset.reduction,
            mask=None if threshold is None else colored(truth, threshold),
        )
        return result.loss, {"loss": result.loss.detach(), "kl": result.kl}
