"""Validation of a training on its validation split: metrics, curves, and a strip of examples.

Validation images are for choices (when to stop, which setting); images of protocols are not used. Scored are the
predictions that a user would get: averaged weights at the working size, decoded, clipped and rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from colorbench.color import lab_to_rgb8, load_prior, nearest_bin, rebalancing_weights, rgb_to_lab
from colorbench.metrics import LAST_THRESHOLD, auc, auc_statistics, pooled_statistics
from colorbench.models import Colorizer, ColorizerInput, resized
from colorbench.reporting.plot_files import Plot
from colorbench.training.image_cache import ImageCache
from colorbench.training.journal import Journal
from colorbench.training.training_plots import curve_plot, draw_strip
from colorbench.training.training_preset import TrainingPreset

IMAGES = 256
"""Largest number of scored images: those with the smallest hashes, the same for every training on these datasets."""
EXAMPLES = 8
BATCH = 16
STABLE_LAMBDA = 0.1
"""Lambda of ``auc_rebalanced_stable`` as in the ``auc`` protocol, so that trainings are comparable."""

MakeColorizer = Callable[[nn.Module], Colorizer]
"""Function from a network to the model that uses it."""


class Validation:
    """Scoring of a network on validation images, with a log in ``validation.csv``."""

    def __init__(
        self, task: nn.Module, preset: TrainingPreset, cache: ImageCache, folder: Path, make: MakeColorizer | None
    ) -> None:
        """Set up the validation; ``task`` is copied; without ``make`` only its own metrics (loss) are computed."""
        _, validation = cache.split()
        chosen = validation[np.argsort(cache.hashes[validation], kind="stable")][:IMAGES]
        self.rgb = torch.from_numpy(cache.pixels[chosen].transpose(0, 3, 1, 2).copy())  # (n, 3, S, S) uint8
        self.ids = tuple(f"{value:016x}" for value in cache.hashes[chosen])
        self.task = copy.deepcopy(task).eval()
        self.preset, self.folder, self.make = preset, folder, make
        self.journal = Journal(folder / "validation.csv")
        self.weights = rebalancing_weights(load_prior().probabilities, STABLE_LAMBDA)
        self._gray: dict[str, float] = {}

    @torch.no_grad()
    def run(self, step: int, state: Mapping[str, Tensor], device: torch.device) -> dict[str, float]:
        """Compute the metrics of the network with weights ``state``, and write them and the images."""
        network = self.task.network
        assert isinstance(network, nn.Module)
        network.load_state_dict(state)
        self.task.to(device).eval()
        figures = self._figures(device)
        if self.make is not None:
            model = self.make(network)
            predictions = []
            for start in range(0, len(self.rgb), BATCH):
                lightness = self._lab(start)[:, :1].contiguous().to(device)
                ids = self.ids[start : start + BATCH]
                ab = model.colorize_batch(ColorizerInput(lightness, ids, (0,) * len(ids))).ab
                assert ab is not None
                predictions.append(lab_to_rgb8(torch.cat([lightness, ab.float()], dim=1)).cpu())
            figures |= self._scores(predictions)
            if not self._gray:
                gray = [self._gray_of(start) for start in range(0, len(self.rgb), BATCH)]
                self._gray = {f"gray_{name}": value for name, value in self._scores(gray).items()}
            figures |= self._gray
            self._draw_examples(step, predictions[0])
        self.journal.append({"step": float(step), **figures})
        return figures

    def _lab(self, start: int) -> Tensor:
        return rgb_to_lab(self.rgb[start : start + BATCH].contiguous())

    def _gray_of(self, start: int) -> Tensor:
        lab = self._lab(start)
        lab[:, 1:] = 0
        return lab_to_rgb8(lab)

    def _figures(self, device: torch.device) -> dict[str, float]:
        """Compute means of the task's own metrics, on whole images at the working size."""
        size = self.preset.working_size
        sums: dict[str, float] = {}
        for start in range(0, len(self.rgb), BATCH):
            lab = rgb_to_lab(resized(self.rgb[start : start + BATCH], (size, size), "bilinear").contiguous()).to(device)
            _, figures = self.task(lab[:, :1], lab[:, 1:])
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(lab)
        return {name: total / len(self.rgb) for name, total in sums.items()}

    def _scores(self, predictions: list[Tensor]) -> dict[str, float]:
        raw, pooled = [], []
        for number, prediction in enumerate(predictions):
            truth = self._lab(number * BATCH)[:, 1:].contiguous()
            predicted = rgb_to_lab(prediction)[:, 1:].contiguous()
            raw.append(auc(predicted, truth))
            found = auc_statistics(predicted, truth, nearest_bin(truth))
            pooled.append(pooled_statistics(found.doubled_scores, found.counts, 2 * LAST_THRESHOLD, self.weights))
        score, weight = np.concatenate(pooled).sum(axis=0)
        return {"auc_raw": float(torch.cat(raw).mean()), "auc_rebalanced_stable": float(score / weight)}

    def _draw_examples(self, step: int, prediction: Tensor) -> None:
        rows = [("gray", self._gray_of(0)), ("prediction", prediction), ("truth", self.rgb)]
        draw_strip([(label, images[:EXAMPLES]) for label, images in rows], self.folder / "examples" / f"{step:07d}.png")

    def curve_plot(self, log: Journal) -> Plot | None:
        """Plot the curves of the training so far; None before the first validation."""
        train, validation = log.rows(), self.journal.rows()
        return curve_plot(train, validation) if train and validation else None

    def draw_curve(self, log: Journal) -> None:
        """Write ``curve.png``: values on training and validation images over the steps so far."""
        plot = self.curve_plot(log)
        if plot is not None:
            plot.write(self.folder / "curve.png")
