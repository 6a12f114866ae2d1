"""A whole run against its parts: ``uv run python -m benchmarks.run FOLDER_OF_PHOTOGRAPHS``.

The aim: at most 1.5 times the larger of (decoding, resizing and Lab alone) and (the network alone).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.timing import seconds
from colorbench import api
from colorbench.color.lab import rgb_to_lab
from colorbench.data.loading import load_batches
from colorbench.data.recipes import get_recipe
from colorbench.data.sources import open_dataset
from colorbench.models.colorizer import Inputs
from colorbench.models.loading import load_model

BATCH = 16


def main(folder: str, model_name: str = "zoo/cic.small") -> None:
    """Time the parts alone, then whole runs with and without the anchors."""
    dataset = open_dataset(folder)
    recipe = get_recipe("squash256")
    model = load_model(model_name)
    batches = []

    def prepare() -> None:
        for batch in load_batches(dataset.samples, recipe, batch_size=BATCH, workers=2):
            if batch.ids:
                batches.append((batch.ids, rgb_to_lab(batch.rgb8)[:, :1].contiguous()))

    @torch.inference_mode()
    def forward() -> None:
        for ids, lightness in batches:
            model.colorizer.colorize_batch(Inputs(lightness, ids, tuple(range(len(ids)))))

    prepare()  # the files are in the page cache afterwards, for all alike
    batches.clear()
    reading = seconds(prepare)
    forward()
    network = seconds(forward)
    n = sum(len(ids) for ids, _ in batches)
    print(f"{n} photographs, {torch.get_num_threads()} threads, {model.full_name}")
    print(f"decode + resize + Lab alone: {reading:.2f} s ({1e3 * reading / n:.1f} ms a photograph)")
    print(f"network alone: {network:.2f} s ({1e3 * network / n:.1f} ms a photograph)")
    for anchors in (False, True):
        with tempfile.TemporaryDirectory() as output:
            record = api.run(
                model_name, "auc", dataset, output=Path(output), anchors=anchors, batch_size=BATCH, save="none"
            )
        whole = record.execution.seconds
        ratio = whole / max(reading, network)
        extra = "with gray, constant and truth" if anchors else "the model alone"
        print(f"whole run, {extra}: {whole:.2f} s, {ratio:.2f} times the larger part (aim at most 1.5)")
        for stage, spent in record.execution.stage_seconds.items():
            print(f"  {stage}: {spent:.2f} s ({100 * spent / whole:.0f} %)")


if __name__ == "__main__":
    main(*sys.argv[1:])
