"""Settings of a training, as data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """One phase's crops: squares of a side drawn from ``low..high`` of the cached picture, shrunk to ``size``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begin: float
    """Share of the steps at which this phase begins."""
    size: int
    """Side in pixels of what the network sees; a multiple of 8."""
    low: int
    high: int
    batch_size: int


class Preset(BaseModel):
    """Everything that decides a training but the photographs, the prior and the seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    width: float
    """Width factor of the network; 1 is the paper's."""
    cache_size: int
    """Photographs are squashed to this side once, before all cropping."""
    views: tuple[View, ...]
    steps: int
    learning_rate: float
    warmup: int
    """Steps over which the rate rises from 0."""
    decay: float
    """Share of the steps over which the rate falls to 0 at the end."""
    betas: tuple[float, float]
    weight_decay: float
    """Decoupled (AdamW), on convolution weights only; the loss is a mean over pixels, not a sum as in the paper."""
    clip: float
    """Largest norm of the gradient."""
    average: float
    """Decay of the moving average of the weights, which is what is kept."""
    neighbours: int
    """K of the soft encoding."""
    lam: float
    """Lambda of the rebalancing weights; 1 weighs all colours alike."""
    working_size: int
    """Side in pixels at which the trained model works when it colorizes."""

    def view_at(self, step: int, steps: int) -> View:
        """The phase of a step."""
        return [view for view in self.views if step >= view.begin * steps][-1]
