"""Layers of a model, and how their maps become rows of numbers."""

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
    """Return the networks of a colorizer: itself, or its attributes, by name."""
    if isinstance(colorizer, nn.Module):
        return {"": colorizer}
    inner = getattr(colorizer, "model", None)  # the short form, wrapped
    found = {name: value for name, value in vars(colorizer).items() if isinstance(value, nn.Module)}
    return found or ({} if inner is None else modules_of(inner))


PoolingMethod = Literal["average", "bilinear"]
Maps = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Pooling:
    """How a map becomes a row of numbers."""

    dims: int = 9000
    """About how many."""
    pooling: PoolingMethod = "average"
    """``average``: means over equal areas (the ECCV paper); ``bilinear``: interpolated (the released code)."""

    def side(self, channels: int, height: int, width: int) -> int:
        """Return the side of the square that gives the number of dims nearest to the wanted.

        Never more than the map has.
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
                # The corners of both grids coincide, as in the released code's Interp layer.
                maps = interpolate(maps, (side, side), mode="bilinear", align_corners=True)
        return maps.reshape(n, -1)


@dataclass(frozen=True)
class FeatureExtractor:
    """Something that has features."""

    name: str
    """Of the folder, for people."""
    identity: Mapping[str, Any]
    """What decides the features: see ``model_identity``."""
    maps: Maps
    """(N, 1, H, W) lightness -> layer -> (N, C, h, w)."""
    layers: str = "blocks"
    """``blocks``, ``all``, or names after commas."""


@dataclass(frozen=True)
class FeatureSpec:
    """What is cut out of every source, the same for all."""

    preprocessing: str
    shrinking: Pooling
    storage: str = "float32"


def chosen_layers(names: Sequence[str], layers: str) -> list[str]:
    """Return the requested layers of a model, in the model's order.

    A block is what is no layer *within* a block: of ``conv3_1``, ``conv3_2`` and ``conv3`` it is ``conv3``.

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
