"""Area under the cumulative curve of color error (AuC; paper, section 3.1), raw and rebalanced.

``F(t)`` is the share of pixels whose predicted ab lies within a Euclidean distance ``d <= t`` of the ground truth. The
score is the area under ``F`` for t in 0..150, in percent of the largest possible area; the ground truth scores 100. The
paper states neither step nor integration rule. The conventions in use differ by up to 0.6 points, so each has a name:

- ``trapezoid``: thresholds 0, 1 ... 150 and the trapezoid rule. The default.
- ``exact``: the integral itself, 1 - mean(min(d, 150)) / 150.

No loop over thresholds is needed: with steps of 1, only ``ceil(d)`` of a pixel matters. All summands are integers
(distances in units of 2^-20), so that sums are exact up to 57 megapixels and independent of pixel order, batch and
device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from colorbench.color import ab_bins
from colorbench.color.compiled.jit import compilable, pixels_of

LAST_THRESHOLD = 150
"""The last threshold, in ab units (paper: 0 to 150)."""
CEILINGS = LAST_THRESHOLD + 2
"""Number of values of ceil(d): 0 ... 150, and one for all larger distances."""
_UNIT = 2.0**-20

Convention = Literal["trapezoid", "exact"]


def auc(predicted_ab: Tensor, true_ab: Tensor, convention: Convention = "trapezoid") -> Tensor:
    """Compute the raw AuC of each image, in percent: 0..100, higher is better.

    Args:
        predicted_ab: (N, 2, H, W) floating; float16 and bfloat16 are compared as float32.
        true_ab: (N, 2, H, W).
        convention: see the head of this file.

    Returns:
        (N,) float64.

    Raises:
        ValueError: for unequal shapes, NaN, or an unknown convention.

    Example:
        >>> truth = torch.zeros(1, 2, 1, 2)
        >>> predicted = torch.tensor([3.0, 0.0, 4.0, 0.0]).view(1, 2, 1, 2)  # distances 5 and 0
        >>> auc(predicted, truth, "exact")
        tensor([98.3333], dtype=torch.float64)
    """
    if convention not in get_args(Convention):
        raise ValueError(f"unknown convention {convention!r}: choose from {', '.join(get_args(Convention))}")
    distance = ab_distance(predicted_ab, true_ab).flatten(1)  # (N, H*W)
    # The score of a pixel in integer units, and the number of units of a full score.
    if convention == "trapezoid":  # every threshold counts twice, except the first and the last
        score, full = (
            distance.ceil().mul_(-2).add_(2 * LAST_THRESHOLD + 1).clamp_(0, 2 * LAST_THRESHOLD),
            2 * LAST_THRESHOLD,
        )
    else:
        score, full = _in_units(distance).neg_().add_(LAST_THRESHOLD / _UNIT), round(LAST_THRESHOLD / _UNIT)
    # Integers below 2^53: the sum is exact in any order.
    return 100 * score.sum(dim=1, dtype=torch.float64) / (full * distance.shape[1])


def ab_distance(predicted_ab: Tensor, true_ab: Tensor) -> Tensor:
    """Compute the Euclidean distance in ab of every pixel, which the AuC thresholds.

    Computed in float32 with correctly rounded steps, so that integer distances are exact on every device (differences
    of 3 and 4 give 5) and ``d <= t`` holds for them.

    Args:
        predicted_ab: (N, 2, H, W) floating.
        true_ab: (N, 2, H, W).

    Returns:
        (N, H, W) float32, or float64 where either is.

    Raises:
        ValueError: for unequal shapes or a NaN in either.
    """
    if predicted_ab.shape != true_ab.shape or predicted_ab.dim() != 4 or predicted_ab.shape[1] != 2:
        raise ValueError(f"expected two (N, 2, H, W), got {tuple(predicted_ab.shape)} and {tuple(true_ab.shape)}")
    dtype = torch.promote_types(torch.promote_types(predicted_ab.dtype, true_ab.dtype), torch.float32)
    difference = predicted_ab.to(dtype) - true_ab.to(dtype)
    # Separate multiplications and additions: a fused operation would be rounded differently on some devices.
    squared = difference.mul_(difference)
    distance = _root(squared[:, 0] + squared[:, 1])
    # Distances cannot cancel: the sum is NaN exactly if one of them is.
    if bool(distance.sum().isnan()):
        raise ValueError("ab contains NaN")
    return distance


@dataclass(frozen=True)
class AucStatistics:
    """Sufficient statistics of N images for every convention, every weighting of the bins, and the curve."""

    joint: np.ndarray
    """(N, 313, 152) integers: pixels by bin of the ground truth and ceil(d); the last column counts those beyond
    150."""
    distances: np.ndarray
    """(N, 313) float64: sums of min(d, 150) by bin of the ground truth, multiples of 2^-20."""

    @property
    def counts(self) -> np.ndarray:
        """Pixels by bin of the ground truth, (N, 313) int64."""
        return self._sums[0]

    @property
    def histogram(self) -> np.ndarray:
        """Pixels by ceil(d), (N, 152) int64."""
        return self._sums[1]

    @cached_property
    def pixels(self) -> np.ndarray:
        """Pixels per image, (N,) int64."""
        return np.asarray(self.histogram.sum(axis=1))

    @property
    def doubled_scores(self) -> np.ndarray:
        """Twice the area under the pixels' steps by the trapezoid rule, by bin, (N, 313) int64: 0..300 per pixel."""
        return self._sums[2]

    @cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from colorbench.metrics._auc_compiled import add_up

        images, bins, columns = self.joint.shape
        counts, scores = np.empty((images, bins), np.int64), np.empty((images, bins), np.int64)
        histogram = np.zeros((images, columns), np.int64)
        add_up(self.joint, _doubled_trapezoid(), counts, histogram, scores)
        return counts, histogram, scores


def auc_statistics(predicted_ab: Tensor, true_ab: Tensor, true_bins: Tensor) -> AucStatistics:
    """Compute the sufficient statistics of the AuC of each image.

    Args:
        predicted_ab: (N, 2, H, W) floating, any device.
        true_ab: (N, 2, H, W).
        true_bins: (N, H, W) int64, ``nearest_bin(true_ab)``.

    Raises:
        ValueError: for unequal shapes, NaN, or a bin outside 0..312.
    """
    shape = (len(true_ab), *true_ab.shape[-2:])
    if tuple(true_bins.shape) != shape or true_bins.dtype != torch.int64:
        raise ValueError(f"expected {shape} int64 bins, got {tuple(true_bins.shape)} {true_bins.dtype}")
    alike = predicted_ab.shape == true_ab.shape == (shape[0], 2, *shape[1:])
    if alike and compilable(predicted_ab) and compilable(true_ab):
        counted = _counted(predicted_ab, true_ab, true_bins)
        if counted is not None:
            return counted
    # For other devices and types, and for invalid input, for which this raises the error.
    distance = ab_distance(predicted_ab, true_ab)  # (N, H, W)
    bins, ceiling = true_bins.flatten(1), distance.ceil().clamp_(max=LAST_THRESHOLD + 1).flatten(1)
    cell = ceiling.long().add_(bins, alpha=CEILINGS)
    units = _in_units(distance.flatten(1))
    size = len(ab_bins())
    joint = [_count(image, size * CEILINGS).reshape(size, CEILINGS) for image in cell]
    distances = [_add_up(bins[i], units[i], size) * _UNIT for i in range(len(units))]
    return AucStatistics(np.stack(joint), np.stack(distances))


def _counted(predicted_ab: Tensor, true_ab: Tensor, true_bins: Tensor) -> AucStatistics | None:
    """Compute the statistics by the compiled loop; None where the input is invalid."""
    from colorbench.metrics._auc_compiled import SUMS, count

    images, size = len(true_ab), len(ab_bins())
    joint = np.zeros((images, size, CEILINGS), np.int32)
    sums = np.zeros((images, size, SUMS), np.int64)
    bins = pixels_of(true_bins[:, None])[:, 0]
    fine = count(pixels_of(predicted_ab), pixels_of(true_ab), bins, LAST_THRESHOLD, _UNIT, joint, sums)
    return AucStatistics(joint, sums.sum(axis=2) * _UNIT) if fine else None


def pooled_statistics(
    scores: np.ndarray, counts: np.ndarray, full: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Compute statistics whose sums over images give the (rebalanced) AuC in percent, as S0 / S1.

    Each pixel counts 1/pixels of its image, so that large images count no more than small ones. Without weights, S1 is
    the number of images and the result the mean of the images' scores.

    Args:
        scores: (N, 313) score sums by bin.
        counts: (N, 313) pixels by bin.
        full: the score of a pixel without error: 300 for ``AucStatistics.doubled_scores``.
        weights: (313,) weights of the bins; default: all 1.

    Returns:
        (N, 2) float64.
    """
    w = np.ones(counts.shape[1]) if weights is None else weights
    pixels = counts.sum(axis=1, dtype=np.int64)
    return np.stack([100 * (scores @ w) / (full * pixels), (counts @ w) / pixels], axis=1)


def weighted_histogram(statistics: AucStatistics, weights: np.ndarray) -> np.ndarray:
    """Compute each image's histogram for the AuC: shares of pixels by ceil(d), (N, 152), weighted by true color.

    Summed over images and accumulated over its columns, this is the numerator of the rebalanced curve F(0) ... F(150).

    Raises:
        ValueError: for weights of another shape than (313,).
    """
    from colorbench.metrics._auc_compiled import weigh

    if weights.shape != statistics.joint.shape[1:2]:
        raise ValueError(f"expected {statistics.joint.shape[1]} weights, one per bin, got {weights.shape}")
    out = np.zeros_like(statistics.histogram, np.float64)
    weigh(statistics.joint, statistics.counts, weights, out)
    return np.asarray(out / statistics.pixels[:, None])


def _root(x: Tensor) -> Tensor:
    # On CPUs, the last bit of torch's square root is wrong for one value in seven; numpy's is correctly rounded.
    return torch.from_numpy(np.sqrt(x.detach().numpy())) if x.device.type == "cpu" else x.sqrt()


def _doubled_trapezoid() -> np.ndarray:
    """Return twice the area under a step from 0 to 1 at ceil(d), (152,), by the trapezoid rule."""
    return np.asarray(np.clip(2 * LAST_THRESHOLD + 1 - 2 * np.arange(CEILINGS), 0, 2 * LAST_THRESHOLD))


def _in_units(distance: Tensor) -> Tensor:
    """Return min(d, 150) in integer multiples of 2^-20, as float64."""
    return distance.clamp(max=LAST_THRESHOLD).mul_(1 / _UNIT).round_().double()


def _count(index: Tensor, size: int) -> np.ndarray:
    """Count how often each index occurs: (P,) int64 -> (size,)."""
    if index.device.type == "cpu":
        count = np.bincount(index.numpy(), minlength=size)
    else:
        count = torch.bincount(index, minlength=size).cpu().numpy()
    if len(count) != size:
        raise ValueError("a ground-truth bin is out of range")
    return np.asarray(count)


def _add_up(index: Tensor, values: Tensor, size: int) -> np.ndarray:
    """Sum integer ``values`` (P,) float64 by index, (size,) float64."""
    if index.device.type == "cpu":
        return np.asarray(np.bincount(index.numpy(), weights=values.numpy(), minlength=size))
    # Integer sums are the same in any order; index_add_ has a deterministic version, bincount has not.
    total = torch.zeros(size, dtype=torch.int64, device=index.device)
    return np.asarray(total.index_add_(0, index, values.long()).cpu(), dtype=np.float64)
