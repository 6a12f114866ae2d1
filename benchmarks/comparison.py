"""Error rates and power of the comparison statistics on real rows: ``uv run python -m benchmarks.comparison``.

    --data DIR images to evaluate the models on [default: crops of the packaged ones] --output DIR folder of their
    records, which are reused the next time --simulations N number of simulations of each kind [1000] --part NAME run
    only nulls, ranks, power or speed

Rows come from real models; simulated sets of images are drawn from their rows with replacement.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.packaged import crops
from colorbench.data import open_dataset
from colorbench.evaluation import RunConfig, record_folder, run
from colorbench.results import PairedRuns, load_run, pair_runs
from colorbench.stats import (
    bootstrap_weights,
    effect_size,
    images_needed,
    paired_interval,
    rank_models,
    sign_flip_p,
)

MODELS = ("zoo/cic", "zoo/cic.untrained", "zoo/gray", "zoo/constant", "zoo/mean-color", "zoo/random", "zoo/half-chroma")
METRICS = ("auc_raw", "auc_rebalanced_stable")
PAIRS = (("zoo/cic.small", "zoo/constant"), ("zoo/cic.small", "zoo/gray"), ("zoo/gray", "zoo/random"))
RESAMPLES = 300
FLIPS = 199


def rows(data: Path, output: Path) -> PairedRuns:
    """Return every model's rows under ``auc``."""
    request = RunConfig(
        models=MODELS,
        protocols=("auc",),
        data=open_dataset(data),
        output=output,
        save="none",
        baselines=False,
        threads=1,
    )
    return pair_runs([load_run(record_folder(output, record)) for record in run(request)])


def centered(statistics: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Shift statistics (K, n, 2) so that the pooled ratios are the targets (K,), keeping the scatter of the rows."""
    sums = statistics.sum(axis=1)
    moved = statistics.copy()
    moved[..., 0] -= (sums[:, 0] / sums[:, 1] - targets)[:, None] * statistics[..., 1]
    return moved


def percent(hits: int, trials: int) -> str:
    """Return a share with its standard error."""
    share = hits / trials
    return f"{100 * share:5.1f} % (se {100 * math.sqrt(share * (1 - share) / trials):.1f})"


def nulls(together: PairedRuns, trials: int) -> None:
    """Print how often two models without a difference differ significantly, at 5 %."""
    print("\nNo difference, rejected at 5 %: sign-flip; paired interval")
    names = [stored.record.model.name for stored in together.runs]
    for metric, (first, second) in itertools.product(METRICS, PAIRS):
        a, b = together.statistics(metric)[[names.index(first), names.index(second)]]
        level = np.full(2, b[:, 0].sum() / b[:, 1].sum())
        for kind in ("swapped", "centered"):
            rng = np.random.default_rng(0)
            found = np.zeros(2, dtype=int)
            for trial in range(trials):
                if kind == "swapped":
                    swap = rng.random(len(a)) < 0.5
                    x, y = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
                else:
                    x, y = centered(np.stack([a, b]), level)[:, rng.integers(0, len(a), len(a))]
                interval = paired_interval(x, y, "ratio", resamples=RESAMPLES, seed=trial).interval
                assert interval is not None
                found += [sign_flip_p(x, y, flips=FLIPS, seed=trial) <= 0.05, not interval.low <= 0 <= interval.high]
            rates = "; ".join(percent(int(count), trials) for count in found)
            print(f"  {metric:22} {first} - {second:14} {kind}: {rates}")


def ranks(together: PairedRuns, trials: int) -> None:
    """Print how often the rank intervals contain all true ranks at once."""
    print("\nRank intervals that hold all true ranks at once: as shipped; with the standard errors of the data alone")
    for metric in METRICS:
        real = together.statistics(metric)
        ranking = rank_models(real, "ratio", higher_is_better=True)
        assert ranking is not None
        step, count = float(np.median(ranking.errors[ranking.errors > 0])), len(real)
        patterns = {
            "all equal": np.zeros(count),
            "two tied groups": 3 * step * (np.arange(count) >= count // 2),
            "equal steps": step * np.arange(count),
        }
        for pattern, offsets in patterns.items():
            population = centered(real, 70 + offsets)
            rng, hits, plain_hits, width = np.random.default_rng(0), 0, 0, 0.0
            for trial in range(trials):
                drawn = population[:, rng.integers(0, real.shape[1], real.shape[1])]
                found = rank_models(drawn, "ratio", higher_is_better=True, resamples=RESAMPLES, seed=trial)
                assert found is not None
                hits += covers(found.better, offsets)
                plain_hits += covers(plain(drawn, seed=trial), offsets)
                width += float((found.ranks[:, 1] - found.ranks[:, 0] + 1).mean()) / trials
            rates = f"{percent(hits, trials)}; {percent(plain_hits, trials)}"
            print(f"  {metric:22} {pattern:16} {count} models, n {real.shape[1]}: {rates}; mean width {width:.1f}")


def covers(better: np.ndarray, truth: np.ndarray) -> bool:
    """Return whether all rank intervals contain the true rank sets of (K,) values, including ties.

    The true set of a model is [1 + number truly better, K - number truly worse].
    """
    truly = truth[:, None] > truth[None]
    first, last = better.sum(axis=0), better.sum(axis=1)
    return bool((first <= truly.sum(axis=0)).all() and (last <= truly.sum(axis=1)).all())


def plain(statistics: np.ndarray, seed: int) -> np.ndarray:
    """Return (K, K) bool of "better" by the plain max-t: resampled differences over the standard errors of the data."""
    sums = statistics.sum(axis=1)
    ratios = sums[:, 0] / sums[:, 1]
    influence = (statistics[..., 0] - ratios[:, None] * statistics[..., 1]) / sums[:, 1:]
    errors = np.sqrt(((influence[:, None] - influence[None]) ** 2).sum(axis=-1)) + np.eye(len(ratios))
    weights = bootstrap_weights(statistics.shape[1], RESAMPLES, seed).astype(np.float64)
    resampled = (weights @ statistics[..., 0].T) / (weights @ statistics[..., 1].T) - ratios
    largest = (np.abs(resampled[:, :, None] - resampled[:, None]) / errors).max(axis=(1, 2))
    return np.asarray((ratios[:, None] - ratios[None]) / errors > np.quantile(largest, 0.95))


def power(together: PairedRuns, trials: int) -> None:
    """Print how often the stated number of images detects the difference; the aim is 80 of 100 sets."""
    print("\nPower of the sign-flip test at 5 % with as many images as are said to be needed (wanted: 80 %)")
    for metric in METRICS:
        for a, b in itertools.combinations(together.statistics(metric), 2):
            needed = images_needed(effect_size(a, b, "ratio"))
            if needed is None or not 40 <= needed <= 2000:
                continue
            rng, hits = np.random.default_rng(0), 0
            for trial in range(trials):
                drawn = rng.integers(0, len(a), needed)
                hits += sign_flip_p(a[drawn], b[drawn], flips=FLIPS, seed=trial) <= 0.05
            print(f"  {metric:22} {needed:5} images: {percent(hits, trials)}")


def speed(together: PairedRuns, trials: int) -> None:
    """Print the CPU seconds of all pairs at once, against an interval for each pair."""
    print("\nCPU seconds: all pairs at once; an interval of each pair in turn")
    rng = np.random.default_rng(0)
    for models, n in ((8, 1000), (60, 1000), (60, 10_000)):
        weights, hard = rng.lognormal(0, 1, n), rng.normal(60, 12, n)
        scores = hard + rng.normal(0, 3, (models, n)) + np.arange(models)[:, None] / 10
        statistics = np.stack([weights * scores, np.broadcast_to(weights, scores.shape)], axis=-1)
        ours = cpu(lambda s=statistics: rank_models(s, "ratio", higher_is_better=True))  # type: ignore[misc]
        few = min(models, 4)
        one = cpu(
            lambda s=statistics, k=few: [paired_interval(s[i], s[0], "ratio") for i in range(1, k)]  # type: ignore[misc]
        ) / (few - 1)
        reference = one * models * (models - 1) / 2
        print(
            f"  {models} models, {n} images: {ours:.2f}; {reference:.2f} (from {few - 1}): {reference / ours:.0f} times"
        )


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


PARTS = {"nulls": nulls, "ranks": ranks, "power": power, "speed": speed}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--part", choices=PARTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or crops(Path(scratch) / "crops", 240)
        measured = rows(folder, given.output or Path(scratch) / "runs")
        print(f"{len(measured.ids)} images of {folder.name}, {len(measured.runs)} models")
        for name, part in PARTS.items():
            if given.part in (None, name):
                part(measured, given.simulations)
