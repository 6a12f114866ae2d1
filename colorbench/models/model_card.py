"""The card of a model: who made it, from what, and what kind of row it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from colorbench.errors import first_problem

Role = Literal["competitor", "baseline", "reference"]


class ModelCard(BaseModel):
    """What is known about a model. Only ``title`` must be given."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str
    """One line: what the model is."""
    role: Role = "competitor"
    """competitor, baseline (gray, constant, random, mean) or reference (shown the truth)."""
    paper: str | None = None
    """Citation or address."""
    license: str | None = None
    """License of code and weights."""
    stochastic: bool = False
    """Whether the prediction depends on the seed."""
    working_size: int | None = None
    """Side in pixels that the model resizes to inside; none: it works at the size that it is given."""
    settings: dict[str, float] = Field(default_factory=dict)
    """Numbers that the code needs to rebuild the model from its weights (width of a network)."""
    parameters: int | None = None
    """Number of weights."""
    weights_sha256: str | None = None
    """Hash of the weights file."""
    training_data: str | None = None
    """What it was trained on, in words."""
    training_hashes: str | None = None
    """File (package:path) with the content hashes of the training images, for the overlap check."""
    preset: str | None = None
    """Training preset, and every departure from it in ``notes``."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Figures its makers report."""
    notes: str | None = None
    """Anything else a reader of a table must know."""

    def not_storable(self) -> str | None:
        """Return the reason why a record cannot hold the card, or not give it back as it was; None where it can.

        Values are checked when a card is made, but a dictionary can be written into afterwards, and ``model_copy``
        and ``model_construct`` check nothing.
        """
        try:
            again = ModelCard.model_validate_json(self.model_dump_json(warnings=False))
        except ValidationError as error:
            return first_problem(error)
        except ValueError as error:  # half of a surrogate pair is no text, an object no JSON
            return " ".join(str(error).split())
        candidate, stored = vars(self), vars(again)
        return next(
            (f"{name}: {candidate[name]!r} is not stored" for name in stored if candidate.get(name) != stored[name]),
            None,
        )
