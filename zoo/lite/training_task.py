"""Training the decoder: the loss of ``zoo/cic`` on what the frozen encoder gives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from colorbench.color import Prior, rebalancing_weights, soft_encode
from colorbench.training import TrainingPreset, colored, rebalanced_cross_entropy
from zoo.lite.network import STRIDE, Network


class DecoderTraining(nn.Module):
    """Network, rebalancing weights and loss; ``forward`` is the loss."""

    weights: Tensor

    def __init__(self, preset: TrainingPreset, prior: Prior) -> None:
        super().__init__()
        self.preset = preset
        self.network = Network(preset.width)
        weights = rebalancing_weights(prior.probabilities, preset.lam)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)
        start = prior.probabilities * weights
        self.start = np.log(np.maximum(start / start.sum(), 1e-9))

    def initialize(self, lightness: Tensor, seed: int) -> None:
        """Start at the best prediction without the image; other layers stay as torch draws them."""
        head = self.network.decoder.head
        nn.init.normal_(head.weight, 0, 0.01)
        assert head.bias is not None
        head.bias.data = torch.from_numpy(self.start).float()

    def forward(self, lightness: Tensor, ab: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of (N, 1, H, W) L and (N, 2, H, W) ab, and the metrics to log."""
        logits = self.network(lightness)
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
