"""Networks whose features are compared, with everything that decides them."""

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
    """From 8-bit images to features."""

    @property
    def name(self) -> str:
        """A short name, without the layer."""
        ...

    @property
    def weights_sha256(self) -> str:
        """Of the weights file."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the features, as plain data."""
        ...

    @property
    def key(self) -> str:
        """Hash of the identity."""
        ...

    @property
    def shown(self) -> str:
        """How an image is resized, and in which range of values it is given to the network."""
        ...

    def features(self, rgb8: Tensor) -> Tensor:
        """(N, 3, h, w) uint8 -> (N, d) float32 on the same device; each image by itself."""
        ...


@dataclass(frozen=True)
class TimmBackend:
    """A classifier of timm's."""

    classifier: Classifier
    layer: str

    @property
    def name(self) -> str:
        """The classifier's."""
        return self.classifier.name

    @property
    def weights_sha256(self) -> str:
        """Of the weights file."""
        return self.classifier.weights_sha256

    @property
    def identity(self) -> dict[str, Any]:
        """The classifier's, with the layer."""
        return {**self.classifier.identity, "layer": self.layer}

    @cached_property
    def key(self) -> str:
        """Hash of the identity."""
        return hash_of(self.identity)

    @property
    def shown(self) -> str:
        """Resize and range."""
        how = self.classifier.preprocessing
        low, high = ((value - how.mean[0]) / how.std[0] for value in (0, 1))
        resize = how.interpolation if how.crop == "none" else f"{how.interpolation} and center crop"
        return f"{resize} {how.size[0]}, range {low:.3g}..{high:.3g}"

    def features(self, rgb8: Tensor) -> Tensor:
        """(N, 3, h, w) uint8 -> (N, d) float32."""
        return self.classifier.features(rgb8, self.layer)


def load_backend(name: str, layer: str, resize: str, value_range: str) -> Backend:
    """Load a network by name.

    Args:
        name: ``inception`` or ``inception-torchvision``, or a classifier as ``load_classifier`` takes it; each also
            as ``NAME:FILE``.
        layer: ``pool`` or the name of a module.
        resize: ``own`` or one that fits the network.
        value_range: ``own`` or one that fits the network.

    Raises:
        UserError: for an unknown name, layer, resize or range, and for weights that cannot be had.
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


def hash_of(identity: dict[str, Any]) -> str:
    """First 16 digits of the sha256 of plain data."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
