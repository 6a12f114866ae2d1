"""Settings of a training, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from colorbench.errors import UserError


class CropStage(BaseModel):
    """One phase's crops: squares of a side drawn from ``low..high`` of the cached image, shrunk to ``size``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begin: float = Field(ge=0, lt=1)
    """Share of the steps at which this phase begins."""
    size: int = Field(gt=0, multiple_of=8)
    """Side in pixels of what the network sees."""
    low: int = Field(gt=0)
    high: int
    batch_size: int = Field(gt=0)
    """Images in a step, over all processes and micro-batches."""


class LearningRateDrop(NamedTuple):
    """From a step on, another learning rate."""

    step: int
    learning_rate: float


class TrainingPreset(BaseModel):
    """Everything that decides a training but the images and the seed.

    The defaults are those of the paper's text and code where both agree.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    width: float = Field(default=1.0, gt=0)
    """Width factor of the network; 1 is the paper's."""
    cache_size: int = Field(gt=0)
    """Images are squashed to this side once, before all cropping."""
    views: tuple[CropStage, ...] = Field(min_length=1)
    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    drops: tuple[LearningRateDrop, ...] = ()
    """Later learning rates, by absolute step."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the rate rises from 0."""
    decay: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps over which the rate falls to 0 at the end."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """How weight decay couples. ``adam``: ``weight_decay`` times the weight joins the gradient before Adam's moments,
    as in Caffe, so that its force is relative to the data's gradient and thereby to ``reduction``. ``adamw``: weights
    shrink by ``learning_rate * weight_decay`` of themselves at each step, whatever the gradient."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=1e-3, ge=0)
    decayed: Literal["all", "filters"] = "all"
    """``all``: biases decay too, Caffe's default. ``filters``: biases and BatchNorm are free to grow."""
    reduction: Literal["sum", "mean"] = "sum"
    """Of the loss over the pixels of an image; over images it is always the mean. ``sum`` is the paper's: a
    crop of 176 has 1936 targets, so a coupled decay weighs 1936 times less against it than against the mean."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient; none: not clipped."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of the weights, which is saved; 0: the last weights are saved."""
    start: Literal["kmeans", "default"] = "kmeans"
    """Initialization: k-means, or what torch draws (for comparison)."""
    head: Literal["kmeans", "prior"] = "kmeans"
    """Initialization of the last layer: as the others, or the best prediction without an image (rebalanced prior)."""
    neighbors: int = Field(default=10, ge=1, le=313)
    """K of the soft encoding."""
    prior: Literal["soft", "smoothed"] = "soft"
    """``soft``: mean soft encoding, smoothed by its nature. ``smoothed``: nearest bins, smoothed once with sigma 5."""
    prior_floor: float = Field(default=0.0, ge=0)
    """Least probability of a bin: few images leave bins empty that are merely rare."""
    lam: float = Field(default=0.5, ge=0, le=1)
    """Lambda of the rebalancing weights; 1 weighs all colors alike."""
    gray_mask: float | None = Field(default=None, ge=0)
    """Images none of whose targets has |a| or |b| above this give no gradient; they stay in the divisor."""
    temperature: float = Field(default=0.38, gt=0)
    """Temperature of the annealed mean of the trained model."""
    working_size: int = Field(gt=0, multiple_of=8)
    """Side in pixels at which the trained model works when it colorizes."""

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
        """Return the same settings with ``changes``, checked; ``batch_size`` is of every view.

        Raises:
            UserError: for a name or value that no preset can have.
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
        """Return every setting but the description, as plain data."""
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
