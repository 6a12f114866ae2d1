"""Predictions that a scorer needs beside the usual one: several draws of a model, or predictions with revealed colors.

A scorer names its request as ``further``. The engine asks the model for it once per batch, in the thread that predicts,
and passes the predictions beside the usual one: ``Prediction.requested(request)``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorbench.errors import RunError
from colorbench.models.colorizer_interfaces import Colorizer, ColorizerInput, ColorPrediction, Guided, Samples
from colorbench.models.revealed_colors import RevealedColors, revealed_of


@dataclass(frozen=True)
class Draws:
    """Several colorizations of each image, each by a seed of its own.

    A model with the interface ``Samples`` draws them, and a stochastic one is asked once per seed. Of any other model
    its one prediction stands for all of them.
    """

    count: int

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Reveals:
    """Predictions of a model with the interface ``Guided``, for several numbers of revealed points.

    The points of an image are drawn by its content, so that they are the same for all models: those of a smaller
    number are the first of a larger one. Their colors are the true ones.
    """

    counts: tuple[int, ...]
    """Numbers of points; 0 is the usual prediction."""
    size: int = 1
    """Side in pixels of the square whose mean color is revealed."""
    seed: int = 0
    """Of the positions; not the seed of the run."""

    def __len__(self) -> int:
        return len(self.counts)


Request = Draws | Reveals


@dataclass(frozen=True)
class Told:
    """What a model is told for a request, of a batch of N images."""

    seeds: tuple[tuple[int, ...], ...] = ()
    """A seed per image for each draw."""
    revealed: RevealedColors | None = None
    """Of the largest number of points."""
    counts: tuple[int, ...] = ()
    """Numbers of points, without 0."""

    def selected(self, images: Sequence[int]) -> Told:
        """Return what is told of some images, in another order."""
        positions = [int(position) for position in images]
        revealed = None if self.revealed is None else self.revealed.selected(positions)
        return replace(self, seeds=tuple(tuple(draw[i] for i in positions) for draw in self.seeds), revealed=revealed)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays, for another process."""
        found = {"draws": np.array(self.seeds, dtype=np.int64), "counts": np.array(self.counts, dtype=np.int64)}
        if self.revealed is not None:
            found["positions"] = self.revealed.positions.cpu().numpy()
            found["revealed"] = self.revealed.ab.cpu().numpy()
            found["size"] = np.array([self.revealed.size])
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], device: torch.device) -> Told:
        """Return it from the arrays of ``arrays``."""
        revealed = None
        if "positions" in arrays:
            positions, ab = (torch.from_numpy(arrays[name]).to(device) for name in ("positions", "revealed"))
            revealed = RevealedColors(positions, ab, int(arrays["size"][0]))
        seeds = tuple(tuple(int(seed) for seed in draw) for draw in arrays["draws"])
        return cls(seeds, revealed, tuple(int(count) for count in arrays["counts"]))


def told_of(request: Request, contents: Sequence[str], ab: Tensor, run_seed: int) -> Told:
    """Return what a model is told for a request of further predictions.

    Args:
        request: what a scorer asks for.
        contents: sha256 of each image's file, or its id; seeds and positions follow from it.
        ab: (N, 2, H, W) true colors.
        run_seed: decides draws, and no positions.
    """
    if isinstance(request, Draws):
        return Told(tuple(tuple(seed_of(run_seed, one, j) for one in contents) for j in range(request.count)))
    height, width = ab.shape[-2:]
    largest = max(request.counts, default=0)
    points = [_positions(seed_of(request.seed, one), largest, height, width) for one in contents]
    revealed = revealed_of(ab, torch.stack(points), request.size)
    return Told(revealed=revealed, counts=tuple(count for count in request.counts if count > 0))


def ask_further(colorizer: Colorizer, inputs: ColorizerInput, told: Told) -> list[ColorPrediction]:
    """Ask a model for the further predictions that a request needs beside the usual one.

    Args:
        colorizer: the model.
        inputs: the batch.
        told: what it is told.

    Returns:
        One prediction a draw, or a positive number of points; none for draws of a deterministic model.

    Raises:
        ValueError: for a model that gives another number of draws.
    """
    if told.revealed is not None:
        assert isinstance(colorizer, Guided)
        return [
            colorizer.colorize_guided(_copied(inputs), told.revealed.first(count).copied()) for count in told.counts
        ]
    if isinstance(colorizer, Samples):
        drawn = list(colorizer.sample(_copied(inputs), told.seeds))
        if len(drawn) != len(told.seeds):
            raise ValueError(f"sample gave {len(drawn)} predictions for {len(told.seeds)} seeds")
        return drawn
    if colorizer.card.stochastic:
        return [colorizer.colorize_batch(replace(_copied(inputs), seeds=seeds)) for seeds in told.seeds]
    return []


def in_place(request: Request, usual: Any, further: Sequence[Any]) -> tuple[Any, ...]:
    """Return the prediction for each part of a request, from the usual one and from the further predictions.

    Raises:
        RunError: for another number of further predictions than ``ask_further`` gives.
    """
    if isinstance(request, Draws) and not further:
        return (usual,) * request.count
    new = (True,) * request.count if isinstance(request, Draws) else tuple(count > 0 for count in request.counts)
    if len(further) != sum(new):
        raise RunError(f"the model gave {len(further)} usable predictions beside the usual one, not {sum(new)}")
    rest = iter(further)
    return tuple(next(rest) if one else usual for one in new)


def seed_of(seed: int, content: str, draw: int | None = None) -> int:
    """Return the 63-bit seed of one image's prediction: the same in any batch, order, process and name.

    Args:
        seed: of the run.
        content: sha256 of the image's file; its id where that is not known.
        draw: number of one of several draws.
    """
    text = f"{seed}\0{content}" if draw is None else f"{seed}\0{content}\0{draw}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _positions(seed: int, count: int, height: int, width: int) -> Tensor:
    """Draw different pixels uniformly, in an order: (count, 2); all of them where an image has fewer."""
    pixels = height * width
    count = min(count, pixels)
    # The bits of a bit generator never change between versions of numpy, and the choices of its Generator may.
    keys = np.random.PCG64(seed).random_raw(pixels)
    smallest = np.argpartition(keys, count - 1)[:count] if 0 < count < pixels else np.arange(pixels)[: count or 0]
    chosen = smallest[np.argsort(keys[smallest], kind="stable")]
    return torch.from_numpy(np.stack([chosen // width, chosen % width], axis=1).astype(np.int64))


def _copied(inputs: ColorizerInput) -> ColorizerInput:
    # A model that writes into its input must not change what the next call is given.
    return replace(inputs, lightness=inputs.lightness.clone())
