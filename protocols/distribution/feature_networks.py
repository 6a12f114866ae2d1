"""Networks whose features are compared: timm's classifiers and Inception v3."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from colorbench.errors import UserError
from colorbench.models import Classifier, load_classifier
from protocols.distribution.inception import INCEPTIONS, load_inception


class Backend(Protocol):
    """Interface of a network that computes features of 8-bit images."""

    @property
    def name(self) -> str:
        """Short name, without the layer."""
        ...

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights file."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the features, as plain data."""
        ...

    @property
    def key(self) -> str:
        """Hash of the identity."""
        ...

    @property
    def shown(self) -> str:
        """Description of the resizing and the range of values of the input."""
        ...

    def features(self, rgb8: Tensor) -> Tensor:
        """Compute features, (N, 3, h, w) uint8 -> (N, d) float32 on the same device, each image separately."""
        ...


@dataclass(frozen=True)
class TimmBackend:
    """A classifier of timm as a backend."""

    classifier: Classifier
    layer: str

    @property
    def name(self) -> str:
        """Name of the classifier."""
        return self.classifier.name

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights file."""
        return self.classifier.weights_sha256

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of the classifier, with the layer."""
        return {**self.classifier.identity, "layer": self.layer}

    @cached_property
    def key(self) -> str:
        """Hash of the identity."""
        return _hash_of(self.identity)

    @property
    def shown(self) -> str:
        """Description of resizing and range of values."""
        how = self.classifier.preprocessing
        low, high = ((value - how.mean[0]) / how.std[0] for value in (0, 1))
        resize = how.interpolation if how.crop == "none" else f"{how.interpolation} and center crop"
        return f"{resize} {how.size[0]}, range {low:.3g}..{high:.3g}"

    def features(self, rgb8: Tensor) -> Tensor:
        """Compute features, (N, 3, h, w) uint8 -> (N, d) float32."""
        return self.classifier.features(rgb8, self.layer)


def load_backend(name: str, layer: str, resize: str, value_range: str) -> Backend:
    """Load a feature network by name.

    Args:
        name: ``inception``, ``inception-torchvision``, or a classifier as for ``load_classifier``; each also as
            ``NAME:FILE``.
        layer: ``pool`` or the name of a module.
        resize: ``own``, or another way that the network supports.
        value_range: ``own``, or another range that the network supports.

    Raises:
        UserError: for an unknown name, layer, resize or range, or unavailable weights.
        RunError: for a download that fails.
    """
    kind = name.partition(":")[0]
    if kind in INCEPTIONS:
        return load_inception(name, layer, resize, value_range)
    if resize not in ("own", "timm"):
        raise UserError(f"distribution.resize cannot be {resize!r} with {kind}", hint="choose own or timm")
    if value_range != "own":
        raise UserError(f"distribution.range cannot be {value_range!r} with {kind}", hint="leave it at own")
    classifier = load_classifier(name, crop="timm" if resize == "timm" else "none")
    classifier.check_layer(layer)
    return TimmBackend(classifier, layer)


def _hash_of(identity: dict[str, Any]) -> str:
    """Return the first 16 digits of the sha256 of plain data."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
