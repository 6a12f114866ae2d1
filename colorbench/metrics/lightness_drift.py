"""Lightness drift: the difference between the lightness of the rendered prediction and that of the input.

A colorizer keeps L and adds ab. Many pairs of a light or dark L and a strong ab lie outside sRGB, and clipping to the
gamut changes the lightness, so L is not preserved in the rendered image.
"""

from __future__ import annotations

from torch import Tensor

from colorbench.metrics.pixel_mean import image_mean


def lightness_drift(rendered: Tensor, given: Tensor) -> Tensor:
    """Compute the mean absolute difference of lightness of each image, in units of L (0..100).

    Rounding to 8 bits changes L a little in almost every pixel, so only the ground truth itself has 0.

    Args:
        rendered: (N, 1, H, W) CIE L of the rendered image.
        given: (N, 1, H, W) CIE L that the model was given.

    Returns:
        (N,) float64, 0..100.

    Raises:
        ValueError: for unequal shapes.
    """
    return image_mean(_drift(rendered, given))


def lightness_drift_share(rendered: Tensor, given: Tensor, above: float = 1.0) -> Tensor:
    """Compute the share of each image's pixels whose lightness moved by more than ``above``, in percent.

    Arguments and errors as ``lightness_drift``; (N,) float64, 0..100, NaN where a pixel is NaN.
    """
    drift = _drift(rendered, given)
    # A plain comparison would count NaN as unchanged lightness.
    return 100 * image_mean((drift > above) + 0 * drift)


def _drift(rendered: Tensor, given: Tensor) -> Tensor:
    if rendered.shape != given.shape:
        raise ValueError(f"lightness of different shapes: {tuple(rendered.shape)} and {tuple(given.shape)}")
    return (rendered - given).abs_()
