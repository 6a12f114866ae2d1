"""Model card: title, role, origin, license and training data of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from colorbench.errors import first_problem

Role = Literal["competitor", "baseline", "reference"]


class PretrainedPart(BaseModel):
    """A part of a model whose weights were trained elsewhere, for another task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Network as timm or torchvision names it: ``tf_efficientnet_lite0``, ``resnet50.a1_in1k``, ``vgg16``."""
    weights_sha256: str | None = None
    """Hash of the file of its weights, if known."""
    use: str | None = None
    """What it does in the model: ``encoder, frozen``, ``loss``."""


class ModelCard(BaseModel):
    """Facts about a model; only ``title`` is required."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str
    """Description in one line."""
    role: Role = "competitor"
    """``competitor``, ``baseline`` (gray, constant, random, mean) or ``reference`` (is given the ground truth)."""
    paper: str | None = None
    """Citation or address."""
    license: str | None = None
    """License of code and weights."""
    stochastic: bool = False
    """Whether the prediction depends on the seed."""
    working_size: int | None = None
    """Side in pixels to which the model resizes internally; None if it works at the given size."""
    settings: dict[str, float] = Field(default_factory=dict)
    """Numbers that the code needs to rebuild the model from its weights (such as the width of a network)."""
    parameters: int | None = None
    """Number of weights."""
    weights_sha256: str | None = None
    """Hash of the weights file."""
    pretrained: tuple[PretrainedPart, ...] = ()
    """Parts with weights from elsewhere. The record names a protocol that scores by the same weights."""
    training_data: str | None = None
    """Description of the training data."""
    training_hashes: str | None = None
    """File (package:path) with the content hashes of the training images, for the overlap check."""
    preset: str | None = None
    """Training preset; departures from it are listed in ``notes``."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Values that its authors report."""
    notes: str | None = None
    """Other facts that a reader of a table must know."""

    @property
    def role_name(self) -> str:
        """Role as people read it: ``model``, ``baseline`` or ``reference``."""
        return "model" if self.role == "competitor" else self.role

    def not_storable(self) -> str | None:
        """Return the reason why a record cannot store and restore the card; None if it can.

        Values are checked when a card is created, but dictionaries can be changed afterwards, and ``model_copy`` and
        ``model_construct`` check nothing.
        """
        try:
            again = ModelCard.model_validate_json(self.model_dump_json(warnings=False))
        except ValidationError as error:
            return first_problem(error)
        except ValueError as error:  # a lone surrogate is not encodable, an object not JSON
            return " ".join(str(error).split())
        candidate, stored = vars(self), vars(again)
        return next(
            (f"{name}: {candidate[name]!r} is not stored" for name in stored if candidate.get(name) != stored[name]),
            None,
        )
