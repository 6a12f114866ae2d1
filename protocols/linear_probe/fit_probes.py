"""Compute the features of a model and its controls, and fit the probes; both are stored on disk."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorbench.data import Dataset
from colorbench.errors import READABLE, InputError, RunError, UserError
from colorbench.evaluation import ProtocolContext, ThroughputMeter, read_features
from colorbench.models import (
    FeatureExtractor,
    FeatureSpec,
    HasFeatures,
    LoadedModel,
    Pooling,
    RandomWeights,
    evaluation_mode,
    in_fast_order,
    library_code,
    load_model,
    model_factory,
    model_identity,
    precision,
    tags_of,
)
from colorbench.processes import Unit
from colorbench.registry import split_tag
from colorbench.results import FeatureStore, Shard
from colorbench.storage import digest_of, npz_bytes, read_checked, write_checked
from protocols.linear_probe.linear_classifiers import (
    Fitted,
    Schedule,
    logistic,
    moments,
    sgd,
    standardized,
    validation_part,
)

PIXELS = "pixels"


@dataclass(frozen=True)
class Choices:
    """Resolved parameters."""

    parameters: Mapping[str, str]

    @cached_property
    def cut(self) -> FeatureSpec:
        """How features are computed from images."""
        p = self.parameters
        pooling: Any = p["pooling"]
        return FeatureSpec(p["preprocessing"], Pooling(int(p["dims"]), pooling), p["storage"])

    @property
    def streamed(self) -> bool:
        """Whether the classifiers are trained by mini-batches."""
        return self.parameters["classifier"] == "sgd"

    @property
    def schedule(self) -> Schedule:
        """Schedule of the streamed classifiers: the learning rate drops after 2/7 of the steps (40,000 of 140,000)."""
        p = self.parameters
        steps = int(p["steps"])
        return Schedule(
            steps=steps,
            batch_size=int(p["batch"]),
            learning_rate=float(p["learning_rate"]),
            drop_every=max(1, round(steps * 2 / 7)),
            weight_decay=float(p["weight_decay"]),
        )

    @property
    def classifier(self) -> dict[str, Any]:
        """All settings that affect a classifier, given its features."""
        p = self.parameters
        if self.streamed:
            return {
                "name": "sgd",
                **asdict(self.schedule),
                "normalization": p["normalization"],
                "validation": p["validation"],
            }
        return {"name": "logistic (L-BFGS, squared norm)", "strengths": p["strengths"], "validation": p["validation"]}

    @property
    def identity(self) -> dict[str, Any]:
        """All settings that affect the numbers of a model; controls do not."""
        p = self.parameters
        names = ("layers", "preprocessing", "dims", "pooling", "storage")
        return {**{name: p[name] for name in names}, "classifier": self.classifier, "standardized": "training part"}

    @property
    def strengths(self) -> list[float]:
        """Values of C."""
        return [float(text) for text in self.parameters["strengths"].split(",") if text.strip()]


@dataclass(frozen=True)
class Probes:
    """The probes of one network on one pair of datasets."""

    layers: Mapping[str, Fitted]
    dims: Mapping[str, int]


@dataclass(frozen=True)
class Probed:
    """All probes of a run; ``rows`` are the test images."""

    rows: Shard
    labels: np.ndarray
    """(n,) true classes of the test images."""
    classes: int
    training_counts: np.ndarray
    """(classes,) images."""
    model: Sequence[Probes]
    """One; for a model with random weights one per seed."""
    controls: Mapping[str, Sequence[Probes]]
    """Full name of the control -> one per seed."""
    pixels: Probes
    repeated: int
    """Number of test images that are also in the training set, by content."""
    notes: Sequence[str]
    seconds: Mapping[str, float]


def probe_all(
    context: ProtocolContext, choices: Choices, train: Dataset, test: Dataset, controls: Sequence[LoadedModel]
) -> Probed:
    """Extract features of the model, its controls and the lightness itself, then fit a classifier to each layer."""
    started = time.perf_counter()
    seeds = int(choices.parameters["seeds"])
    groups = {context.model.full_name: _draws(context.model, seeds)}
    notes = []
    for control in controls:
        groups[control.full_name] = _draws(control, seeds)
        own, other = context.model.card.parameters, control.card.parameters
        if own != other and own is not None:
            notes.append(f"{control.full_name} has {other} weights, the model {own}: not the same network")
    layers = choices.parameters["layers"]
    sources = [FeatureExtractor(PIXELS, {"source": "lightness"}, _lightness, "all")]
    sources += [_source(model, seed, layers, context) for group in groups.values() for seed, model in group]
    progress = ThroughputMeter(context.listener)
    stored = {
        role: read_features(sources, one, choices.cut, context.settings, context.cache, progress)
        for role, one in (("train", train), ("test", test))
    }
    stored["test"] = [one.without_copies() for one in stored["test"]]
    made = time.perf_counter()
    _check(stored["train"][0], stored["test"][0], train)
    fits = [
        _Fits(fitting, evaluated, choices, len(train.class_names or ()), context)
        for fitting, evaluated in zip(stored["train"], stored["test"], strict=True)
    ]
    context.listener.started(sum(len(one.missing()) for one in fits), "classifiers")
    progress = ThroughputMeter(context.listener)
    units = [unit for one in fits for unit in one.units(progress)]
    # Each of several processes starts at another unit.
    start = len(units) * context.settings.rank // context.settings.processes
    context.settings.claims.complete([*units[start:], *units[:start]], waiting=partial(progress.advance, 0))
    predictions = [one.probes() for one in fits]
    first = stored["test"][0]
    iterator = iter(predictions[1:])
    by_name = {name: [next(iterator) for _ in group] for name, group in groups.items()}
    return Probed(
        rows=first.rows,
        labels=first.labels,
        classes=len(train.class_names or ()),
        training_counts=np.bincount(stored["train"][0].labels, minlength=len(train.class_names or ())),
        model=by_name.pop(context.model.full_name),
        controls=by_name,
        pixels=predictions[0],
        repeated=len(set(first.rows.sha256s) & set(stored["train"][0].rows.sha256s)),
        notes=notes,
        seconds={"features": made - started, "classifiers": time.perf_counter() - made},
    )


def _draws(model: LoadedModel, seeds: int) -> list[tuple[int, LoadedModel]]:
    """Return (seed, model): the model itself and, if its weights are random, models with weights of other seeds."""
    found = [(0, model)]
    if isinstance(model.colorizer, RandomWeights):
        for seed in range(1, seeds):
            other = model.colorizer.redrawn(seed)
            if other is not None:
                values = {**vars(model), "colorizer": other}
                found.append((seed, LoadedModel(**values)))
    return found


def controls_of(model: LoadedModel, tags: str) -> list[LoadedModel]:
    """Return the controls of a probed model: the models of these tags that its class has."""
    wanted = [tag.strip() for tag in tags.split(",") if tag.strip()]
    name = model.full_name.partition("@")[0]
    if model.package is None or not wanted:
        return []
    base, own = split_tag(name)
    known = tags_of(model_factory(base))
    return [load_model(f"{base}.{tag}") for tag in wanted if tag in known and tag != own]


def _source(model: LoadedModel, seed: int, layers: str, context: ProtocolContext) -> FeatureExtractor:
    colorizer = model.colorizer
    if not isinstance(colorizer, HasFeatures):
        raise UserError(f"linear-probe needs a model with features, and {model.full_name} has none")
    identity = model_identity(model, context.fingerprint_of(model))
    model.to(context.settings.device)
    name = f"{model.full_name}-seed{seed}" if seed else model.full_name
    return FeatureExtractor(name, identity, partial(_maps, colorizer, context.settings.dtype), layers)


def _maps(colorizer: HasFeatures, dtype: torch.dtype, lightness: Tensor) -> dict[str, Tensor]:
    with evaluation_mode(colorizer), precision(lightness.device, dtype):
        return colorizer.features(in_fast_order(lightness))


def _lightness(lightness: Tensor) -> dict[str, Tensor]:
    return {PIXELS: lightness}


def _check(train: FeatureStore, test: FeatureStore, dataset: Dataset) -> None:
    """Refuse datasets with too many unreadable images."""
    classes = len(dataset.class_names or ())
    for role, one in (("train", train), ("test", test)):
        if not len(one.rows):
            first = f"the first: {one.rows.skipped[0][0]}: {one.rows.skipped[0][1]}" if one.rows.skipped else role
            raise InputError(f"none of the {role} images could be read", where=first, hint=READABLE)
    counts = np.bincount(train.labels, minlength=classes)
    if counts.min() < 2:
        name = (dataset.class_names or ())[int(counts.argmin())]
        what = f"only {counts.min()} training images of class {name!r} could be read, and two are needed"
        raise RunError(what, hint="fix the files, or remove the class from both datasets")


class _Fits:
    """The classifiers of one source, stored on disk one by one."""

    def __init__(
        self, train: FeatureStore, test: FeatureStore, choices: Choices, classes: int, context: ProtocolContext
    ) -> None:
        self.train, self.test, self.choices, self.classes = train, test, choices, classes
        self.say = context.listener.message
        self.seed, self.device = context.settings.seed, context.settings.device
        decides = {
            "train": train.key,
            "test": test.key,
            "labels": [train.labels.tolist(), test.labels.tolist()],
            "classifier": choices.classifier,
            "seed": self.seed,
            "code": [context.code[0], library_code()],
        }
        self.key = digest_of(decides)
        self.folder = context.cache / "probes" / self.key[:16]
        self.found: dict[str, Fitted] = {}
        self.validation = validation_part(train.labels, float(choices.parameters["validation"]), self.seed)

    def missing(self) -> list[str]:
        """Return the layers whose classifier is not stored yet; those that are found are kept."""
        for layer in self.train.layers:
            path = self.folder / f"{layer}.npz"
            if layer not in self.found and (fitted := _read(path, self.key, self.say)) is not None:
                self.found[layer] = fitted
        return [layer for layer in self.train.layers if layer not in self.found]

    def units(self, progress: ThroughputMeter) -> list[Unit]:
        """Return the units of work: one per layer; a streamed fit has all layers in one."""

        def fit(layers: list[str]) -> None:
            for layer, fitted in self._fitted(layers).items():
                _write(self.folder / f"{layer}.npz", fitted, self.key)
                progress.advance(1)

        if self.choices.streamed:
            return [Unit(self.folder, "all-layers", lambda: not self.missing(), lambda: fit(self.missing()))]
        return [
            Unit(self.folder, layer, partial(self._has, layer), partial(fit, [layer])) for layer in self.train.layers
        ]

    def _has(self, layer: str) -> bool:
        return layer in self.found or layer not in self.missing()

    def _fitted(self, layers: list[str]) -> dict[str, Fitted]:
        if not self.choices.streamed:
            return {layer: _logistic(self.train, self.test, layer, self.choices, self.validation) for layer in layers}
        return sgd(
            self.train,
            self.test,
            layers,
            labels=self.train.labels,
            classes=self.classes,
            validation=self.validation,
            schedule=self.choices.schedule,
            batch_norm=self.choices.parameters["normalization"] == "batch",
            device=self.device,
            seed=self.seed,
        )

    def probes(self) -> Probes:
        """Return the fitted classifiers, in the order of the layers."""
        return Probes({layer: self.found[layer] for layer in self.train.layers}, self.train.layers)


def _logistic(train: FeatureStore, test: FeatureStore, layer: str, choices: Choices, validation: np.ndarray) -> Fitted:
    matrix = train.matrix(layer)
    mean, deviation = moments(matrix)
    return logistic(
        standardized(matrix, mean, deviation),
        train.labels,
        standardized(test.matrix(layer), mean, deviation),
        strengths=choices.strengths,
        validation=validation,
    )


def _write(path: Path, fitted: Fitted, key: str) -> None:
    about = {
        "key": key,
        "validation_accuracy": fitted.validation_accuracy,
        "strength": fitted.strength,
        "tried": fitted.tried,
        "converged": fitted.converged,
    }
    parts = {"predictions": fitted.predictions, "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    write_checked(path, npz_bytes(parts))


def _read(path: Path, key: str, say: Callable[[str], None]) -> Fitted | None:
    """Read a stored classifier; None if it is missing or damaged, or has another key.

    Two keys may share a shortened folder name.
    """
    if (data := read_checked(path, say)) is None:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as parts:
        about = json.loads(parts["about"].tobytes())
        return Fitted(predictions=parts["predictions"], **about) if about.pop("key", None) == key else None
