"""Multinomial cross-entropy against sparse soft targets (paper, equation 2): no (N, 313, H, W) target is made."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from colorbench.color.bins import SoftCode


class RebalancedLoss(NamedTuple):
    """The loss that is minimized and the one to watch."""

    loss: Tensor
    """Scalar: mean over pixels of w(nearest bin) times the cross-entropy."""
    kl: Tensor
    """Scalar, detached: mean unweighted KL(target || prediction) in nats a pixel, comparable between settings."""


def rebalanced_cross_entropy(logits: Tensor, target: SoftCode, weights: Tensor) -> RebalancedLoss:
    """Rebalanced cross-entropy of a batch.

    Args:
        logits: (N, 313, H, W).
        target: soft encoding of the true ab at the logits' places, (N, H, W, K).
        weights: (313,) rebalancing weights, E_p[w] = 1; a pixel's weight is that of its nearest bin.
    """
    scores = logits.movedim(1, -1)  # (N, H, W, 313), a view; contiguous where logits are channels-last
    chosen = scores.gather(-1, target.indices)  # (N, H, W, K)
    # The target sums to 1, so -sum z log p = logsumexp - sum z logit: only K of 313 logits are read.
    entropy = scores.logsumexp(-1) - (target.weights * chosen).sum(-1)  # (N, H, W)
    nearest = target.indices.gather(-1, target.weights.argmax(-1, keepdim=True))[..., 0]
    loss = (entropy * weights[nearest]).mean()
    floor = (target.weights * target.weights.clamp_min(1e-12).log()).sum(-1)
    return RebalancedLoss(loss, (entropy.detach() + floor).mean())
