"""Coverage of the interval of |a| - |b|: ``python -m benchmarks.absolute_coverage [FOLDER]``.

For each line, samples of n images are drawn; their two signed differences have the stated means (in standard errors of
the mean; 8 is far from 0). The aim is a coverage of 93-97 % for nominal 95 %. Also printed are the coverage of the
percentile bootstrap of version 0.1.0, and how often interval and sign-flip test disagree on "no difference" (p at
0.05). With a FOLDER of images the samples are drawn from their colorfulness: ground truth against less chroma and
against another image's ab.
"""

from __future__ import annotations

import math
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from colorbench.stats import metric_value, paired_interval, sign_flip_p, weight_blocks

SAMPLES = 800
RESAMPLES = 400
AIM = (0.93, 0.97)
MEANS = [(8, 6), (8, 0), (8, 0.5), (8, 1), (8, 2), (0, 8), (0, 0), (0.5, 0), (1, 0), (2, 0), (1, 1), (2, 2)]
MEANS += [(6, -6), (8, -6)]
FEW = [(8, 0), (0, 0), (1, 1)]


def shifted(rows: np.ndarray, means: tuple[float, float], n: int) -> tuple[np.ndarray, float]:
    """Draw a population (N, 2) of signed differences with means of so many standard errors of n images.

    Returns:
        The population, and its |a| - |b|.
    """
    wanted = np.array(means) * rows.std(axis=0) / math.sqrt(n)
    return rows - rows.mean(axis=0) + wanted, float(abs(wanted[0]) - abs(wanted[1]))


def made(correlation: float, spread: float, skewed: bool, size: int = 20_000, seed: int = 0) -> np.ndarray:
    """Draw a population of correlated differences, the second's spread times the first's."""
    rng = np.random.default_rng(seed)
    common, a, b = rng.standard_normal((3, size)) if not skewed else rng.exponential(1.0, (3, size)) - 1
    share = math.sqrt(correlation)
    rest = math.sqrt(1 - correlation)
    return np.stack([share * common + rest * a, spread * (share * common + rest * b)], axis=1)


def statistics(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert differences (n, 2) to the statistics of two models, for a ground truth with score 0."""
    zero, one = np.zeros(len(drawn)), np.ones(len(drawn))
    return np.stack([drawn[:, 0], zero, one], axis=1), np.stack([drawn[:, 1], zero, one], axis=1)


def coverage(
    rows: np.ndarray, means: tuple[float, float], n: int, samples: int = SAMPLES, seed: int = 0, beside: bool = True
) -> dict[str, float]:
    """Return the share of samples whose interval contains the population's |a| - |b|."""
    population, truth = shifted(rows, means, n)
    rng = np.random.default_rng(seed)
    covered, percentile, disagree = 0, 0, 0
    for _ in range(samples):
        a, b = statistics(population[rng.integers(0, len(population), n)])
        # One seed: the weights of the resamples are drawn once.
        found = paired_interval(a, b, "abs_difference", resamples=RESAMPLES).interval
        assert found is not None
        covered += found.low <= truth <= found.high
        if beside:
            drawn = np.concatenate(
                [
                    metric_value("abs_difference", w @ a) - metric_value("abs_difference", w @ b)
                    for w in weight_blocks(n, RESAMPLES, 0)
                ]
            )
            low, high = np.quantile(drawn, [0.025, 0.975])
            percentile += low <= truth <= high
            p = sign_flip_p(a, b, "abs_difference", flips=399)
            disagree += (p <= 0.05) == (found.low <= 0 <= found.high)
    return {"covers": covered / samples, "percentile": percentile / samples, "disagree": disagree / samples}


def of_images(folder: Path, count: int = 650) -> np.ndarray:
    """Return (N, 2) differences in colorfulness from the ground truth: for less chroma, and for another image's ab."""
    import torch
    from PIL import Image

    from colorbench.color import lab_to_rgb8, rgb_to_lab
    from colorbench.metrics import cf_hs

    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]
    found, before = [], None
    for path in files:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((64, 64)))
        lab = rgb_to_lab(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
        other = lab if before is None else torch.cat([lab[:, :1], before], dim=1)
        paler = lab * torch.tensor([1.0, 0.6, 0.6]).view(1, 3, 1, 1)
        true, pale, foreign = (float(cf_hs(lab_to_rgb8(one))[0]) for one in (lab, paler, other))
        found.append((pale - true, foreign - true))
        before = lab[:, 1:]
    return np.array(found[1:])


def line(what: str, rows: np.ndarray, n: int, pair: tuple[float, float]) -> str:
    """Return the printed line for a pair of means."""
    one = coverage(rows, pair, n)
    error = math.sqrt(one["covers"] * (1 - one["covers"]) / SAMPLES)
    inside = AIM[0] - 2 * error <= one["covers"] <= AIM[1] + 2 * error
    return (
        f"{what:34}{n:5}  {pair[0]:3g} {pair[1]:3g} {100 * one['covers']:8.1f} +- {100 * error:.1f} "
        f"{100 * one['percentile']:10.1f} {100 * one['disagree']:10.1f}   {'' if inside else 'OUTSIDE'}"
    )


def main(folder: Path | None) -> None:
    """Print every line, two at a time."""
    wanted: list[tuple[str, np.ndarray, int, tuple[float, float]]] = []

    def add(what: str, rows: np.ndarray, n: int, means: list[tuple[float, float]]) -> None:
        wanted.extend((what, rows, n, pair) for pair in means)

    print(f"{SAMPLES} samples a line, {RESAMPLES} resamples; OUTSIDE: of 93-97 by more than two standard errors")
    print(f"{'rows':34}{'n':>5}  means    covers      percentile   disagree")
    add("normal, equal spread, r = 0.5", made(0.5, 1, False), 100, MEANS)
    add("normal, spread 1 : 2, r = 0.5", made(0.5, 2, False), 100, FEW)
    add("exponential, r = 0.5", made(0.5, 1, True), 100, FEW)
    if folder is not None:
        images = of_images(folder)
        print(f"images: correlation {np.corrcoef(images.T)[0, 1]:.2f}, spreads {images.std(axis=0).round(1)}")
        add("colorfulness of images", images, 100, MEANS)
        for n in (325, 650):
            add("colorfulness of images", images, n, FEW)
    with ProcessPoolExecutor(2) as pool:
        for text in pool.map(line, *zip(*wanted, strict=True)):
            print(text, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
