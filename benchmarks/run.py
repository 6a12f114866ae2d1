"""Time of a whole run against its parts: ``uv run python -m benchmarks.run FOLDER_OF_IMAGES``.

The aim: at most 1.5 times the larger of (decoding, resizing and Lab alone) and (the network alone). All are run in turn
in one process; medians are printed. The first run is not counted, since it loads libraries.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import torch

import colorbench
from benchmarks.timing import seconds
from colorbench.color import rgb_to_lab
from colorbench.data import Dataset, get_preprocessing, load_batches, open_dataset
from colorbench.evaluation import numerics
from colorbench.models import ColorizerInput, load_model
from colorbench.results import Record

BATCH, ROUNDS = 16, 5


def main(folder: str, model_name: str = "zoo/cic.small") -> None:
    """Time the single parts, and whole runs with and without the baselines."""
    dataset = open_dataset(folder)
    preprocessing = get_preprocessing("squash256")
    model = load_model(model_name)
    loaded = load_batches(dataset.samples, preprocessing, batch_size=BATCH, workers=2)
    inputs = [
        ColorizerInput(rgb_to_lab(batch.rgb8)[:, :1].contiguous(), batch.ids, tuple(range(len(batch.ids))))
        for batch in loaded
        if batch.ids
    ]
    records: list[Record] = []

    def prepare() -> None:
        for batch in load_batches(dataset.samples, preprocessing, batch_size=BATCH, workers=2):
            rgb_to_lab(batch.rgb8)

    def forward() -> None:
        with numerics(None):  # as in a run
            for one in inputs:
                model.colorizer.colorize_batch(one)

    def full(baselines: bool) -> None:
        records.append(_run(model_name, dataset, baselines))

    ways = {
        "decode + resize + Lab alone": prepare,
        "network alone": forward,
        "whole run, the model alone": lambda: full(False),
        "whole run, with gray, constant and truth": lambda: full(True),
    }
    print(f"the first run of this process: {seconds(lambda: full(False)):.2f} s")
    forward()
    rounds = [{name: seconds(work) for name, work in ways.items()} for _ in range(ROUNDS)]
    times = {name: statistics.median(round[name] for round in rounds) for name in ways}
    n = sum(len(one.ids) for one in inputs)
    larger = max(list(times.values())[:2])
    print(f"{n} images, {torch.get_num_threads()} threads, {model.full_name}, median of {ROUNDS} in turn")
    print("(a whole run: aim at most 1.5 times the larger part)")
    for name, spent in times.items():
        print(f"{name}: {spent:.2f} s, {1e3 * spent / n:.1f} ms an image, {spent / larger:.2f} times the larger part")
    stages = records[-2].execution.stage_seconds  # of the last run of the model alone
    print("of the model alone: " + ", ".join(f"{k} {100 * v / sum(stages.values()):.0f} %" for k, v in stages.items()))


def _run(model: str, dataset: Dataset, baselines: bool) -> Record:
    with tempfile.TemporaryDirectory() as output:
        return colorbench.run(
            model, "auc", dataset, output=Path(output), baselines=baselines, batch_size=BATCH, save="none"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
