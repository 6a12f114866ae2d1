"""Draw colorizations from a distribution over the bins that is predicted pixel by pixel.

The network predicts the colors of each pixel by itself, and says nothing of how pixels depend on one another. Drawn
independently, neighbors would have unrelated colors: noise. Here all pixels of an image share one draw. By the
Gumbel-max rule, the bin with the largest log p + g is drawn with probability p where g is (313,) independent standard
Gumbel noise. With the same g at every pixel, each pixel still has exactly its own distribution, and pixels with similar
distributions get the same bin: another seed gives another plausible color of the whole object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from colorbench.color import Decoding, ab_bins


def sampled_logits(
    predict: Callable[[Tensor], Tensor], lightness: Tensor, method: Decoding, temperature: float
) -> Tensor:
    """Compute the logits that are sampled with a decoding: (N, 1, H, W) -> (N, 313, h, w).

    With ``annealed-mean`` they are log z / T, with ``mean`` those of the predicted distribution (T = 1). One image at a
    time: the last digit decides between two bins, and it depends on the size of a batch.
    """
    logits = torch.cat([predict(one[None]) for one in lightness])
    return logits / (temperature if method == "annealed-mean" else 1.0)


def drawn_colors(log_probabilities: Tensor, seeds: Sequence[int], *, coherent: bool = True) -> Tensor:
    """Draw a color bin for every pixel by sampling.

    Args:
        log_probabilities: (N, 313, H, W); logits do as well.
        seeds: one an image.
        coherent: whether all pixels of an image share their noise; else each pixel has noise of its own.

    Returns:
        (N, 2, H, W) ab, centers of bins.
    """
    noise = torch.stack([_gumbel(log_probabilities, seed, coherent=coherent) for seed in seeds])
    chosen = (log_probabilities.float() + noise.to(log_probabilities.device)).argmax(dim=1)  # (N, H, W)
    return ab_bins().to(log_probabilities.device)[chosen].movedim(-1, 1)


def _gumbel(log_probabilities: Tensor, seed: int, *, coherent: bool) -> Tensor:
    """Return (313, 1, 1) or (313, H, W) standard Gumbel noise, the same on every device."""
    bins, height, width = log_probabilities.shape[1:]
    shape = (bins, 1, 1) if coherent else (bins, height, width)
    exponential = torch.empty(shape).exponential_(generator=torch.Generator().manual_seed(seed))
    return -exponential.clamp(min=torch.finfo(torch.float32).tiny).log()
