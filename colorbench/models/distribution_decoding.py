"""Choice of the decoding (method and temperature) of models that predict a color distribution."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

from colorbench.color import Decoding
from colorbench.errors import UserError, describe
from colorbench.models import model_names
from colorbench.models.adapters import as_colorizer
from colorbench.models.foreign_code import one_line
from colorbench.models.loaded_model import LoadedModel


def with_decoding(loaded: LoadedModel, decode: str | None, temperature: float | None) -> LoadedModel:
    """Return the model with the requested decoding of its color distribution.

    The decoding is recorded, and is part of the name unless it is the default.

    Raises:
        UserError: for a model without decoding, an unknown method, or a temperature that is not positive or not used.
    """
    usual = _decoding(loaded)
    if decode is None and temperature is None:
        loaded.decoding = usual
        return loaded
    colorizer: Any = loaded.colorizer
    if not callable(getattr(colorizer, "with_decoding", None)):
        what = f"{loaded.full_name} predicts no distribution, so it has no decoding to choose"
        raise UserError(what, hint="remove decode and temperature")
    if decode is not None and decode not in get_args(Decoding):
        raise UserError(f"unknown decoding {decode!r}", hint=f"choose from {', '.join(get_args(Decoding))}")
    if temperature is not None and not 0 < temperature < float("inf"):
        raise UserError(f"the temperature must be positive, got {temperature}", hint="the paper uses 0.38")
    with one_line(f"{loaded.full_name} cannot be decoded like this"):
        other = colorizer.with_decoding(decode, temperature)
    changed = replace(loaded, colorizer=as_colorizer(other, loaded.full_name))
    decoding = _decoding(changed)
    if temperature is not None and "temperature" not in decoding:
        what = f"decode={decoding.get('decode', decode)} has no temperature"
        raise UserError(what, hint="remove the temperature, or use decode=annealed-mean")
    name = loaded.undecoded_name or loaded.full_name
    first = loaded.usual_decoding if loaded.usual_decoding is not None else usual
    return replace(
        changed,
        full_name=model_names.with_decoding(name, decoding, first),
        decoding=decoding,
        undecoded_name=name,
        usual_decoding=first,
    )


def _decoding(loaded: LoadedModel) -> dict[str, Any]:
    """Return the decoding of a model.

    Raises:
        UserError: for values that no record can hold.
    """
    with one_line(f"{loaded.full_name} does not report its decoding"):
        decoding = dict(getattr(loaded.colorizer, "decoding", None) or loaded.decoding)
    try:
        json.dumps(decoding, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        what = f"the decoding of {loaded.full_name} cannot be stored: {describe(error)}"
        raise UserError(what, hint="use finite numbers and text") from error
    return decoding
