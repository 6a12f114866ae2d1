"""Slow reference implementations of metrics in float64, in plain numpy and for one image at a time.

Images are (3, H, W); the fast functions take (N, 3, H, W). Each oracle follows the formula of its source and shares no
code with the function that it tests.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# The rounded matrix, white point and break points of scikit-image, which the paper's released code uses.
_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
_LAST = 150
"""Largest threshold of AuC, in units of ab."""


def lab(rgb8: ArrayLike) -> Array:
    """Convert an 8-bit sRGB image to CIE Lab (D65), (3, H, W) -> (3, H, W); IEC 61966-2-1 and CIE 15.

    Example:
        >>> lab(np.full((3, 1, 1), 255)).round(2).ravel().tolist()[0]
        100.0
    """
    encoded = np.asarray(rgb8, np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    ratio = np.einsum("ij,jhw->ihw", _TO_XYZ, linear) / _WHITE[:, None, None]
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def mean_squared_error(rgb8: ArrayLike, target: ArrayLike) -> float:
    """Compute the mean squared error of two 8-bit images, in squared steps of 0..255."""
    return float(np.mean((np.asarray(rgb8, np.float64) - np.asarray(target, np.float64)) ** 2))


def psnr(rgb8: ArrayLike, target: ArrayLike) -> float:
    """Compute the PSNR ``10 log10(255^2 / MSE)`` in dB; infinity for equal images."""
    error = mean_squared_error(rgb8, target)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ciede2000(rgb8: ArrayLike, target: ArrayLike) -> float:
    """Compute the mean CIEDE2000 of two 8-bit images; Sharma, Wu, Dalal 2005, equations 2 to 22."""
    pixels = (lab(image).reshape(3, -1).T.tolist() for image in (rgb8, target))
    return float(np.mean([_ciede2000_of_pair(*pair) for pair in zip(*pixels, strict=True)]))


def _ciede2000_of_pair(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Compute the CIEDE2000 of two Lab colors with kL = kC = kH = 1; Sharma, Wu, Dalal 2005.

    Example:
        >>> round(_ciede2000_of_pair((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485)), 4)  # the first published pair
        2.0425
    """
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(chroma**7 / (chroma**7 + 25**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 if a or b else 0.0 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if c1 * c2 == 0 else h2 - h1
    turn += 360 if turn < -180 else -360 if turn > 180 else 0
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    lightness, c = (l1 + l2) / 2, (c1 + c2) / 2
    if c1 * c2 == 0:
        h = h1 + h2
    elif abs(h1 - h2) <= 180:
        h = (h1 + h2) / 2
    else:
        h = (h1 + h2 + 360) / 2 if h1 + h2 < 360 else (h1 + h2 - 360) / 2
    t = 1 - 0.17 * _cos(h - 30) + 0.24 * _cos(2 * h) + 0.32 * _cos(3 * h + 6) - 0.20 * _cos(4 * h - 63)
    rotation = -math.sin(math.radians(60 * math.exp(-(((h - 275) / 25) ** 2)))) * 2 * math.sqrt(c**7 / (c**7 + 25**7))
    s_l = 1 + 0.015 * (lightness - 50) ** 2 / math.sqrt(20 + (lightness - 50) ** 2)
    d_l, d_c, d_h = d_l / s_l, d_c / (1 + 0.045 * c), d_h / (1 + 0.015 * c * t)
    return math.sqrt(max(0.0, d_l**2 + d_c**2 + d_h**2 + rotation * d_c * d_h))


def colorfulness(rgb8: ArrayLike, *, absolute: bool = False) -> float:
    """Compute the colorfulness of an 8-bit image, after Hasler and Suesstrunk 2003 or with ``absolute`` channels."""
    red, green, blue = np.asarray(rgb8, np.float64)
    rg, yb = red - green, (red + green) / 2 - blue
    if absolute:
        rg, yb = np.abs(rg), np.abs(yb)
    return float(math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean()))


def chroma(rgb8: ArrayLike) -> float:
    """Compute the mean chroma of an 8-bit image, ``sqrt(a^2 + b^2)`` averaged over the pixels."""
    _, a, b = lab(rgb8)
    return float(np.hypot(a, b).mean())


def lightness_drift(rgb8: ArrayLike, target: ArrayLike) -> float:
    """Compute the mean absolute difference of L (0..100) of two 8-bit images."""
    return float(np.abs(lab(rgb8)[0] - lab(target)[0]).mean())


def auc(rgb8: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Compute the AuC in percent by the trapezoid rule, thresholds 0, 1 ... 150; Zhang et al. 2016, section 3.1.

    Args:
        rgb8: (3, H, W) prediction.
        target: (3, H, W) ground truth.
        weights: (H, W) of the pixels, as ``bin_weights`` gives them; None: all equal.
    """
    distance = np.hypot(*(lab(rgb8) - lab(target))[1:])
    w = np.ones(distance.shape) if weights is None else np.asarray(weights, np.float64)
    # 1e-9 is far above float64's error and far below an 8-bit step.
    curve = [float((w * (distance <= threshold + 1e-9)).sum() / w.sum()) for threshold in range(_LAST + 1)]
    return 100 * float(np.trapezoid(curve)) / _LAST


def nearest_bins(rgb8: ArrayLike, bins: ArrayLike) -> NDArray[np.int64]:
    """Find the nearest of (B, 2) ab bins for every pixel, (3, H, W) -> (H, W), by comparison with all bins."""
    ab = lab(rgb8)[1:]
    distance = [np.hypot(ab[0] - a, ab[1] - b) for a, b in np.asarray(bins, np.float64)]
    return np.asarray(np.argmin(distance, axis=0), np.int64)


def bin_weights(probabilities: ArrayLike, lam: float) -> Array:
    """Compute the rebalancing weights of the bins, (B,) -> (B,); Zhang et al. 2016, equation 4, with E[w] = 1.

    Args:
        probabilities: color prior: share of each bin.
        lam: share of the uniform distribution over the bins that occur, 0..1. A bin that never occurs has the weight of
            the rarest bin that does.
    """
    p = np.asarray(probabilities, np.float64)
    mixed = np.where(p > 0, (1 - lam) * p + lam / np.count_nonzero(p), np.inf)
    mixed = np.where(p > 0, mixed, mixed.min())
    return np.asarray(1 / mixed / (p / mixed).sum())


def _cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))
