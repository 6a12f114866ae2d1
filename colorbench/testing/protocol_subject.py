"""``ProtocolSubject``: resolving, running and scoring of a checked protocol as in a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from colorbench.data import Dataset, get_preprocessing, load_batches
from colorbench.errors import UserError
from colorbench.evaluation import (
    BatchScores,
    DatasetProtocol,
    GroundTruth,
    ImageProtocol,
    Prediction,
    ProtocolSpec,
    RunConfig,
    Scorer,
    numerics,
    record_folder,
    run,
)
from colorbench.models import LoadedModel, load_model
from colorbench.models.foreign_code import one_line
from colorbench.results import Record
from colorbench.results.metric_spec import check_metrics
from colorbench.testing.check_report import CheckFailed
from colorbench.testing.fakes import fake_model

IMAGES = 6
CLASSES = ("n02123045", "n07930864")
"""ImageNet synsets (tabby cat, cup), for protocols with an ImageNet classifier."""


@dataclass
class ProtocolSubject:
    """A checked protocol, with results of earlier checks."""

    given: Any
    """The given name (optionally with a preset), class or object."""
    asked: Mapping[str, Any]
    """Parameters by the caller."""
    data: Mapping[str, Dataset]
    """Role -> images."""
    own_data: bool
    """Whether the images are the default ones, not the caller's."""
    folder: Path
    model: LoadedModel = field(default_factory=lambda: load_model(fake_model()))
    protocol: ImageProtocol | DatasetProtocol | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    """Parameters of the preset and by the caller."""
    scored: Scorer | None = None
    of_predictions: dict[str, Any] = field(default_factory=dict)
    """Kind of prediction -> its scores, once computed."""
    record: Record | None = None

    @property
    def spec(self) -> ProtocolSpec:
        """The spec of the protocol; checks that use it need ``loads``."""
        assert self.protocol is not None
        return self.protocol.spec

    @property
    def test(self) -> Dataset:
        """The images that are scored."""
        return self.data["test"]

    @property
    def scorer(self) -> Scorer:
        """The image protocol with its parameters resolved; checks that use it need ``identity``."""
        assert self.scored is not None
        return self.scored

    def resolve(self, parameters: Mapping[str, Any]) -> Scorer:
        """Resolve an image protocol as a run would.

        Raises:
            UserError: for invalid parameters.
            RunError: for any other failure of the protocol.
        """
        assert isinstance(self.protocol, ImageProtocol)
        # Other exceptions become a RunError, which `parameters` distinguishes from a refusal.
        with one_line(f"protocol {self.spec.name} failed", run=True):
            scorer: object = self.protocol.resolve(parameters, self.test)
        if not isinstance(scorer, Scorer):
            hint = "it needs preprocessing, parameters, identity, metrics, score and summarize"
            raise CheckFailed(f"resolve gives a {type(scorer).__name__}, which is not a Scorer", hint)
        get_preprocessing(scorer.preprocessing)
        check_metrics(self.spec.name, scorer.metrics)
        return scorer

    def run(self, parameters: Mapping[str, Any], output: str) -> list[Record]:
        """Run the protocol with the fake model.

        Raises:
            UserError: for parameters or images that the protocol refuses.
            RunError: for a protocol that fails.
        """
        assert self.protocol is not None
        config = RunConfig(
            models=[self.model],
            protocols=[self.protocol],
            data=self.test,
            roles={role: self.data[role] for role in getattr(self.protocol, "roles", ()) if role != "test"},
            parameters={self.spec.name: parameters},
            device="cpu",
            batch_size=4,
            workers=0,
            save="none",
            output=self.folder / output,
            baselines=False,
        )
        with one_line(f"protocol {self.spec.name} failed", run=True), numerics(None):
            return run(config)

    def record_folder(self) -> Path:
        """Return the folder of the record of check ``record``."""
        assert self.record is not None
        return record_folder(self.folder / "runs", self.record)

    def truth(self, positions: Collection[int] | None = None) -> GroundTruth:
        """Return all or some test images after the scorer's preprocessing, without cached values."""
        samples = self.test.samples[:IMAGES]
        chosen = samples if positions is None else [samples[i] for i in positions]
        preprocessing = get_preprocessing(self.scorer.preprocessing)
        batches = list(load_batches(chosen, preprocessing, batch_size=IMAGES, workers=0))
        if len(batches) != 1 or batches[0].skipped:
            raise UserError("the first images have different sizes, or cannot be read", hint="remove `data`")
        one = batches[0]
        return GroundTruth(one.ids, one.rgb8, one.gray, one.labels, one.sha256s)

    def score(self, prediction: Prediction) -> BatchScores:
        """Score a batch; errors of the protocol are reported in one line."""
        with one_line(f"protocol {self.spec.name} failed", run=True), torch.no_grad():
            return self.scorer.score(prediction)


def predictions_for(truth: GroundTruth) -> dict[str, Prediction]:
    """Return predictions of every kind for a batch: ground truth, gray, timid, wrong, vivid, noise, and 8-bit RGB."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(truth.ab.shape, generator=generator)
    ab = {
        "gray": torch.zeros_like(truth.ab),
        "half chroma": truth.ab / 2,
        "opposite colors": -truth.ab + torch.tensor([25.0, -35.0]).view(1, 2, 1, 1),
        "vivid colors": 110 * torch.sign(noise),
        "noise": 20 * noise,
    }
    return {
        "ground truth": Prediction(truth, rgb8=truth.rgb8),
        "inverted RGB": Prediction(truth, rgb8=255 - truth.rgb8),
        **{name: Prediction(truth, ab=values) for name, values in ab.items()},
    }
