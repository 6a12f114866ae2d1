"""One test of a metric: value against an oracle, batches, dtype, device, and the class against the function."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor], Tensor]
TOLERANCE = 1e-5
"""Of the metric's scale: the library's one tolerance for rows."""


@cache
def pairs() -> tuple[Tensor, Tensor]:
    """(7, 3, 24, 30) predictions and ground truths: real crops and noise, equal images, gray and black ones."""
    names = ("astronaut", "chelsea", "coffee", "rocket")
    crops = [getattr(skimage.data, name)()[40:64, 50:80].transpose(2, 0, 1) for name in names]
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (3, 24, 30), dtype=np.uint8)
    gray = np.repeat(crops[1][1:2], 3, axis=0)
    target = [*crops, noise, gray, np.zeros((3, 24, 30), np.uint8)]
    shifted = np.clip(crops[0].astype(int) + generator.integers(-40, 40, crops[0].shape), 0, 255).astype(np.uint8)
    prediction = [shifted, gray, crops[2], noise, crops[3], crops[1], gray]
    prediction, target = (torch.from_numpy(np.stack(some).copy()) for some in (prediction, target))
    return prediction, target


@dataclass(frozen=True)
class MetricTester:
    """A metric in all its forms, with a slow reference."""

    name: str
    function: Function
    """(N, 3, H, W) uint8 predictions and ground truths -> (N,) values."""
    oracle: Callable[[np.ndarray, np.ndarray], float]
    """(3, H, W) uint8 of one image each -> its value."""
    make: Callable[[], Any]
    """The torchmetrics class."""
    higher_is_better: bool | None
    scale: float = 1.0
    total: Callable[[Tensor, Tensor], Tensor] | None = None
    """What the class gives over a set; None: the mean of the function over the images where it is defined."""
    loose: float = 1.0
    """Factor on the tolerance against the oracle, where float32 Lab decides."""

    def check_oracle(self) -> None:
        """Compare the function with the oracle, image by image."""
        prediction, target = pairs()
        wanted = [self.oracle(one.numpy(), other.numpy()) for one, other in zip(prediction, target, strict=True)]
        found = self.function(prediction, target)
        assert found.dtype == torch.float64
        assert found.shape == (len(target),)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=self.loose * TOLERANCE * self.scale)

    def check_batches(self) -> None:
        """An image's value is the same alone, in a batch and in another order."""
        prediction, target = pairs()
        full = self.function(prediction, target)
        order = [4, 0, 6, 2]
        self._equal(self.function(prediction[order], target[order]), full[order])
        for i in range(len(target)):
            self._equal(self.function(prediction[i : i + 1], target[i : i + 1]), full[i : i + 1])

    def check_class(self) -> None:
        """Class and function agree whatever the batches; reset, forward, copies and pickles work."""
        prediction, target = pairs()
        wanted = self._wanted(prediction, target)
        metric = self.make()
        for sizes in ([7], [1] * 7, [3, 1, 3]):
            metric.reset()
            for one, other in zip(prediction.split(sizes), target.split(sizes), strict=True):
                metric.update(one, other)
            self._equal(metric.compute(), wanted)
        metric.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchmetrics warns of a result without images
            assert metric.compute().isnan()
        self._equal(metric(prediction[:2], target[:2]), self._wanted(prediction[:2], target[:2]))
        metric(prediction[2:], target[2:])
        self._equal(metric.compute(), wanted)
        self._equal(pickle.loads(pickle.dumps(metric)).compute(), wanted)

    def check_processes(self) -> None:
        """States are added up over processes: two halves give the whole."""
        prediction, target = pairs()
        halves = [self.make() for _ in range(2)]
        for half, some in zip(halves, (slice(None, 3), slice(3, None)), strict=True):
            half.update(prediction[some], target[some])
        assert set(halves[0]._reductions.values()) == {torchmetrics_sum()}
        merged = self.make()
        merged.update(prediction[:0], target[:0])
        for name in merged._defaults:
            setattr(merged, name, sum(getattr(half, name) for half in halves))
        self._equal(merged.compute(), self._wanted(prediction, target))

    def check_dtype(self) -> None:
        """Other dtypes and shapes are refused; states are float64 and follow ``to``."""
        prediction, target = pairs()
        metric = self.make().to("cpu")
        assert {getattr(metric, name).dtype for name in metric._defaults} == {torch.float64}
        for one, other in (
            (prediction.float(), target),
            (prediction, target.float()),
            (prediction[:, :1], target[:, :1]),
            (prediction, target[..., 1:]),
            (prediction[0], target[0]),
        ):
            with pytest.raises(ValueError, match=r"uint8|of different shapes"):
                metric.update(one, other)
        if torch.cuda.is_available():
            moved = self.make().to("cuda")
            moved.update(prediction.cuda(), target.cuda())
            self._equal(moved.compute().cpu(), self._wanted(prediction, target))

    def check_direction(self) -> None:
        """The class says the direction that the ground truth bears out."""
        _, target = pairs()
        metric, other = self.make(), self.make()
        assert metric.higher_is_better is self.higher_is_better
        if self.higher_is_better is None:
            return
        metric.update(target, target)
        other.update(255 - target, target)
        best, worse = float(metric.compute()), float(other.compute())
        assert best > worse if self.higher_is_better else best < worse

    def _wanted(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.total is not None:
            return self.total(prediction, target)
        values = self.function(prediction, target)
        return values[~values.isnan()].mean()

    def _equal(self, found: Tensor, wanted: Tensor | Sequence[float]) -> None:
        torch.testing.assert_close(
            found, torch.as_tensor(wanted, dtype=torch.float64), rtol=0, atol=TOLERANCE * self.scale, equal_nan=True
        )


def torchmetrics_sum() -> Any:
    """Return the function that torchmetrics reduces a sum with."""
    from torchmetrics.utilities import dim_zero_sum

    return dim_zero_sum
