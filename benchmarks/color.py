"""Lab and soft encoding against scikit-image and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from skimage.color import rgb2lab
from skimage.data import astronaut
from sklearn.neighbors import NearestNeighbors

from benchmarks.case import Case
from colorbench.color import ab_bins, rgb_to_lab, soft_encode

SIDE = 256


def cases() -> Iterator[Case]:
    """Yield the comparisons of color conversions."""
    image = astronaut()[100 : 100 + SIDE, 100 : 100 + SIDE].copy()
    tensor = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    yield Case(
        "sRGB to Lab, 256 x 256",
        lambda: rgb_to_lab(tensor),
        "scikit-image, float64",
        lambda: rgb2lab(image.astype(np.float64) / 255),
        aim=3,
        limit="memory",
        work=3 * SIDE * SIDE * (1 + 4),  # uint8 in, float32 out
    )
    yield _encoding("a face and a flag", 0, 1)
    yield _encoding("a vivid orange suit", 200, 1)
    yield _encoding("a batch", 0, 32)


def _encoding(title: str, position: int, maps: int) -> Case:
    """Compare soft encoding of 64 x 64 maps, K = 10, with scikit-learn's nearest neighbors and a dense target."""
    image = astronaut()[position : position + SIDE, position : position + SIDE].copy()
    ab = rgb_to_lab(torch.from_numpy(image).permute(2, 0, 1))[1:, ::4, ::4].expand(maps, 2, 64, 64).contiguous()
    points = ab.permute(0, 2, 3, 1).reshape(-1, 2).numpy()
    tree = NearestNeighbors(n_neighbors=10, algorithm="ball_tree").fit(ab_bins().numpy())
    rows = np.arange(len(points))[:, None]

    def dense() -> np.ndarray:
        distance, index = tree.kneighbors(points)
        weights = np.exp(-(distance**2) / 50)
        target = np.zeros((len(points), 313))
        target[rows, index] = weights / weights.sum(1, keepdims=True)
        return target

    # ab in, ten indices and weights of four bytes out
    work = len(points) * 4 * (2 + 2 * 10)
    return Case(
        f"soft encoding, {maps} x 64 x 64, {title}",
        lambda: soft_encode(ab),
        "scikit-learn, dense target",
        dense,
        aim=50,
        limit="memory",
        work=work,
    )
