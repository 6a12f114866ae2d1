"""Feature extraction from the layers of a model: choice of layers and pooling of their maps to vectors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from colorbench.errors import UserError


def modules_of(colorizer: object) -> dict[str, nn.Module]:
    """Return the networks of a colorizer whose layers give features, by name: itself, or its attributes."""
    if isinstance(colorizer, nn.Module):
        return {"": colorizer}
    inner = getattr(colorizer, "model", None)  # an adapter around the short form
    found = {name: value for name, value in vars(colorizer).items() if isinstance(value, nn.Module)}
    return found or ({} if inner is None else modules_of(inner))


PoolingMethod = Literal["average", "bilinear"]
Maps = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Pooling:
    """Pooling of a feature map to a vector."""

    dims: int = 9000
    """Approximate length of the vector."""
    pooling: PoolingMethod = "average"
    """``average``: means over equal areas (the ECCV paper); ``bilinear``: interpolation (the released code)."""

    def side(self, channels: int, height: int, width: int) -> int:
        """Return the side of the pooled square for which the number of features is nearest to ``dims``.

        It is at most the side of the map.
        """
        wanted = math.sqrt(self.dims / channels)
        sides = sorted({max(1, math.floor(wanted)), max(1, math.ceil(wanted))})
        best = min(sides, key=lambda side: abs(channels * side**2 - self.dims))
        return min(best, height, width)

    def apply(self, maps: Tensor) -> Tensor:
        """Pool maps: (N, C, h, w) -> (N, C * side * side) float32."""
        n, channels, height, width = maps.shape
        side = self.side(channels, height, width)
        maps = maps.float()
        if (height, width) != (side, side):
            if self.pooling == "average":
                maps = adaptive_avg_pool2d(maps, side)
            else:
                # Corners are aligned, as in the Interp layer of the released code.
                maps = interpolate(maps, (side, side), mode="bilinear", align_corners=True)
        return maps.reshape(n, -1)


@dataclass(frozen=True)
class FeatureExtractor:
    """A source of features: a name, an identity for the cache, and a function that computes feature maps."""

    name: str
    """Readable name of the folder."""
    identity: Mapping[str, Any]
    """Everything that determines the features; see ``model_identity``."""
    maps: Maps
    """(N, 1, H, W) lightness -> layer -> (N, C, h, w)."""
    layers: str = "blocks"
    """``blocks``, ``all``, or names after commas."""


@dataclass(frozen=True)
class FeatureSpec:
    """Preprocessing and pooling, common to all sources."""

    preprocessing: str
    shrinking: Pooling
    storage: str = "float32"


def chosen_layers(names: Sequence[str], layers: str) -> list[str]:
    """Return the requested layers of a model for features, in the model's order.

    Blocks are the layers that are not within a block: of ``conv3_1``, ``conv3_2`` and ``conv3``, it is ``conv3``.

    Raises:
        UserError: for a name that the model does not have.
    """
    if layers == "all":
        return list(names)
    if layers == "blocks":
        within = {name for name in names if re.sub(r"_\d+$", "", name) in set(names) - {name}}
        return [name for name in names if name not in within]
    wanted = [name.strip() for name in layers.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in names]:
        raise UserError(f"unknown layer {unknown[0]!r}", hint=f"choose blocks, all, or of {', '.join(names)}")
    if not wanted:
        raise UserError("no layer was chosen", hint=f"choose blocks, all, or of {', '.join(names)}")
    return [name for name in names if name in wanted]
