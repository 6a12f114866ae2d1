"""Adapters from the short model interface (``colorize``) to the long one (``colorize_batch``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from colorbench.errors import UserError
from colorbench.models.colorizer_interfaces import FORWARDED, Colorizer, ColorizerInput, ColorPrediction
from colorbench.models.foreign_code import one_line
from colorbench.models.model_card import ModelCard


class SimpleColorizerAdapter:
    """Adapter that makes a SimpleColorizer a Colorizer and forwards its capabilities."""

    def __init__(self, model: Any, colorize: Callable[[Tensor], Tensor] | None = None) -> None:
        """Wrap a model; ``colorize`` is given if the method has another name, such as a network's ``forward``."""
        self.model: Any = model
        self.card: ModelCard = model.card
        self._colorize = colorize
        # Set on the instance, only for methods that the model has: ``isinstance`` checks for the attribute.
        for name in FORWARDED:
            if callable(method := getattr(model, name, None)):
                setattr(self, name, method)
        if callable(getattr(model, "redrawn", None)):
            self.redrawn = self._redrawn

    @property
    def thread_safe(self) -> bool:
        """Whether several threads may call the model at once."""
        return getattr(self.model, "thread_safe", False) is True

    @property
    def decoding(self) -> Mapping[str, object]:
        """Decoding of the model, if it predicts a distribution."""
        return getattr(self.model, "decoding", None) or {}

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Predict a batch by the model's short form; the engine checks shape and values."""
        colorize = self.model.colorize if self._colorize is None else self._colorize
        return ColorPrediction(ab=colorize(inputs.lightness))

    def _redrawn(self, seed: int) -> Colorizer | None:
        other = self.model.redrawn(seed)
        return other if other is None or hasattr(other, "colorize_batch") else SimpleColorizerAdapter(other)


def as_colorizer(model: Any, name: str) -> Colorizer:
    """Check a plugin's model and return it as a Colorizer, wrapped if it has the short form.

    Raises:
        UserError: naming the model and what it lacks.
    """
    hint = (
        'add card = ModelCard(title="...") (from colorbench.models) to its class; a model also has a method colorize, '
        "colorize_batch or forward: see docs/python.md"
    )
    with one_line(f"{name} has no card", hint=hint):
        card = getattr(model, "card", None)
    if card is None:
        raise UserError(f"{name} has no card", hint=hint)
    if not isinstance(card, ModelCard):
        what = f"the card of {name} is a {type(card).__name__}, not a ModelCard"
        raise UserError(what, hint="write card = ModelCard(title=...), from colorbench.models")
    if (trouble := card.not_storable()) is not None:
        raise UserError(f"the card of {name} cannot be stored: {trouble}", hint="use finite numbers and text")
    if callable(getattr(model, "colorize_batch", None)):
        return model  # type: ignore[no-any-return]
    if callable(getattr(model, "colorize", None)):
        return SimpleColorizerAdapter(model)
    if isinstance(model, nn.Module):
        return SimpleColorizerAdapter(model, model)
    raise UserError(f"{name} has neither colorize nor colorize_batch", hint=hint)
