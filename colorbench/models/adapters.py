"""Adapters that give the long interface to models that have the short one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from colorbench.models.card import ModelCard
from colorbench.models.interfaces import FORWARDED, Colorizer, ColorizerInput, ColorPrediction


class SimpleColorizerAdapter:
    """A SimpleColorizer made to look like a Colorizer, with all capabilities that it has."""

    def __init__(self, model: Any, colorize: Callable[[Tensor], Tensor] | None = None) -> None:
        """Wrap a model; ``colorize`` is given where the method has another name, such as a network's ``forward``."""
        self.model: Any = model
        self.card: ModelCard = model.card
        self._colorize = colorize
        # On the instance, each only where the model has it: ``isinstance`` looks for the attribute.
        for name in FORWARDED:
            if callable(method := getattr(model, name, None)):
                setattr(self, name, method)
        if callable(getattr(model, "redrawn", None)):
            self.redrawn = self._redrawn

    @property
    def decoding(self) -> Mapping[str, object]:
        """The model's own, where it predicts a distribution."""
        return getattr(self.model, "decoding", None) or {}

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Predict by the short form; the engine checks shape and values."""
        colorize = self.model.colorize if self._colorize is None else self._colorize
        return ColorPrediction(ab=colorize(inputs.lightness))

    def _redrawn(self, seed: int) -> Colorizer | None:
        other = self.model.redrawn(seed)
        return other if other is None or hasattr(other, "colorize_batch") else SimpleColorizerAdapter(other)
