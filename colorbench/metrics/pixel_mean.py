"""The mean over the pixels of each image."""

from __future__ import annotations

import torch
from torch import Tensor


def image_mean(values: Tensor) -> Tensor:
    """Compute the mean of all pixel values of each image.

    Args:
        values: (N, ...) floating; they are added in float64.

    Returns:
        (N,) float64. An image that holds NaN has the mean NaN.

    Raises:
        ValueError: if there is nothing to average.

    Example:
        >>> image_mean(torch.tensor([[1.0, 2.0], [0.0, 0.5]]))
        tensor([1.5000, 0.2500], dtype=torch.float64)
    """
    flat = values.flatten(1)
    if flat.shape[1] == 0:
        raise ValueError(f"no pixels to average in {tuple(values.shape)}")
    return flat.mean(dim=1, dtype=torch.float64)
