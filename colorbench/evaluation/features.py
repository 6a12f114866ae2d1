"""Features of images, made once: cached by content, resumable, read from disk without touching the images.

    <cache>/contents/<names, sizes, times>.json       sha256 of every file, so that no file is read twice to know it
    <cache>/features/<model>/<key>/conv3.float32 ...  (n, dims) in the order of the samples, and ``index.json``

The key follows from the model's fingerprint, the preprocessing, how maps are made smaller, and the contents of the
files: the same images in another place, or touched, have the same features. While they are made, ``done/`` is the
ledger of finished shards; a killed run goes on after the last of them. Several sources (five draws of an untrained
network, say) share one decoding.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from colorbench.errors import UserError
from colorbench.models import LoadedModel, library_code
from colorbench.models.fingerprint import ModelFingerprint, model_fingerprint


def modules_of(colorizer: object) -> dict[str, nn.Module]:
    """Return the networks of a colorizer: itself, or its attributes, by name."""
    if isinstance(colorizer, nn.Module):
        return {"": colorizer}
    inner = getattr(colorizer, "model", None)  # the short form, wrapped
    found = {name: value for name, value in vars(colorizer).items() if isinstance(value, nn.Module)}
    return found or ({} if inner is None else modules_of(inner))


def model_identity(model: LoadedModel, fingerprint: ModelFingerprint | None = None) -> dict[str, Any]:
    """Return what decides a model's features: all that it holds, its code, and colorbench's.

    Args:
        model: before it is cast to another dtype.
        fingerprint: of it, where it was made already.
    """
    found = fingerprint or model_fingerprint(model)
    return {
        "weights": found.weights,
        "code": found.code,
        "colorbench": library_code(),
        # What cannot be compared is never read back.
        **({} if found.reusable else {"once": uuid4().hex}),
    }


PoolingMethod = Literal["average", "bilinear"]
Maps = Callable[[Tensor], Mapping[str, Tensor]]
DTYPES: Mapping[str, Any] = {"float16": np.float16, "float32": np.float32}


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
    """What decides the features: see ``contents.model_identity``."""
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


class _Chosen:
    """Some rows of a matrix on disk; only those that are asked for are read."""

    def __init__(self, full: np.ndarray, positions: np.ndarray) -> None:
        self.full, self.positions, self.shape = full, positions, (len(positions), full.shape[1])

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: Any) -> np.ndarray:
        found: np.ndarray = self.full[self.positions[rows]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.full[self.positions], dtype)


def chosen_layers(names: Sequence[str], layers: str) -> list[str]:
    """Return the layers of a model that are asked for, in the model's order.

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
        raise UserError(f"no layer is called {unknown[0]!r}", hint=f"choose blocks, all, or of {', '.join(names)}")
    if not wanted:
        raise UserError("no layer was chosen", hint=f"choose blocks, all, or of {', '.join(names)}")
    return [name for name in names if name in wanted]


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty where it is damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
