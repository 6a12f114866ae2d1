"""What the tests of the engine share: images, models and a protocol worked out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from colorbench.data import Dataset, Sample
from colorbench.evaluation import BatchScores, Curve, Prediction, ProtocolSpec, RunConfig, Summary, run
from colorbench.models import ColorizerInput, ColorPrediction, LoadedModel, ModelCard
from colorbench.results import MetricSpec, Record

NAMES = ("astronaut", "coffee", "chelsea", "rocket")


def write_images(folder: Path, count: int, side: int = 48) -> Dataset:
    """``count`` different crops of packaged images as JPEG files, in two folders."""
    import skimage.data

    originals = [Image.fromarray(getattr(skimage.data, name)()) for name in NAMES]
    for part in ("a", "b"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        original = originals[i % len(originals)]
        left, top = (37 * i) % (original.width - 100), (23 * i) % (original.height - 100)
        crop = original.crop((left, top, left + 100, top + 80)).resize((side, side * 4 // 5))
        crop.save(folder / "ab"[i % 2] / f"{i:03d}.jpg", quality=95)
    return read_folder(folder)


def read_folder(folder: Path) -> Dataset:
    """The images of a folder, sorted by id."""
    paths = sorted(folder.rglob("*.jpg"), key=lambda path: path.relative_to(folder).as_posix())
    return Dataset("crops", tuple(sample_of(path, folder) for path in paths))


def sample_of(path: Path, folder: Path) -> Sample:
    """A file as a sample."""
    status = path.stat()
    return Sample(path.relative_to(folder).as_posix(), path, None, status.st_size, status.st_mtime_ns)


class Flat:
    """Answers with one ab everywhere, and remembers what it was shown."""

    def __init__(self, ab: tuple[float, float] = (0.0, 0.0), role: Any = "competitor") -> None:
        self.ab, self.card, self.seen = ab, ModelCard(title="one color", role=role), []

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        self.seen.append(inputs)
        n, _, h, w = inputs.lightness.shape
        return ColorPrediction(ab=torch.tensor(self.ab, dtype=torch.float32).view(1, 2, 1, 1).expand(n, 2, h, w))

    @property
    def ids(self) -> list[str]:
        """Every image that was colorized, in the order of the calls."""
        return list(itertools.chain.from_iterable(inputs.ids for inputs in self.seen))


class TruthTeller:
    """A reference: gives back what it is shown."""

    card = ModelCard(title="the truth", role="reference")

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        return ColorPrediction(rgb8=inputs.truth)


class Noise:
    """A stochastic model: its colors follow from the seeds alone."""

    card = ModelCard(title="noise", stochastic=True)

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        h, w = inputs.lightness.shape[-2:]
        draws = [torch.randn(2, h, w, generator=torch.Generator().manual_seed(seed)) for seed in inputs.seeds]
        return ColorPrediction(ab=20 * torch.stack(draws))


class SmallNetwork:
    """Two random convolutions: a network whose last digits may depend on the batch."""

    card = ModelCard(title="a small network")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.first = torch.randn(16, 1, 3, 3, generator=generator)
        self.second = torch.randn(2, 16, 3, 3, generator=generator)

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        hidden = torch.nn.functional.conv2d(inputs.lightness / 100 - 0.5, self.first, padding=1).relu()
        return ColorPrediction(ab=10 * torch.nn.functional.conv2d(hidden, self.second, padding=1))


def loaded(colorizer: Any, name: str = "test/model", **changes: Any) -> LoadedModel:
    """A colorizer as the registry would give it."""
    values = {
        "full_name": name,
        "package": None,
        "package_version": None,
        "colorizer": colorizer,
        "card": colorizer.card,
        "weights_sha256": None,
        "decoding": {},
    }
    return LoadedModel(**{**values, **changes})


@dataclass(frozen=True)
class DistanceScorer:
    """Mean distance in ab, and the chroma of what is seen, which is not defined for gray answers."""

    preprocessing: str
    parameters: Mapping[str, Any]
    calls: list[int] = field(default_factory=list)
    metrics = (
        MetricSpec("distance", "distance", "", False, lower_bound=0),
        MetricSpec("chroma", "chroma", "", None),
    )

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.parameters

    def score(self, colorization: Prediction) -> BatchScores:
        self.calls.append(len(colorization.truth.ids))
        # In float64 and image by image, so that no sum depends on the batch.
        rows = [self._row(a, t) for a, t in zip(colorization.ab, colorization.truth.ab, strict=True)]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        lightness = (colorization.truth.lightness / 10).round().clamp(0, 10).long().flatten(1)
        counts = np.stack([np.bincount(image.cpu().numpy(), minlength=11) for image in lightness])
        return BatchScores(columns, {"lightness": counts})

    def _row(self, prediction: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
        distance = (prediction.double() - truth.double()).norm(dim=0).mean().item()
        chroma = prediction.double().norm(dim=0).mean().item()
        chroma = chroma if chroma > 1 else float("nan")
        return {
            "distance": distance,
            "distance.s0": distance,
            "distance.s1": 1.0,
            "chroma": chroma,
            "chroma.s0": chroma,
            "chroma.s1": 1.0,
        }

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        share = arrays["lightness"].sum(axis=0) / arrays["lightness"].sum()
        curve = Curve("lightness", "lightness", "L", "share", tuple(range(0, 101, 10)), tuple(share.tolist()))
        return Summary((curve,), notes=("all is well",))


class DistanceProtocol:
    """A protocol in a few lines."""

    spec = ProtocolSpec(
        name="distance",
        version=1,
        title="Distance",
        parameters={"preprocessing": "squash64", "free": 0},
        metrics=DistanceScorer.metrics,
        headline="distance",
        presets={"distance@other": {"free": 1}},
    )

    def __init__(self) -> None:
        self.scorers: list[DistanceScorer] = []

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> DistanceScorer:
        chosen = {**self.spec.parameters, **parameters}
        self.scorers.append(DistanceScorer(chosen["preprocessing"], chosen))
        return self.scorers[-1]


def evaluate(dataset: Dataset, output: Path, *models: Any, listener: Any = None, **changes: Any) -> list[Record]:
    """Run models under the protocol ``distance``, without baselines and saved images unless asked."""
    values: dict[str, Any] = {
        "models": [model if hasattr(model, "full_name") else loaded(model) for model in models],
        "protocols": ["distance"],
        "data": dataset,
        "output": output,
        "baselines": False,
        "save": "none",
        "device": "cpu",
        "workers": 1,
    }
    return run(RunConfig(**{**values, **changes}), listener)


class Listening:
    """Remembers what a run said."""

    def __init__(self) -> None:
        self.total, self.done, self.messages = 0, 0, []

    def started(self, total: int, unit: str = "images") -> None:
        self.total = total

    def advanced(self, n: int, images_per_second: float) -> None:
        self.done += n

    def message(self, text: str) -> None:
        self.messages.append(text)


def with_protocol(patch: Any, **protocols: Any) -> None:
    """Make protocols known by name; ``patch`` is pytest's monkeypatch."""
    patch.setattr("colorbench.evaluation.requested_models_and_protocols.get_protocol", protocols.__getitem__)


def with_baselines(patch: Any) -> dict[str, Any]:
    """Stand-ins for gray, constant and truth, by name."""
    baselines = {
        "zoo/gray": Flat((0, 0), "baseline"),
        "zoo/constant": Flat((10, 10), "baseline"),
        "zoo/ground-truth": TruthTeller(),
    }
    patch.setattr(
        "colorbench.evaluation.requested_models_and_protocols.load_model",
        lambda name, **_: loaded(baselines[name], name),
    )
    return baselines
