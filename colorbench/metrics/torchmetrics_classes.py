"""Metrics as torchmetrics classes with ``update``, ``compute`` and ``reset``, for validation loops.

Each takes two batches of rendered images, (N, 3, H, W) uint8 sRGB (``colorbench.color.lab_to_rgb8`` renders Lab), sums
two per-image statistics over the updates, and computes their ratio, as the protocols do. States are float64 sums, which
torchmetrics adds over processes. Every image counts once, independent of the batches.

torchmetrics is optional (extra ``torchmetrics``).

Example:
    >>> from torchmetrics import MetricCollection
    >>> metrics = MetricCollection([PSNR(), CIEDE2000()])
    >>> image = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    >>> metrics.update(image + 10, image)
    >>> {name: round(float(value), 2) for name, value in metrics.compute().items()}
    {'PSNR': 28.13, 'CIEDE2000': 1.59}
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from colorbench.color import (
    SHIPPED_PRIOR,
    Prior,
    lightness_and_ab,
    load_prior,
    nearest_bin,
    rebalancing_weights,
    rgb_to_lab,
)
from colorbench.errors import extra_hint
from colorbench.metrics.auc import LAST_THRESHOLD, Convention, auc, auc_statistics, pooled_statistics
from colorbench.metrics.chroma import mean_chroma
from colorbench.metrics.ciede2000 import mean_ciede2000
from colorbench.metrics.colorfulness import cf_abs, cf_hs
from colorbench.metrics.lightness_drift import lightness_drift, lightness_drift_share
from colorbench.metrics.psnr import ROUNDING_BOUND, psnr
from colorbench.metrics.ssim import Window, ssim

try:
    from torchmetrics import Metric
except ImportError as error:
    what = "metrics with update and compute need torchmetrics, which is not installed"
    raise ImportError(f"{what}: {extra_hint('torchmetrics')}") from error

COLORLESS = 1.0
"""Mean chroma of the ground truth below which a chroma ratio is not defined (ab units), as in ``fidelity``."""


class RatioMetric(Metric):
    """Base class: the sum of one per-image statistic over the sum of another; subclasses compute both.

    State names are unique per metric: a ``MetricCollection`` shares states between metrics if names and values are
    equal after the first update.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, state: str, **kwargs: Any) -> None:
        """Start at zero.

        Args:
            state: prefix that distinguishes the states of this metric from those of others.
            kwargs: torchmetrics' own (``dist_sync_on_step``, ``sync_on_compute`` ...).
        """
        super().__init__(**kwargs)
        self._sums = f"{state}_s0", f"{state}_s1"
        for name in self._sums:
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            prediction: (N, 3, H, W) uint8 sRGB.
            target: (N, 3, H, W) uint8 sRGB, the ground truth.

        Raises:
            ValueError: for unequal shapes or another dtype.
        """
        for rgb8 in (prediction, target):
            if rgb8.dtype != torch.uint8 or rgb8.dim() != 4 or rgb8.shape[1] != 3:
                what = f"expected (N, 3, H, W) uint8, got {tuple(rgb8.shape)} {rgb8.dtype}"
                raise ValueError(f"{what}; colorbench.color.lab_to_rgb8 renders Lab")
        if prediction.shape != target.shape:
            raise ValueError(f"images of different shapes: {tuple(prediction.shape)} and {tuple(target.shape)}")
        statistics = self.statistics(prediction, target)
        defined = ~torch.stack(statistics).isnan().any(dim=0)
        for name, values in zip(self._sums, statistics, strict=True):
            total = getattr(self, name)
            setattr(self, name, total + values[defined].sum().to(total))

    def compute(self) -> Tensor:
        """Return the metric over all updates, a float64 scalar; NaN where it is defined for no image."""
        numerator, denominator = (getattr(self, name) for name in self._sums)
        return torch.as_tensor(numerator / denominator)

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two statistics of each image, (N,) float64 each; NaN where the metric is not defined."""
        raise NotImplementedError


class PSNR(RatioMetric):
    """Mean over images of PSNR in dB, each capped at the error of rounding to 8 bits (58.92 dB); see ``psnr``."""

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        """Start at zero; ``kwargs`` are torchmetrics' own."""
        super().__init__("psnr", **kwargs)

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the capped PSNR of each image, and ones, (N,) each."""
        return _mean_of(psnr(prediction, target).clamp_max(ROUNDING_BOUND))


class SSIM(RatioMetric):
    """Mean over images of SSIM, computed per channel; images smaller than the window are left out; see ``ssim``."""

    higher_is_better = True

    def __init__(self, window: Window = "gaussian", **kwargs: Any) -> None:
        """Choose the window.

        Args:
            window: of ``ssim``: ``gaussian`` or ``uniform7``.
            kwargs: torchmetrics' own.
        """
        super().__init__(f"ssim_{window}", **kwargs)
        self.window: Window = window

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the SSIM of each image, and ones, (N,) each."""
        return _mean_of(ssim(prediction, target, window=self.window))


class CIEDE2000(RatioMetric):
    """Mean over images of the mean CIEDE2000 color difference; see ``mean_ciede2000``."""

    higher_is_better = False

    def __init__(self, **kwargs: Any) -> None:
        """Start at zero; ``kwargs`` are torchmetrics' own."""
        super().__init__("ciede2000", **kwargs)

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean color difference of each image, and ones, (N,) each."""
        return _mean_of(mean_ciede2000(rgb_to_lab(prediction), rgb_to_lab(target)))


class Colorfulness(RatioMetric):
    """Mean over predictions of colorfulness; the target is not used. See ``cf_hs`` and ``cf_abs``."""

    higher_is_better = None

    def __init__(self, form: Literal["hs", "abs"] = "hs", **kwargs: Any) -> None:
        """Choose the form.

        Args:
            form: ``hs`` (Hasler and Suesstrunk 2003) or ``abs`` (absolute opponent channels, as in the code of CT2).
            kwargs: torchmetrics' own.

        Raises:
            ValueError: for another form.
        """
        if form not in ("hs", "abs"):
            raise ValueError(f"unknown form {form!r} of colorfulness: choose hs or abs")
        super().__init__(f"colorfulness_{form}", **kwargs)
        self.form = form

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the colorfulness of each prediction, and ones, (N,) each."""
        return _mean_of(cf_hs(prediction) if self.form == "hs" else cf_abs(prediction))


class MeanChroma(RatioMetric):
    """Mean over predictions of mean chroma, in units of ab; the target is not used. See ``mean_chroma``."""

    higher_is_better = None

    def __init__(self, **kwargs: Any) -> None:
        """Start at zero; ``kwargs`` are torchmetrics' own."""
        super().__init__("mean_chroma", **kwargs)

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean chroma of each prediction, and ones, (N,) each."""
        return _mean_of(mean_chroma(lightness_and_ab(prediction)[1]))


class ChromaRatio(RatioMetric):
    """Chroma of the predictions in percent of the ground truth's, without images of chroma below 1."""

    higher_is_better = None

    def __init__(self, **kwargs: Any) -> None:
        """Start at zero; ``kwargs`` are torchmetrics' own."""
        super().__init__("chroma_ratio", **kwargs)

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return 100 times the mean chroma of each prediction and that of its ground truth, (N,) each."""
        true = mean_chroma(lightness_and_ab(target)[1])
        return 100 * mean_chroma(lightness_and_ab(prediction)[1]), torch.where(true >= COLORLESS, true, torch.nan)


class LightnessDrift(RatioMetric):
    """Mean over images of the mean absolute change of lightness, in units of L (0..100); see ``lightness_drift``."""

    higher_is_better = False

    def __init__(self, **kwargs: Any) -> None:
        """Start at zero; ``kwargs`` are torchmetrics' own."""
        super().__init__("lightness_drift", **kwargs)

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the drift of each image, and ones, (N,) each."""
        return _mean_of(lightness_drift(lightness_and_ab(prediction)[0], lightness_and_ab(target)[0]))


class LightnessDriftShare(RatioMetric):
    """Percent of pixels whose lightness moved by more than ``above`` (units of L); see ``lightness_drift_share``."""

    higher_is_better = False

    def __init__(self, above: float = 1.0, **kwargs: Any) -> None:
        """Choose the limit.

        Args:
            above: change of lightness above which a pixel counts.
            kwargs: torchmetrics' own.
        """
        super().__init__(_state("lightness_drift_share", above), **kwargs)
        self.above = above

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the share of each image, and ones, (N,) each."""
        given, wanted = lightness_and_ab(prediction)[0], lightness_and_ab(target)[0]
        return _mean_of(lightness_drift_share(given, wanted, self.above))


class AuC(RatioMetric):
    """Mean over images of raw AuC in percent (Zhang et al. 2016, section 3.1); see ``auc``."""

    higher_is_better = True

    def __init__(self, convention: Convention = "trapezoid", **kwargs: Any) -> None:
        """Choose the convention.

        Args:
            convention: of ``auc``: ``trapezoid`` or ``exact``.
            kwargs: torchmetrics' own.
        """
        super().__init__(f"auc_{convention}", **kwargs)
        self.convention: Convention = convention

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the AuC of each image, and ones, (N,) each."""
        return _mean_of(auc(lightness_and_ab(prediction)[1], lightness_and_ab(target)[1], self.convention))


class RebalancedAuC(RatioMetric):
    """Class-rebalanced AuC in percent, pooled over images: a pixel has the weight of the bin of its true color.

    ``lam`` 0.1 gives ``auc_rebalanced_stable``, by which models are compared; 0 is the paper's choice.
    """

    higher_is_better = True

    def __init__(self, prior: Prior | str = SHIPPED_PRIOR, lam: float = 0.1, **kwargs: Any) -> None:
        """Choose the weights of the bins.

        Args:
            prior: a prior, or the name or file of one.
            lam: share of the uniform distribution in the weights, 0..1.
            kwargs: torchmetrics' own.

        Raises:
            UserError: for a prior that cannot be read.
            ValueError: for ``lam`` outside 0..1.
        """
        prior = prior if isinstance(prior, Prior) else load_prior(prior)
        super().__init__(_state(f"auc_rebalanced_{prior.sha256[:12]}", lam), **kwargs)
        self._weights: np.ndarray = rebalancing_weights(prior.probabilities, lam)

    def statistics(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted score and the weight of each image, (N,) each."""
        true = lightness_and_ab(target)[1]
        found = auc_statistics(lightness_and_ab(prediction)[1], true, nearest_bin(true))
        pooled = torch.from_numpy(
            pooled_statistics(found.doubled_scores, found.counts, 2 * LAST_THRESHOLD, self._weights)
        )
        return pooled[:, 0].to(prediction.device), pooled[:, 1].to(prediction.device)


def _mean_of(values: Tensor) -> tuple[Tensor, Tensor]:
    return values, torch.ones_like(values)


def _state(name: str, parameter: float) -> str:
    """Return a prefix of state names (which become attributes) that depends on the parameter."""
    return f"{name}_{parameter:g}".replace(".", "_").replace("-", "_")
