"""Mean chroma of an image: the distance of its colors from gray in Lab."""

from __future__ import annotations

from torch import Tensor

from colorbench.metrics.pixel_mean import image_mean


def mean_chroma(ab: Tensor) -> Tensor:
    """Compute the mean of sqrt(a^2 + b^2) over the pixels of each image.

    It is the mean distance from the gray version: the raw AuC of a gray prediction is 100 - chroma / 1.5 percent.

    Args:
        ab: (N, 2, H, W) floating.

    Returns:
        (N,) float64; up to 0.006 for a gray image, since matrix and white point are rounded.

    Raises:
        ValueError: if the second dimension is not 2.
    """
    if ab.dim() != 4 or ab.shape[1] != 2:
        raise ValueError(f"expected (N, 2, H, W), got {tuple(ab.shape)}")
    a, b = ab.unbind(1)
    return image_mean((a * a + b * b).sqrt_())
