"""The mean over the pixels of each image, the same to the last bit whatever else is in the batch.

A floating sum depends on the order of adding, and that order depends on the shape of the whole batch and on the device.
So each value is first rounded to a whole number of units of 2^-20: sums of whole numbers below 2^53 are exact, and
exact sums know no order. The rounding moves a mean by at most 5e-7, far less than float32 Lab does.
"""

from __future__ import annotations

import torch
from torch import Tensor

_UNITS = 2.0**20


def image_mean(values: Tensor) -> Tensor:
    """Compute the mean of all values of each image.

    Args:
        values: (N, ...) floating, at most 256 in size (exact up to 33 megapixels an image; beyond, merely accurate).

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
    if flat.dtype != torch.float64:
        flat = flat.float()
    return (flat * _UNITS).round_().sum(dim=1, dtype=torch.float64) / (_UNITS * flat.shape[1])
