"""``DistributionProtocol`` and its scorer: parameters, stored features of every image, and distances of the sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import BatchScores, Derived, GroundTruth, Prediction, ProtocolSpec, Summary
from colorbench.metrics import frechet_distance, kernel_distance, moments, paired_kernel_distance
from colorbench.models import PACKAGED_CLASSIFIER, ImageFolderModel, LoadedModel
from colorbench.results import MetricSpec, Record
from protocols.distribution.distribution_metrics import FLOOR, FRECHET, KID, KID_PAIRED, SCALE
from protocols.distribution.distribution_presets import PRESETS
from protocols.distribution.feature_networks import Backend, load_backend
from protocols.distribution.reference_set import SAME, ReferenceSet, open_reference
from protocols.mean_curves import mean_columns

ENOUGH = 5
"""Number of images per feature from which a Fréchet distance is reported. With fewer, it does not even order models:
with 320 features, gray and cic.small had 271 and 274 on 100 images, 164 and 144 on 650."""


class DistributionProtocol:
    """The ``distribution`` protocol: distances between sets of features, in the engine's pass."""

    spec = ProtocolSpec(
        name="distribution",
        version=1,
        title="Distribution of colors in feature space (KID, FID)",
        parameters={
            "preprocessing": "squash224",
            "backend": PACKAGED_CLASSIFIER,
            "layer": "pool",
            "resize": "own",
            "range": "own",
            "reference": SAME,
            "allow_biased": "no",
            "lossy": "refuse",
        },
        metrics=(KID_PAIRED, KID, FRECHET, FLOOR),
        category="Distribution",
        headline=KID_PAIRED.name,
        headline_reason="it has an interval and does not depend on the number of images, as a Fréchet distance (FID) "
        "does",
        presets={f"distribution@{name}": preset.parameters for name, preset in PRESETS.items()},
        preset_sources={name: preset.source for name, preset in PRESETS.items()},
        choices={"allow_biased": ("no", "yes"), "lossy": ("refuse", "allow")},
        networks={"backend": (PACKAGED_CLASSIFIER, "tf_efficientnet_lite1", "tf_efficientnet_lite2", "resnet50")},
        keywords={"reference": (SAME,)},
        parameter_help={
            "preprocessing": "from file to evaluated pixels: squash224, center256, native",
            "backend": f"network whose features are compared: {PACKAGED_CLASSIFIER} (no download), "
            "tf_efficientnet_lite1 or _lite2 (extra classifiers), another of timm's, NAME:FILE, inception (extra fid; "
            "the weights of FID) or inception-torchvision, each also with :FILE",
            "layer": "pool (input of the last layer), or the name of a module, averaged over space (blocks.4)",
            "resize": "resizing to the network's size: own; timm (timm's evaluation); for Inception tf (TensorFlow's "
            "bilinear), bilinear (without antialias, pytorch-fid) or clean (Pillow's bicubic, clean-fid)",
            "range": "input range of inception-torchvision: own (-1..1), or the wrong ranges of published code: "
            "ct2, ddcolor",
            "reference": f"{SAME} (the true colors of the same images) or a dataset of other images",
            "allow_biased": f"yes: give a Fréchet distance below {ENOUGH} images per feature, where it depends "
            "more on the number of images than on the model",
            "lossy": "refuse stored predictions in lossy formats (JPEG and the like), or allow them",
        },
    )

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> DistributionScorer:
        """Return a scorer for these parameters.

        Raises:
            UserError: for an unknown parameter, value, backend, layer or dataset, or unavailable weights.
        """
        chosen = self.spec.resolved(parameters)
        backend = load_backend(chosen["backend"], chosen["layer"], chosen["resize"], chosen["range"])
        reference = open_reference(chosen["reference"], chosen["preprocessing"], backend)
        return DistributionScorer(chosen, backend, reference)


@dataclass(frozen=True)
class DistributionScorer:
    """The protocol with its parameters resolved."""

    parameters: Mapping[str, str]
    backend: Backend
    reference: ReferenceSet | None
    """None for the true colors of the same images."""

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing."""
        return self.parameters["preprocessing"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parameters, with the content of weights and reference in place of their names."""
        reference = SAME if self.reference is None else self.reference.identity
        return {**self.parameters, "backend": self.backend.identity, "reference": reference}

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The kernel distance for the reference, and the Fréchet distance with its floor, by backend."""
        paired = self.reference is None
        beside = f"{self.backend.name} {self.parameters['layer']}"
        chosen = (KID_PAIRED if paired else KID, FRECHET, *((FLOOR,) if paired else ()))
        return tuple(replace(metric, title=f"{metric.title} ({beside})") for metric in chosen)

    def check_model(self, model: LoadedModel) -> None:
        """Raise for lossily stored predictions, unless allowed by a parameter.

        Raises:
            UserError: with their number and the first.
        """
        if self.parameters["lossy"] == "allow" or not isinstance(model.colorizer, ImageFolderModel):
            return
        lossy = [id for id, header in model.colorizer.headers.items() if header.lossy]
        if lossy:
            what = f"{len(lossy)} of {len(model.colorizer.headers)} predictions are stored lossily (JPEG and the like)"
            hint = "store PNG: JPEG 95 of the truth lies farther from it than half of its color; or give "
            raise UserError(what, where=lossy[0], hint=f"{hint}--param distribution.lossy=allow")

    def score(self, colorization: Prediction) -> BatchScores:
        """Compute the features of each image separately, so that they do not depend on the batch."""
        truth, rendered = colorization.truth, colorization.rgb8
        if self.reference is not None:
            return BatchScores({}, {"features": _array(self.backend.features(rendered))})
        of_truth = self._of_truth(truth)
        same = rendered is truth.rgb8 or bool((rendered == truth.rgb8).all())
        features = of_truth if same else _array(self.backend.features(rendered))
        return BatchScores({}, {"features": features, "features_of_truth": of_truth})

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return the distances between the sets as statistics per image."""
        if "features" not in arrays or len(arrays["features"]) == 0:
            return Summary()
        features = arrays["features"]
        n, d = features.shape
        reference = arrays["features_of_truth"] if self.reference is None else self.reference.features()
        if self.reference is None:
            name, values = KID_PAIRED.name, paired_kernel_distance(features, reference)
        else:
            name, values = KID.name, kernel_distance(features, reference)
        statistics = mean_columns(name, SCALE * values)
        notes = [f"{name}, full name (only values of the same name are comparable): {self.name(n)}"]
        smaller = min(n, len(reference))
        enough = smaller >= ENOUGH * d
        distance, floor = np.nan, np.nan
        if n >= 2 and (enough or self.parameters["allow_biased"] == "yes"):
            distance = frechet_distance(moments(features), moments(reference))
            if self.reference is None and n >= 4:
                floor = frechet_distance(moments(reference[0::2]), moments(reference[1::2]))
        statistics |= _of_the_set(FRECHET.name, distance, n)
        if self.reference is None:
            statistics |= _of_the_set(FLOOR.name, floor, n)
        notes += _frechet_notes(smaller, d, distance, floor, enough=enough)
        return Summary(notes=tuple(notes), statistics=statistics)

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Return nothing: all values that depend on the features are statistics of ``summarize``."""
        features, n = arrays["features"], record.dataset.n_evaluated
        if features.ndim != 2 or len(features) != n or not np.isfinite(features).all():
            raise ValueError(f"features of {n} images are expected, all of them numbers")
        return Derived()

    def name(self, n: int) -> str:
        """Return a line that identifies the distance; distances with different lines are not comparable."""
        reference = SAME if self.reference is None else self.reference.name
        return (
            f"{self.backend.name}[weights {self.backend.weights_sha256[:8]}, layer {self.parameters['layer']}, "
            f"{self.backend.shown}, {self.preprocessing}, reference {reference}, n {n}]"
        )

    def _of_truth(self, truth: GroundTruth) -> np.ndarray:
        key = f"distribution {self.backend.key}"
        return _array(truth.shared(key, lambda: self.backend.features(truth.rgb8).cpu()))


def _array(features: Tensor) -> np.ndarray:
    return features.float().cpu().numpy()


def _of_the_set(name: str, value: float, n: int) -> dict[str, np.ndarray]:
    """Return a value of the whole set as columns: every row has the same value, and none has a score of its own."""
    return {f"{name}.s0": np.full(n, value), f"{name}.s1": np.full(n, np.nan if np.isnan(value) else 1.0)}


def _frechet_notes(n: int, d: int, distance: float, floor: float, *, enough: bool) -> list[str]:
    if np.isnan(distance):
        needed = f"{ENOUGH} images per feature, {ENOUGH * d} for {d} features, and there are {n}"
        hint = "--param distribution.allow_biased=yes gives it anyway"
        return [f"no Fréchet distance (FID): it needs {needed} ({hint})"]
    half = "" if np.isnan(floor) else f"; two halves of the ground truth ({n // 2} images each) are {floor:.4g} apart"
    biased = "" if enough else " and is biased: it is valid for this number of images only"
    return [f"Fréchet distance of {n} images and {d} features{biased}{half}"]
