"""Cost of a training step, and the effect of initialization: ``uv run python -m benchmarks.training DIR``.

DIR contains training images. All times are CPU times of the process; ratios are within one run. The alternative uses
dense (N, 313, H, W) targets by scikit-learn's nearest neighbors, as public implementations do.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from colorbench.color import ab_bins, load_prior, soft_encode
from colorbench.data import open_dataset
from colorbench.training import (
    CropStage,
    ImageCache,
    Journal,
    Trainer,
    TrainerOptions,
    build_cache,
    crop_batch,
    make_optimizer,
    rebalanced_cross_entropy,
)
from zoo.cic.presets import PRESETS
from zoo.cic.training_task import ClassificationTraining

SIZE, BATCH = 128, 32
STEP = PRESETS["small"].changed(
    {"views": [CropStage(begin=0, size=SIZE, low=SIZE, high=SIZE, batch_size=BATCH)], "working_size": SIZE}
)
NARROW = PRESETS["small"].changed(
    {
        "width": 0.125,
        "views": [CropStage(begin=0, size=64, low=88, high=128, batch_size=32)],
        "steps": 60,
        "warmup": 10,
        "average": 0.9,
        "working_size": 64,
    }
)


class DenseTraining(ClassificationTraining):
    """The same network and loss with dense targets."""

    def forward(self, lightness: Tensor, ab: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss, as ``ClassificationTraining``."""
        logits = self.network(lightness.contiguous(memory_format=torch.channels_last))
        target = dense_target(ab[..., ::4, ::4])  # (N, 313, H/4, W/4)
        entropy = -(target * logits.log_softmax(1)).sum(1)
        loss = (entropy * self.weights[target.argmax(1)]).mean()
        return loss, {"loss": loss.detach()}


def dense_target(ab: Tensor) -> Tensor:
    """Encode (N, 2, H, W) to (N, 313, H, W) float32 as NNEncode of the released code (ball tree, float64)."""
    n, _, h, w = ab.shape
    points = ab.permute(0, 2, 3, 1).reshape(-1, 2).numpy()
    distance, index = tree().kneighbors(points)
    weights = np.exp(-(distance**2) / 50)
    target = np.zeros((len(points), 313))
    target[np.arange(len(points))[:, None], index] = weights / weights.sum(1, keepdims=True)
    return torch.from_numpy(np.ascontiguousarray(target.reshape(n, h, w, 313).transpose(0, 3, 1, 2))).float()


@lru_cache(maxsize=1)
def tree() -> NearestNeighbors:
    """Return the nearest-neighbor index of the bins, fitted once."""
    return NearestNeighbors(n_neighbors=10, algorithm="ball_tree").fit(ab_bins().numpy())


def stepper(kind: type[ClassificationTraining], cache: ImageCache) -> Callable[[], None]:
    """Return a function that runs one whole step: crops, forward, loss, backward, optimizer."""
    torch.manual_seed(0)
    task = kind(STEP, load_prior()).to(memory_format=torch.channels_last)
    optimizer, rng = make_optimizer(task, STEP), np.random.default_rng(0)

    def step() -> None:
        lab = crop_batch(cache.pixels, rng.integers(0, len(cache.pixels), BATCH), STEP.views[0], rng)
        loss, _ = task(lab[:, :1], lab[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()

    return step


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def times(cache: ImageCache, rounds: int = 4) -> None:
    """Print the share of encoding and loss in a step, and the time of a step against dense targets."""
    ours, reference = stepper(ClassificationTraining, cache), stepper(DenseTraining, cache)
    weights = torch.ones(313)
    lab = crop_batch(cache.pixels, list(range(BATCH)), STEP.views[0], np.random.default_rng(0))
    shape = (BATCH, 313, SIZE // 4, SIZE // 4)
    logits = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()

    def loss_alone() -> None:
        target = soft_encode(lab[:, 1:, ::4, ::4].contiguous())
        torch.autograd.grad(rebalanced_cross_entropy(logits, target, weights).loss, logits)

    def medians() -> None:
        ours(), reference(), loss_alone()  # warm-up
        found = [(cpu_seconds(ours), cpu_seconds(reference), cpu_seconds(loss_alone)) for _ in range(rounds)]
        step, dense, loss = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"  step {step:.3f} s; encoding + loss {loss * 1e3:.0f} ms, {100 * loss / step:.1f} % (aim at most 10 %)")
        print(f"  with dense targets {dense:.3f} s: {dense / step:.2f} times slower (aim at least 1.3)")

    print(f"{SIZE} px, batch {BATCH}, width {STEP.width:g}, seconds of CPU, medians of {rounds}")
    medians()


def peak(kind: str, folder: Path) -> int:
    """Return the peak memory in bytes of a second step, in a separate process (Linux)."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (kind, folder))


def _peak(kind: str, folder: Path) -> int:
    torch.set_num_threads(1)
    cache = build_cache([open_dataset(folder)], folder.parent / "cache", 128)
    step = stepper(DenseTraining if kind == "dense" else ClassificationTraining, cache)
    step()
    # Not getrusage, whose peak is inherited from the parent process and includes the imports.
    Path("/proc/self/clear_refs").write_text("5")
    step()
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def memory(folder: Path) -> None:
    """Print the peak memory, ours and dense."""
    ours, reference = peak("sparse", folder), peak("dense", folder)
    target = BATCH * 313 * (SIZE // 4) ** 2 * 4
    print(
        f"peak memory: {ours / 2**20:.0f} MiB; with dense targets {reference / 2**20:.0f} MiB, "
        f"{(reference - ours) / 2**20:.0f} more (aim at least the target, {target / 2**20:.0f})"
    )


class _Silent:
    def advanced(self, step: int, steps: int) -> None: ...

    def stepped(self, step: int, steps: int, figures: Mapping[str, float], images_per_second: float) -> None: ...

    def validated(self, step: int, figures: Mapping[str, float]) -> None: ...


def initialization(cache: ImageCache) -> None:
    """Print loss curves of both initializations, and the share of time in which steps wait for data."""
    waiting = []
    for head in ("prior", "kmeans"):
        for start in ("kmeans", "default"):
            preset = NARROW.changed({"start": start, "head": head})
            torch.manual_seed(0)
            task = ClassificationTraining(preset, load_prior())
            with tempfile.TemporaryDirectory() as folder:
                options = TrainerOptions(Path(folder), log_every=20, validate_every=60)
                Trainer(task, preset, cache, options).run(_Silent())
                rows = Journal(Path(folder) / "log.csv").rows()
                (covered,) = Journal(Path(folder) / "validation.csv").rows()
            waiting += [row["waiting"] for row in rows[1:]]
            curve = ", ".join(f"{row['step']:.0f}: {row['loss']:.3f}" for row in rows)
            print(
                f"start {start}, head {head}: loss at {curve}; held loss {covered['loss']:.3f}, KL {covered['kl']:.3f}"
            )
    print(f"waiting for data: {100 * max(waiting):.1f} % of the time of a step, the largest of all (aim under 5 %)")


def main(folder: str) -> None:
    """Run all parts on one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        cache = build_cache([open_dataset(folder)], Path(scratch) / "cache", 128)
        times(cache)
        initialization(cache)
        link = Path(scratch) / "images"
        link.symlink_to(Path(folder).resolve())
        memory(link)


if __name__ == "__main__":
    main(*sys.argv[1:])
