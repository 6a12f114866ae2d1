"""``TrainingPreset``: all settings of a training, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from colorbench.errors import UserError


class CropStage(BaseModel):
    """Crops in one phase of a training.

    They are squares with a random side in ``low..high`` of the cached image, resized to ``size``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    begin: float = Field(ge=0, lt=1)
    """Share of the steps at which this phase begins."""
    size: int = Field(gt=0, multiple_of=8)
    """Side in pixels of the network's input."""
    low: int = Field(gt=0)
    high: int
    batch_size: int = Field(gt=0)
    """Images per step, over all processes and micro-batches."""


class LearningRateDrop(NamedTuple):
    """A new learning rate from a step on."""

    step: int
    learning_rate: float


class TrainingPreset(BaseModel):
    """All settings that determine a training, except images and seed.

    The defaults are those of the paper if its text and code agree.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    width: float = Field(default=1.0, gt=0)
    """Width factor of the network; 1 is the paper's."""
    cache_size: int = Field(gt=0)
    """Side to which images are squashed before cropping."""
    views: tuple[CropStage, ...] = Field(min_length=1)
    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    drops: tuple[LearningRateDrop, ...] = ()
    """Later learning rates, by absolute step."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0."""
    decay: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps over which the learning rate falls to 0 at the end."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Form of weight decay. ``adam``: ``weight_decay`` times the weight is added to the gradient before Adam's moments,
    as in Caffe, so that its effect is relative to the gradient and thereby to ``reduction``. ``adamw``: weights shrink
    by the factor ``1 - learning_rate * weight_decay`` at each step, independent of the gradient."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=1e-3, ge=0)
    decayed: Literal["all", "filters"] = "all"
    """``all``: biases decay, too (Caffe's default). ``filters``: biases and BatchNorm do not decay."""
    reduction: Literal["sum", "mean"] = "sum"
    """Reduction of the loss over the pixels of an image; over images it is always the mean. ``sum`` is the paper's: a
    crop of 176 has 1936 targets, so that a coupled decay has 1936 times less weight relative to the loss than with
    ``mean``."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient; None: not clipped."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of the weights, which is exported; 0: the last weights are exported."""
    start: Literal["kmeans", "default"] = "kmeans"
    """Initialization: k-means, or torch's default (for comparison)."""
    head: Literal["kmeans", "prior"] = "kmeans"
    """Initialization of the last layer: like the others, or to the best constant prediction (rebalanced prior)."""
    neighbors: int = Field(default=10, ge=1, le=313)
    """K of the soft encoding."""
    prior: Literal["soft", "smoothed"] = "soft"
    """``soft``: mean soft encoding, which is smooth already. ``smoothed``: nearest bins, smoothed once with sigma 5."""
    prior_floor: float = Field(default=0.0, ge=0)
    """Smallest probability of a bin, since rare bins are empty in few images."""
    lam: float = Field(default=0.5, ge=0, le=1)
    """Lambda of the rebalancing weights; 1 for equal weights."""
    gray_mask: float | None = Field(default=None, ge=0)
    """Images without any target |a| or |b| above this give no gradient, but count in the divisor."""
    temperature: float = Field(default=0.38, gt=0)
    """Temperature of the annealed mean of the trained model."""
    working_size: int = Field(gt=0, multiple_of=8)
    """Working size in pixels of the trained model."""

    @model_validator(mode="after")
    def _crops_lie_in_the_image(self) -> Self:
        for view in self.views:
            if not view.low <= view.high <= self.cache_size:
                raise ValueError(f"crops of {view.low}..{view.high} do not fit into images of {self.cache_size}")
        if self.views[0].begin != 0 or [v.begin for v in self.views] != sorted({v.begin for v in self.views}):
            raise ValueError("views must start at 0 and increase")
        return self

    def view_at(self, step: int, steps: int) -> CropStage:
        """Return the phase of a step."""
        return [view for view in self.views if step >= view.begin * steps][-1]

    def changed(self, changes: Mapping[str, Any]) -> TrainingPreset:
        """Return the preset with ``changes`` after checking them; ``batch_size`` applies to every phase.

        Raises:
            UserError: for an unknown name or invalid value.
        """
        values = self.model_dump() | dict(changes)
        if "batch_size" in values:
            batch_size = values.pop("batch_size")
            values["views"] = [view.model_dump() | {"batch_size": batch_size} for view in self.views]
        try:
            return TrainingPreset.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            known = ", ".join(
                name for name in TrainingPreset.model_fields if name not in ("description", "views", "drops")
            )
            what = f"{first['msg']}{f': {where}' if where else ''}"
            raise UserError(f"invalid setting: {what}", hint=f"settings: batch_size, {known}") from error

    def departures(self, preset: TrainingPreset) -> list[str]:
        """Return the differences from ``preset``, one line each."""
        reference = preset.settings()
        return [
            f"{name} {_message(value)} instead of {_message(reference[name])}"
            for name, value in self.settings().items()
            if value != reference[name]
        ]

    def settings(self) -> dict[str, Any]:
        """Return every setting except the description, as plain data."""
        return self.model_dump(mode="json", exclude={"description"})

    def __str__(self) -> str:
        """Return the description and every setting as text."""
        return f"{self.description}; " + ", ".join(
            f"{name}={_message(value)}" for name, value in self.settings().items()
        )


def _message(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + " ".join(f"{key} {_message(one)}" for key, one in value.items()) + ")"
    if isinstance(value, list):
        return "(" + " ".join(map(_message, value)) + ")"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
