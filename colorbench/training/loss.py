"""Class-rebalanced cross-entropy with sparse soft targets (paper, equation 2), without a dense target."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from colorbench.color import SoftCode

Reduction = Literal["mean", "sum"]


class RebalancedLoss(NamedTuple):
    """The loss that is minimized, and a loss for monitoring."""

    loss: Tensor
    """Scalar: w(nearest bin) times the cross-entropy, reduced over pixels."""
    kl: Tensor
    """Scalar, detached: mean unweighted KL(target || prediction) in nats per pixel, comparable between settings."""


def rebalanced_cross_entropy(
    logits: Tensor,
    target: SoftCode,
    weights: Tensor,
    *,
    reduction: Reduction = "mean",
    mask: Tensor | None = None,
) -> RebalancedLoss:
    """Compute the rebalanced cross-entropy of a batch.

    Args:
        logits: (N, 313, H, W); computed with in float32.
        target: soft encoding of the true ab at the positions of the logits, (N, H, W, K).
        weights: (313,) rebalancing weights, E_p[w] = 1; a pixel's weight is that of its nearest bin.
        reduction: see ``reduce_pixels``.
        mask: (N,) 0 or 1: whether an image contributes to the gradient. It counts in the divisor in both cases.
    """
    scores = logits.float().movedim(1, -1)  # (N, H, W, 313), a view; contiguous where logits are channels-last
    entropy: Tensor = _SparseCrossEntropy.apply(scores, target.indices, target.weights.float())
    nearest = target.indices.gather(-1, target.weights.argmax(-1, keepdim=True))[..., 0]
    weighed = entropy * weights[nearest]  # (N, H, W)
    if mask is not None:
        weighed = weighed * mask[:, None, None]
    floor = (target.weights * target.weights.clamp_min(1e-12).log()).sum(-1)
    return RebalancedLoss(reduce_pixels(weighed, reduction), (entropy.detach() + floor).mean())


def reduce_pixels(values: Tensor, reduction: Reduction) -> Tensor:
    """Reduce (N, H, W) losses of pixels to a scalar.

    ``mean`` over all pixels; or ``sum`` over the pixels of an image and the mean over images, as in the paper and in
    Caffe, which divides by the batch size only. Both are means over images, so results of equal parts of a batch can be
    averaged.
    """
    return values.mean() if reduction == "mean" else values.sum() / len(values)


def colored(ab: Tensor, threshold: float) -> Tensor:
    """Return 1 for images in the loss with any |a| or |b| above ``threshold``, otherwise 0: (N, 2, H, W) -> (N,).

    NonGrayMask of the released code.
    """
    return (ab.abs().flatten(1).amax(dim=1) > threshold).to(ab.dtype)


class _SparseCrossEntropy(torch.autograd.Function):
    """-sum z log softmax(scores) over the last dimension: (..., 313) scores, (..., K) indices and weights -> (...).

    The target sums to 1, so only K of 313 scores are read. The gradient, softmax - target, is computed in one buffer;
    torch's own implementation needs three, and more than three times as long.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, scores: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        top = scores.amax(-1, keepdim=True)
        exponentials = (scores - top).exp_()
        total = exponentials.sum(-1, keepdim=True)
        ctx.save_for_backward(exponentials, total, indices, weights)
        return (total.log() + top)[..., 0] - (weights * scores.gather(-1, indices)).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        exponentials, total, indices, weights = ctx.saved_tensors
        gradient = gradient[..., None]
        out = exponentials * (gradient / total)
        return out.scatter_add_(-1, indices, weights * -gradient), None, None
