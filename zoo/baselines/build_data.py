"""Generation of the baselines' data from the training images.

    python -m zoo.baselines.build_data --data DIR --data DIR ...

Writes ``mean_color.json``, ``constant.json``, ``random_ab.npz`` and ``training_hashes.npy`` (content hashes for the
overlap check) into ``zoo/baselines/data``. No image can be recognized in them: they contain only the ab of 16 x 16
blocks of 512 images, without lightness.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from colorbench.color import lab_to_rgb8, load_prior, nearest_bin, rebalancing_weights, rgb_to_lab
from colorbench.data import get_preprocessing, load_batches, open_dataset
from zoo.baselines.colorizers import DATA

LAMBDA = 0.1  # of auc_rebalanced_stable
SIDE = 128  # the training images' own size
THUMBNAILS, THUMBNAIL_SIDE = 512, 16
LEVELS, LEVEL = 51, 2  # cells of lightness: 0, 2 ... 100
REACH = 112  # cells of a and b: -112 ... 112, beyond the gamut's -108 ... 99
SPAN = 2 * REACH + 1


@dataclass
class Statistics:
    """Sums over the training images for the baselines."""

    weights: Tensor
    """(313,) rebalancing weights of the bins."""
    cells: np.ndarray
    """(LEVELS * SPAN * SPAN,) summed weight of the pixels in each cell of (L, a, b); 1 ab unit wide."""
    ab_sum: np.ndarray
    """(2,)."""
    pixels: int = 0
    images: int = 0

    @classmethod
    def empty(cls, weights: np.ndarray) -> Statistics:
        """Return statistics with nothing counted yet."""
        return cls(torch.from_numpy(weights), np.zeros(LEVELS * SPAN * SPAN), np.zeros(2))

    def add(self, lab: Tensor) -> None:
        """Count (N, 3, H, W) Lab of images of one size."""
        level = (lab[:, 0] / LEVEL).round().long().clamp(0, LEVELS - 1)
        a, b = (lab[:, channel].round().long().clamp(-REACH, REACH) + REACH for channel in (1, 2))
        # Each pixel has its own weight; only its distance is rounded to the cell.
        weight = self.weights[nearest_bin(lab[:, 1:].contiguous())]
        index = ((level * SPAN + a) * SPAN + b).flatten().numpy()
        self.cells += np.bincount(index, weight.flatten().numpy(), minlength=len(self.cells))
        self.ab_sum += lab[:, 1:].double().sum(dim=(0, 2, 3)).numpy()
        self.pixels += weight.numel()
        self.images += len(lab)

    @property
    def mean_ab(self) -> tuple[float, float]:
        """Return the mean ab over all pixels."""
        a, b = self.ab_sum / self.pixels
        return float(a), float(b)


def score(statistics: Statistics, candidates: Iterable[tuple[float, float]]) -> dict[tuple[float, float], float]:
    """Compute the rebalanced AuC in percent of each constant baseline, clipped where the lightness requires it."""
    occupied = np.flatnonzero(statistics.cells)
    weight = statistics.cells[occupied]
    level, rest = np.divmod(occupied, SPAN * SPAN)
    a, b = (part - REACH for part in np.divmod(rest, SPAN))
    scores = {}
    for candidate in candidates:
        shown = _rendered(candidate)[level]  # (cells, 2)
        # On average over the position in a cell, the trapezoid's ceil(d) - 1/2 is d.
        distance = np.minimum(np.hypot(a - shown[:, 0], b - shown[:, 1]), 150)
        scores[candidate] = 100 * float(1 - (weight * distance).sum() / (150 * weight.sum()))
    return scores


def _rendered(ab: tuple[float, float]) -> np.ndarray:
    """Return the ab of a constant after rendering to 8 bits, by lightness, (LEVELS, 2)."""
    lightness = torch.arange(LEVELS, dtype=torch.float32) * LEVEL
    lab = torch.stack([lightness, torch.full((LEVELS,), ab[0]), torch.full((LEVELS,), ab[1])])
    lab = lab[:, None]  # (3, 1, LEVELS)
    return rgb_to_lab(lab_to_rgb8(lab))[1:, 0].T.double().numpy()


def best_constant(statistics: Statistics) -> tuple[tuple[float, float], float]:
    """Find the constant baseline with the highest score, to half a unit, and its score.

    The search goes from coarse to fine: the score is a sum of cones, changed by clipping only at the edge of the gamut.
    """
    best, width = (0.0, 0.0), 100.0
    for step in (5.0, 1.0, 0.5):
        offsets = np.arange(-width, width + step / 2, step)
        scores = score(statistics, [(best[0] + da, best[1] + db) for da in offsets for db in offsets])
        best = max(scores, key=lambda ab: scores[ab])
        width = step
    return best, scores[best]


def _images(folders: Iterable[Path]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Yield (content hashes, (N, 3, 128, 128) Lab) batch by batch."""
    for folder in folders:
        for batch in load_batches(open_dataset(folder).samples, get_preprocessing(f"squash{SIDE}"), batch_size=64):
            if batch.ids:
                yield batch.sha256s, rgb_to_lab(batch.rgb8)


def main() -> None:
    """Count the training images and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="folder of images; repeatable")
    parser.add_argument("--output", type=Path, default=DATA)
    arguments = parser.parse_args()
    prior = load_prior()
    statistics = Statistics.empty(rebalancing_weights(prior.probabilities, LAMBDA))
    thumbnails: dict[str, np.ndarray] = {}
    hashes: list[int] = []
    for sha256s, lab in _images(arguments.data):
        statistics.add(lab)
        hashes += [int(sha256[:16], 16) for sha256 in sha256s]
        small = adaptive_avg_pool2d(lab[:, 1:], THUMBNAIL_SIDE).round().to(torch.int8).numpy()
        thumbnails |= dict(zip(sha256s, small, strict=True))
        # The images with the smallest content hashes: random, but independent of the order of the folders.
        thumbnails = dict(sorted(thumbnails.items())[:THUMBNAILS])
    _write(arguments.output, statistics, np.stack(list(thumbnails.values())), prior.name)
    np.save(arguments.output / "training_hashes.npy", np.sort(np.array(hashes, dtype=np.uint64)))


def _write(folder: Path, statistics: Statistics, thumbnails: np.ndarray, prior: str) -> None:
    """Write the three files of the baselines."""
    folder.mkdir(parents=True, exist_ok=True)
    count = statistics.images
    best, value = best_constant(statistics)
    mean = (round(statistics.mean_ab[0], 2), round(statistics.mean_ab[1], 2))
    scores = score(statistics, [mean, (0.0, 0.0)])
    name = "auc_rebalanced_stable, training images"
    of_gray = f"Gray: {scores[0.0, 0.0]:.2f}."
    _write_json(
        folder / "constant.json",
        {
            "ab": best,
            "images": count,
            "scores": {name: round(value, 2)},
            "notes": f"Maximizes auc_rebalanced_stable (prior {prior}, lambda {LAMBDA}) on the training images, "
            f"rendered in 8 bits, on a grid of 0.5. {of_gray}",
        },
    )
    _write_json(
        folder / "mean_color.json",
        {
            "ab": mean,
            "images": count,
            "scores": {name: round(scores[mean], 2)},
            "notes": f"Mean ab over all pixels. {of_gray}",
        },
    )
    np.savez_compressed(folder / "random_ab.npz", ab=thumbnails, images=count)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
