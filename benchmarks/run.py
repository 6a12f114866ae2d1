"""A whole run and its parts: decoding, the network and scoring.

The alternative is a plain script that decodes, converts, colorizes and scores one image after another with Pillow,
scikit-image, the same network and the loop over thresholds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch.utils.flop_counter import FlopCounterMode

import colorbench
from benchmarks.auc import plain
from benchmarks.case import Case, seconds
from benchmarks.physical_limits import cores
from colorbench.color import load_prior, nearest_bin, rebalancing_weights
from colorbench.data import Dataset, LoadedBatch, get_preprocessing, load_batches
from colorbench.evaluation import GroundTruth, Prediction, get_protocol, numerics
from colorbench.models import ColorizerInput, LoadedModel, load_model

MODEL, BATCH, SIDE = "zoo/cic.small", 16, 256


@dataclass(frozen=True)
class Parts:
    """The images of a run with a model, and its parts alone."""

    dataset: Dataset
    model: LoadedModel
    batches: list[LoadedBatch]
    inputs: list[ColorizerInput]
    predictions: list[Prediction]

    @classmethod
    def of(cls, dataset: Dataset) -> Parts:
        """Decode all images and predict them once."""
        model, batches = load_model(MODEL), [batch for batch in _loaded(dataset) if batch.ids]
        inputs, predictions = [], []
        with numerics(None):
            for batch in batches:
                truth = GroundTruth(batch.ids, batch.rgb8, batch.gray, batch.labels, batch.sha256s)
                one = ColorizerInput(truth.lightness.contiguous(), batch.ids, tuple(range(len(batch.ids))))
                predictions.append(Prediction(truth, ab=model.colorizer.colorize_batch(one).ab))
                inputs.append(one)
        return cls(dataset, model, batches, inputs, predictions)

    def decode(self) -> None:
        """Decode, resize and convert all images, as a run does."""
        for batch in _loaded(self.dataset):
            _ = GroundTruth(batch.ids, batch.rgb8).lightness

    def network(self) -> None:
        """Colorize all images."""
        with numerics(None):
            for one in self.inputs:
                self.model.colorizer.colorize_batch(one)

    def score(self) -> None:
        """Score all predictions; nothing that an earlier scoring computed is used."""
        scorer = get_protocol("auc").resolve({}, self.dataset)  # type: ignore[union-attr]
        with numerics(1):
            for one in self.predictions:
                truth = GroundTruth(one.truth.ids, one.truth.rgb8, one.truth.gray)
                scorer.score(Prediction(truth, ab=one.ab))

    def whole(self) -> None:
        """Run the evaluation into a new folder."""
        with tempfile.TemporaryDirectory() as output:
            colorbench.run(
                MODEL, "auc", self.dataset, output=Path(output), baselines=False, batch_size=BATCH, save="none"
            )

    def script(self) -> float:
        """Return AuC by the plain script, one image after another."""
        weights = torch.from_numpy(rebalancing_weights(load_prior().probabilities, 0.1)).float()
        scores = []
        with torch.no_grad():
            for sample in self.dataset.samples:
                image = Image.open(sample.path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                lab = torch.from_numpy(rgb2lab(np.asarray(image) / 255).astype(np.float32)).permute(2, 0, 1)
                predicted = self.model.colorizer.colorize_batch(ColorizerInput(lab[None, :1], (sample.id,), (0,))).ab
                assert predicted is not None
                truth = lab[1:]
                scores.append(plain(predicted[0], truth) + plain(predicted[0], truth, weights[nearest_bin(truth)]))
        return float(np.mean(scores))

    def flops(self) -> float:
        """Return the floating-point operations of the network for all images."""
        counter = FlopCounterMode(display=False)
        with counter:
            self.network()
        return float(counter.get_total_flops())


def _loaded(dataset: Dataset) -> Iterator[LoadedBatch]:
    preprocessing = get_preprocessing(f"squash{SIDE}")
    return load_batches(dataset.samples, preprocessing, batch_size=BATCH, workers=cores())


def cases(parts: Parts) -> Iterator[Case]:
    """Yield the comparisons of a run and of its parts."""
    count = len(parts.dataset)
    yield Case(
        f"decode, resize, Lab: {count} images",
        parts.decode,
        "Pillow and scikit-image, one after another",
        lambda: [_by_scikit_image(sample.path) for sample in parts.dataset.samples],
        limit="decode",
        work=count,
    )
    flops = parts.flops()
    yield Case(
        f"{MODEL}: {count} images, batch {BATCH}",
        parts.network,
        "one image after another",
        lambda: _one_by_one(parts),
        limit="matrix",
        work=flops,
    )
    yield Case(f"whole run: {count} images", parts.whole, "plain script", parts.script, limit="matrix", work=flops)


def _by_scikit_image(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(rgb2lab(np.asarray(image) / 255))


def _one_by_one(parts: Parts) -> None:
    with torch.no_grad():
        for full in parts.inputs:
            for i, id in enumerate(full.ids):
                parts.model.colorizer.colorize_batch(ColorizerInput(full.lightness[i : i + 1], (id,), (0,)))


def efficiency(parts: Parts, rounds: int = 3) -> tuple[float, dict[str, float], float]:
    """Return how well a whole run uses the cores.

    Returns:
        The CPU seconds of decoding, network and scoring, each alone and in one thread of torch, over wall-clock seconds
        x cores of the run; the CPU seconds of each part; the wall-clock seconds of the run. The best of several rounds.
    """
    stages = {"decode": parts.decode, "network": parts.network, "score": parts.score}
    with numerics(1):
        spent = {name: min(_cpu(work) for _ in range(rounds)) for name, work in stages.items()}
    wall = min(seconds(parts.whole) for _ in range(rounds))
    return sum(spent.values()) / (wall * cores()), spent, wall


def _cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
