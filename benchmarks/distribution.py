"""Coverage and tests of ``kid_paired`` on a set of images: ``python -m benchmarks.distribution FOLDER [WORK]``.

Three tables. The distances of eight models by three networks, and whether their order is the same. How often the 95 %
interval of n images, drawn from the set without replacement, covers the value of the whole set; deviations are divided
by sqrt(1 - n / N), since the draws cover a part of a finite set. How often the paired tests at 5 % reject where two
models' features were exchanged image by image at random, so that neither is better.

WORK is the folder of the runs, which a second call reuses.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import colorbench
from colorbench.evaluation import record_folder
from colorbench.metrics import paired_kernel_distance
from colorbench.stats import interval, paired_interval, sign_flip_p

BACKENDS = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
MODELS = ("half-chroma", "ground-truth-jpeg95", "l2", "cic", "random", "gray", "cic.untrained", "constant")
"""Models of the zoo."""
DRAWS = 1000
RESAMPLES = 1000
Features = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Model -> features (N, d) of its predictions and of the true colors."""


def measured(folder: Path, work: Path, backend: str) -> Features:
    """Run every model; print its distance with the interval."""
    names = [f"zoo/{name}" for name in MODELS]
    records: Any = colorbench.run(
        names, "distribution", folder, parameters={"backend": backend}, output=work, baselines=False, save="none"
    )
    found = {}
    for name, record in zip(MODELS, records, strict=True):
        value = next(one for one in record.metrics if one.name == "kid_paired")
        print(
            f"{backend:24}{name:22}{value.value:9.3f}  [{value.ci_low:.3f}, {value.ci_high:.3f}]  n {value.n}",
            flush=True,
        )
        with np.load(record_folder(work, record) / "arrays.npz") as arrays:
            found[name] = (arrays["features"], arrays["features_of_truth"])
    return found


def statistics(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return (n, 2) statistics as the protocol stores them."""
    values = 1000 * paired_kernel_distance(features, reference)
    return np.stack([values, np.ones(len(values))], axis=1)


def coverage(x: np.ndarray, y: np.ndarray, n: int, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the share of draws whose interval contains the value of all images."""
    truth, total = statistics(x, y)[:, 0].mean(), len(x)
    shrink = math.sqrt(1 - n / total)
    rng = np.random.default_rng(seed)
    covered = 0
    for _ in range(draws):
        chosen = rng.choice(total, n, replace=False)
        drawn = statistics(x[chosen], y[chosen])
        found, center = interval(drawn, "ratio", resamples=RESAMPLES), drawn[:, 0].mean()
        assert found is not None
        at = center + (truth - center) / shrink
        covered += found.low <= at <= found.high
    return covered / draws


def rejections(one: np.ndarray, two: np.ndarray, y: np.ndarray, n: int, draws: int = DRAWS) -> tuple[float, float]:
    """Return the shares of draws in which the interval of the difference, and the sign-flip test, reject."""
    rng = np.random.default_rng(1)
    by_interval = by_test = 0
    for _ in range(draws):
        chosen = rng.choice(len(y), n, replace=False)
        swap = rng.random(n)[:, None] < 0.5
        a, b = np.where(swap, two[chosen], one[chosen]), np.where(swap, one[chosen], two[chosen])
        first, second = statistics(a, y[chosen]), statistics(b, y[chosen])
        found = paired_interval(first, second, "ratio", resamples=RESAMPLES).interval
        assert found is not None
        by_interval += not found.low <= 0 <= found.high
        by_test += sign_flip_p(first, second, flips=999) <= 0.05
    return by_interval / draws, by_test / draws


def main(folder: Path, work: Path) -> None:
    """Print the three tables."""
    of_backend = {backend: measured(folder, work, backend) for backend in BACKENDS}
    for backend, features in of_backend.items():
        order = sorted(features, key=lambda name: statistics(*features[name])[:, 0].mean())
        print(f"{backend}: {' < '.join(order)}")
    features = of_backend[BACKENDS[0]]
    for name in ("gray", "half-chroma", "cic"):
        for n in (100, 300):
            print(f"coverage of {DRAWS} draws, {name:12} n {n}: {100 * coverage(*features[name], n):.1f} %", flush=True)
    (cic, truth), (gray, _), (l2, _) = (features[name] for name in ("cic", "gray", "l2"))
    for pair, one, two in (("cic, gray", cic, gray), ("cic, l2", cic, l2)):
        for n in (100, 300):
            by_interval, by_test = (100 * share for share in rejections(one, two, truth, n))
            print(f"{pair} exchanged, n {n}: interval {by_interval:.1f} %, sign-flip {by_test:.1f} %", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else scratch))
