"""``ModelSubject``: loading and running of a checked model as in a run, with observation of the process state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from colorbench.data import Dataset, get_preprocessing, load_batches
from colorbench.evaluation import GroundTruth, Prediction, numerics
from colorbench.evaluation.predict import Query, predictions
from colorbench.models import ColorizerInput, ColorPrediction, LoadedModel, evaluation_mode, load_model
from colorbench.models.fingerprint import ModelFingerprint
from colorbench.models.networks import networks_of
from colorbench.models.sampled_and_guided_predictions import seed_of
from colorbench.testing.process_state import changed_state, printed, process_state

PREPROCESSING = "squash64"
IMAGES = 6
"""Number of test images: enough to compare channels, and few enough for a slow model."""


@dataclass
class ModelSubject:
    """A checked model, with results of earlier checks."""

    given: Any
    """The given name, class or object."""
    folder: Path
    """Folder of the test images."""
    device: torch.device
    data: Dataset
    loaded: LoadedModel | None = None
    fingerprint: ModelFingerprint | None = None
    """Fingerprint before the first prediction."""
    images: GroundTruth = field(init=False)
    """Real images, (6, 3, 64, 64)."""
    changed: dict[str, str] = field(default_factory=dict)
    """Global state that changed -> operation during which it changed."""
    output: list[str] = field(default_factory=list)
    """Text printed to standard output."""
    usual_prediction: Prediction | None = None
    """Prediction for the test images with their seeds, once known to be deterministic."""

    def __post_init__(self) -> None:
        """Decode the test images."""
        samples = self.data.samples[:IMAGES]
        preprocessing = get_preprocessing(PREPROCESSING)
        (batch,) = load_batches(samples, preprocessing, batch_size=IMAGES, workers=0)
        self.images = GroundTruth(batch.ids, batch.rgb8.to(self.device), batch.gray, batch.labels, batch.sha256s)

    @property
    def model(self) -> LoadedModel:
        """The loaded model; checks that use it need ``loads``."""
        assert self.loaded is not None
        return self.loaded

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the images in a run with seed 0."""
        return tuple(seed_of(0, content) for content in self.images.sha256s)

    def load(self) -> LoadedModel:
        """Load the model as a run would, watching what it prints."""
        with printed() as text:
            loaded = load_model(self.given).to(self.device)
        self._watched([], text, "loading")
        return loaded

    def ask(
        self,
        images: GroundTruth | None = None,
        seeds: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Prediction:
        """Predict a batch as in a run.

        Args:
            images: default: the six test images.
            seeds: default: those of a run with seed 0.
            dtype: dtype of autocast.

        Raises:
            RunError: for a model that fails or returns an invalid prediction.
        """
        images = self.images if images is None else images
        seeds = self.seeds[: len(images.ids)] if seeds is None else seeds
        query = Query(images, sizes_of(images), seeds, PREPROCESSING, dtype)
        return self.watched(query, lambda inputs: [self.model.colorizer.colorize_batch(inputs)])[0]

    def watched(self, query: Query, ask: Callable[[ColorizerInput], Sequence[ColorPrediction]]) -> list[Prediction]:
        """Return the predictions that ``ask`` gets from the model, watching what it prints and changes.

        Raises:
            RunError: for a model that fails, or a prediction of another form.
        """
        after: dict[str, Any] = {}

        def asked(inputs: ColorizerInput) -> Sequence[ColorPrediction]:
            try:
                return ask(inputs)
            finally:
                # Right after the model's own code: `predictions` restores most of the state afterwards.
                after.clear()
                after.update(process_state())

        with numerics(None), evaluation_mode(self.model.colorizer), printed() as text:
            before = process_state()
            found = predictions(self.model, query, asked)
            networks = networks_of(self.model.colorizer)
            training = any(module.training for network in networks for module in network.modules())
        self._watched(changed_state(before, after), text, "predicting")
        if training:
            self.changed.setdefault("the mode of a network to training", "predicting")
        return found

    def usual(self) -> Prediction:
        """Return the prediction for the test images; checks that use it need ``deterministic``."""
        if self.usual_prediction is None:
            self.usual_prediction = self.ask()
        return self.usual_prediction

    def _watched(self, changed: list[str], text: list[str], during: str) -> None:
        for name in changed:
            self.changed.setdefault(name, during)
        self.output += [one for one in text if one.strip()]


def resized(images: GroundTruth, count: int, size: tuple[int, int]) -> GroundTruth:
    """Resize the first images of a batch for a colorizer to another size (H, W)."""
    rgb = interpolate(images.rgb8[:count].float(), size, mode="bilinear", align_corners=False)
    return GroundTruth(images.ids[:count], rgb.round().to(torch.uint8))


def selected(images: GroundTruth, positions: list[int]) -> GroundTruth:
    """Return some images of a batch for a colorizer, in another order."""
    return GroundTruth(tuple(images.ids[i] for i in positions), images.rgb8[positions].clone())


def sizes_of(images: GroundTruth) -> tuple[tuple[int, int], ...]:
    """Return the size (H, W) of each image of a batch for a colorizer."""
    height, width = images.rgb8.shape[-2:]
    return ((height, width),) * len(images.ids)
