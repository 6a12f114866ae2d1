"""Speed of Lab and soft encoding against scikit-image and scikit-learn: ``uv run python -m benchmarks.color``."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2lab
from skimage.data import astronaut
from sklearn.neighbors import NearestNeighbors

from benchmarks.timing import compare, report
from colorbench.color import ab_bins, rgb_to_lab, soft_encode


def lab() -> None:
    """Compare sRGB to Lab of a 256 x 256 image, against scikit-image in float64."""
    image = astronaut()[100:356, 100:356].copy()
    tensor = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    ours, reference = compare(lambda: rgb_to_lab(tensor), lambda: rgb2lab(image.astype(np.float64) / 255))
    error = np.abs(rgb_to_lab(tensor).permute(1, 2, 0).numpy() - rgb2lab(image)).max()
    report(f"Lab of 256 x 256 (largest error {error:.1e})", ours, reference, "scikit-image float64", 3)


def encoding(position: int, title: str, maps: int = 1) -> None:
    """Compare soft encoding of 64 x 64 maps, K = 10, with scikit-learn's nearest neighbors and a dense target."""
    image = astronaut()[position : position + 256, position : position + 256].copy()
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

    rounds = 30 if maps == 1 else 4
    ours, reference = compare(lambda: soft_encode(ab), dense, rounds=rounds, repeats=10 if maps == 1 else 3)
    report(f"soft encoding of {maps} x 64 x 64, {title}", ours, reference, "scikit-learn, dense", 50)
    ours, reference = compare(lambda: soft_encode(ab), dense, rounds=rounds)
    print(
        f"  each call just after the other's: {ours * 1e3:.3f} and {reference * 1e3:.3f} ms, "
        f"{reference / ours:.1f} times"
    )


if __name__ == "__main__":
    print(f"{torch.get_num_threads()} threads")
    lab()
    encoding(0, "a face and a flag")
    encoding(200, "a vivid orange suit")
    encoding(0, "a batch", maps=32)
