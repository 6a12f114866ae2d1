"""Fréchet distance (as in FID) between two sets of features, each modeled as a normal distribution.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

Source: Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs trained by a two time-scale update rule", NIPS 2017
(FID, with Inception features). Its bias grows as the number of images falls, so values for different n are not
comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK = 1024


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set of features."""

    n: int
    mean: np.ndarray
    """(d,) float64."""
    covariance: np.ndarray
    """(d, d) float64, sample covariance (n - 1)."""


def moments(features: np.ndarray) -> Moments:
    """Return the moments for the Fréchet distance: mean and covariance of (n, d) features, read in blocks.

    Raises:
        ValueError: for fewer than 2 rows.
    """
    n, d = features.shape
    if n < 2:
        raise ValueError(f"a covariance needs at least 2 images, got {n}")
    blocks = [slice(start, min(n, start + _BLOCK)) for start in range(0, n, _BLOCK)]
    mean = np.zeros(d)
    for rows in blocks:
        mean += np.asarray(features[rows], dtype=np.float64).sum(axis=0)
    mean /= n
    products = np.zeros((d, d))
    for rows in blocks:
        centered = np.asarray(features[rows], dtype=np.float64) - mean
        products += centered.T @ centered
    return Moments(n, mean, products / (n - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the Fréchet distance, 0 or more.

    Raises:
        ValueError: for features of different lengths.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of different dimensions, {len(a.mean)} and {len(b.mean)}")
    # The trace of (C1 C2)^(1/2) is that of the symmetric (C1^(1/2) C2 C1^(1/2))^(1/2).
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    joint = np.linalg.eigvalsh(root @ b.covariance @ root)
    shift = a.mean - b.mean
    distance = shift @ shift + np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(np.maximum(joint, 0)).sum()
    return float(max(0.0, distance))
