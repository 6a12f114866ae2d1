"""Models that draw several colorizations, or take revealed colors, each with one fault."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from colorbench.models import ColorizerInput, ColorPrediction, RevealedColors
from colorbench.testing import FakeColorizer

Seeds = Sequence[tuple[int, ...]]


class _Samples(FakeColorizer):
    """Draws rightly; subclasses do one thing otherwise."""

    def shifts(self, inputs: ColorizerInput, draw: tuple[int, ...], number: int) -> Tensor:
        """(N, 2, 1, 1) of one draw."""
        return torch.stack([self.shift(seed) for seed in draw])

    def shift(self, seed: int) -> Tensor:
        return 15 * torch.randn(2, 1, 1, generator=torch.Generator().manual_seed(seed))

    def sample(self, inputs: ColorizerInput, seeds: Seeds) -> list[ColorPrediction]:
        ab = self.colorize(inputs.lightness)
        return [ColorPrediction(ab=ab + self.shifts(inputs, draw, number)) for number, draw in enumerate(seeds)]


class SameForAllSeeds(_Samples):
    def shift(self, seed: int) -> Tensor:
        return torch.zeros(2, 1, 1)


class ByTheProcess(_Samples):
    """Draws by what nothing seeds."""

    def shift(self, seed: int) -> Tensor:
        return super().shift(secrets.randbits(40))


class ByTheFirst(_Samples):
    """One draw for the whole batch."""

    def shifts(self, inputs: ColorizerInput, draw: tuple[int, ...], number: int) -> Tensor:
        return self.shift(draw[0]).expand(len(draw), 2, 1, 1)


class ByItsNumber(_Samples):
    """The first draw is another than the others."""

    def shifts(self, inputs: ColorizerInput, draw: tuple[int, ...], number: int) -> Tensor:
        return super().shifts(inputs, draw, number) + 5 * number


class ByTheInputs(_Samples):
    """Draws by the seeds of the inputs, too."""

    def shifts(self, inputs: ColorizerInput, draw: tuple[int, ...], number: int) -> Tensor:
        return torch.stack([self.shift(one ^ own) for one, own in zip(draw, inputs.seeds, strict=True)])


class ByIdWhenSampled(_Samples):
    def shifts(self, inputs: ColorizerInput, draw: tuple[int, ...], number: int) -> Tensor:
        named = [self.shift(sum(map(ord, id))) for id in inputs.ids]
        return super().shifts(inputs, draw, number) + torch.stack(named)


class TooFew(_Samples):
    def sample(self, inputs: ColorizerInput, seeds: Seeds) -> list[ColorPrediction]:
        return super().sample(inputs, seeds)[1:]


class QuarterSize(_Samples):
    def sample(self, inputs: ColorizerInput, seeds: Seeds) -> list[ColorPrediction]:
        found = [one.ab for one in super().sample(inputs, seeds)]
        return [ColorPrediction(ab=ab[..., ::4, ::4]) for ab in found if ab is not None]


class _Guided(FakeColorizer):
    """Takes hints rightly; subclasses do one thing otherwise."""


class Ignores(_Guided):
    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        return ColorPrediction(ab=self.colorize(inputs.lightness))


class OtherWithoutHints(_Guided):
    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        given = super().colorize_guided(inputs, revealed).ab
        assert given is not None
        return ColorPrediction(ab=given + 1)


class MeanOfTheBatch(_Guided):
    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        given = super().colorize_guided(inputs, revealed).ab
        assert given is not None
        shared = revealed.ab.mean(dim=(0, 1)).view(1, 2, 1, 1) if revealed.count else 0.0
        return ColorPrediction(ab=given + shared)


class ByIdWhenGuided(_Guided):
    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        given = super().colorize_guided(inputs, revealed).ab
        assert given is not None
        if revealed.count == 0:
            return ColorPrediction(ab=given)
        named = torch.tensor([float(sum(map(ord, id)) % 50) for id in inputs.ids])
        return ColorPrediction(ab=given + named.view(-1, 1, 1, 1))


class OnlySquares(_Guided):
    """Fails at a size that is not a square."""

    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        if inputs.lightness.shape[2] != inputs.lightness.shape[3]:
            raise ValueError("not a square")
        return super().colorize_guided(inputs, revealed)


BROKEN_SAMPLES_AND_GUIDANCE: list[tuple[str, Any]] = [
    *(("samples", kind()) for kind in (SameForAllSeeds, ByTheFirst, ByItsNumber, ByTheInputs, ByIdWhenSampled)),
    *(("samples", kind()) for kind in (ByTheProcess, TooFew, QuarterSize)),
    *(("guided", kind()) for kind in (Ignores, OtherWithoutHints, MeanOfTheBatch, ByIdWhenGuided, OnlySquares)),
]
