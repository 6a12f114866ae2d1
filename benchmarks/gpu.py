"""Speed on one GPU: ``python -m benchmarks.gpu DIR``, two minutes.

DIR contains images. Prints the measured rate of matrix products; images per second of a training of ``zoo/cic`` at
width 1 with crops of 176 pixels, and the share of the matrix rate that its convolutions reach; images per second of
``run`` with the same network at 256 pixels in batches of 64, and how much of the time the GPU computes.

    --device NAME   cuda, or cpu to try the script [cuda]
    --images N      images of ``run`` [4096]
    --steps N       steps of each training [80]
    --width W       width of the network [1]
    --only PART     train or run [both]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import colorbench
from colorbench.color import load_prior
from colorbench.data import Dataset, open_dataset
from colorbench.models import ModelCard
from colorbench.training import CropStage, ImageCache, Trainer, TrainerOptions, build_cache
from zoo.cic import CIC
from zoo.cic.network import Network
from zoo.cic.presets import PRESETS
from zoo.cic.training_task import ClassificationTraining

SIDE, RUN_SIDE, BATCH = 176, 256, 64
WARM_UP = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--only", choices=["train", "run"])
    given = parser.parse_args()
    device = torch.device(given.device)
    side = 8192 if device.type == "cuda" else 512
    rates = {dtype: matrix_rate(device, dtype, side) for dtype in (torch.bfloat16, torch.float32)}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}")
    print("matrix products: " + ", ".join(f"{str(d)[6:]} {rate / 1e12:.1f} TFLOP/s" for d, rate in rates.items()))
    dataset = open_dataset(given.folder)
    with tempfile.TemporaryDirectory() as scratch:
        cache = build_cache([dataset.limit(1024)], Path(scratch) / "cache", RUN_SIDE, workers=8)
        settings = [("float32", 40, False), ("bfloat16", 40, False), ("bfloat16", 128, False), ("bfloat16", 256, False)]
        for dtype, batch, compiled in [] if given.only == "run" else [*settings, ("bfloat16", 256, True)]:
            rate = rates[torch.bfloat16 if dtype == "bfloat16" else torch.float32]
            with tempfile.TemporaryDirectory() as folder:
                training(cache, Path(folder), given, dtype, batch, compiled, rate)
        for dtype in () if given.only == "train" else ("float32", "bfloat16"):
            evaluation(dataset, Path(scratch) / dtype, given, dtype)


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Return the floating-point operations per second of a product of two random square matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(8):
        with timed(device) as taken:
            a @ b
        seconds.append(taken[0])
    return 2 * side**3 / statistics.median(seconds[2:])


@contextlib.contextmanager
def timed(device: torch.device) -> Iterator[list[float]]:
    """Yield a list that holds the seconds of the block once it has ended, with the work of the device."""
    taken: list[float] = []
    synchronize(device)
    started = time.perf_counter()
    yield taken
    synchronize(device)
    taken.append(time.perf_counter() - started)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock:
    """A training listener that notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.loss = float("nan")

    def advanced(self, step: int, steps: int) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def stepped(self, step: int, steps: int, figures: Mapping[str, float], images_per_second: float) -> None:
        """Keep the loss."""
        self.loss = figures["loss"]

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        """Do nothing."""


def training(
    cache: ImageCache, folder: Path, given: argparse.Namespace, dtype: str, batch: int, compiled: bool, rate: float
) -> None:
    """Print the speed of a training, without its first steps and its end."""
    view = CropStage(begin=0, size=SIDE, low=SIDE, high=SIDE, batch_size=batch)
    preset = PRESETS["released"].model_copy(
        update={"views": (view,), "steps": given.steps, "width": given.width, "drops": (), "start": "default"}
    )
    torch.manual_seed(0)
    task = ClassificationTraining(preset, load_prior())
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        task.network(torch.zeros(1, 1, SIDE, SIDE))
    options = TrainerOptions(
        folder,
        device=given.device,
        dtype=dtype,  # type: ignore[arg-type]  # one of its literals
        compile=compiled,
        log_every=given.steps,
        validate_every=10**9,
        checkpoint_every=10**9,
    )
    clock = Clock()
    trainer = Trainer(task, preset, cache, options)
    trainer.validation = None
    trainer.run(clock)
    first = min(WARM_UP, given.steps // 2)
    speed = batch * (len(clock.ends) - 1 - first) / (clock.ends[-1] - clock.ends[first])
    share = speed * 3 * forward.get_total_flops() / rate  # the backward pass computes twice as much
    memory = torch.cuda.max_memory_allocated() / 2**30 if given.device.startswith("cuda") else 0
    waiting = [row["waiting"] for row in trainer.log.rows()]
    print(
        f"train {SIDE} px, width {given.width:g}, {dtype}{', compiled' if compiled else ''}, batch {batch}: "
        f"{speed:.0f} images/s, {100 * share:.1f} % of the matrix rate, waiting for images "
        f"{100 * waiting[-1]:.0f} %, {memory:.1f} GiB, loss {clock.loss:.3f}",
        flush=True,
    )


class Steady:
    """A progress listener that notes when images were done, and meanwhile how busy the GPU is."""

    def __init__(self, device: str) -> None:
        self.done: list[tuple[float, int]] = []
        self.busy: list[tuple[float, float]] = []
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if device.startswith("cuda"):
            self._thread.start()

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self.busy.append((time.perf_counter(), float(line)))
                if self._stop.is_set():
                    process.terminate()
                    return

    def started(self, total: int, unit: str = "images") -> None:
        """Do nothing."""

    def advanced(self, n: int, images_per_second: float) -> None:
        """Note the time."""
        self._count += n
        self.done.append((time.perf_counter(), self._count))

    def message(self, text: str) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()


def evaluation(dataset: Dataset, output: Path, given: argparse.Namespace, dtype: str) -> None:
    """Print the speed of ``run`` and how busy the GPU is, between the first fifth of the images and the last."""
    card = ModelCard(title="width 1", working_size=RUN_SIDE, settings={"width": given.width})
    torch.manual_seed(0)
    model = CIC(Network(given.width).eval(), card)
    watch = Steady(given.device)
    started = time.perf_counter()
    try:
        colorbench.run(
            model,
            "auc",
            dataset.limit(given.images),
            output=output,
            device=given.device,
            dtype=dtype,
            batch_size=BATCH,
            baselines=False,
            save="none",
            listener=watch,
        )
    finally:
        watch.stop()
    whole = time.perf_counter() - started
    later = [(moment, count) for moment, count in watch.done if count >= watch.done[-1][1] / 5]
    (begin, first), (end, last) = later[0], later[-1]
    busy = [share for moment, share in watch.busy if begin <= moment <= end] or [float("nan")]
    print(
        f"run {RUN_SIDE} px, width {given.width:g}, {dtype}, batch {BATCH}, {last} images: "
        f"{(last - first) / max(end - begin, 1e-9):.0f} images/s, GPU busy "
        f"{statistics.mean(busy):.0f} % (median {statistics.median(busy):.0f}); "
        f"{whole:.1f} s in all",
        flush=True,
    )


if __name__ == "__main__":
    main()
