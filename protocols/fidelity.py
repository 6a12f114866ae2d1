"""The ``fidelity`` protocol: how near a colorization is to the true colors, and how colorful it is.

    colorbench run --protocol fidelity
    colorbench run --protocol fidelity --param fidelity.psnr_infinite=drop

All is measured on the 8-bit image that is seen. Closeness to one truth rewards caution: a gray answer does well in
PSNR and in color difference, so read both beside the gray row and beside the colorfulness of the images.

Images that are gray themselves are the run's business (``--gray keep|drop``); this protocol decides only what an
infinite PSNR counts and which images have no chroma to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorbench.data import Dataset
from colorbench.evaluation import BatchScores, GroundTruth, Prediction, ProtocolSpec, Summary
from colorbench.metrics import (
    ROUNDING_BOUND,
    cf_abs,
    cf_hs,
    lightness_drift,
    lightness_drift_share,
    mean_chroma,
    mean_ciede2000,
    mean_squared_error,
    psnr_of_error,
)
from colorbench.results import MetricSpec
from colorbench.stats import effective_n

COLORLESS = 1.0
"""Mean chroma below which an image has no chroma to be compared with; 2 % of 500 ImageNet images."""

DIFFERENCE = MetricSpec(
    name="ciede2000",
    title="Color difference",
    unit="ΔE00",
    higher_is_better=False,
    lower_bound=0,
    explanation="Mean CIEDE2000 distance from the true colors, as the eye weighs it: about 1 is just noticeable side "
    "by side; it punishes a plausible color that is not the true one, so compare with gray.",
    of_ground_truth=0,
    ground_truth_margin=0.25,
)
PSNR = MetricSpec(
    name="psnr",
    title="PSNR",
    unit="dB",
    higher_is_better=True,
    lower_bound=0,
    explanation="Squared error in RGB on a log scale, the mean over images; a gray answer scores as well as "
    "published colorizers (about 23 dB on ImageNet), so compare with the gray row.",
)
CHROMA = MetricSpec(
    name="mean_chroma",
    title="Chroma",
    unit="ab",
    higher_is_better=None,
    lower_bound=0,
    explanation="Mean distance of the colors from gray; neither more nor less is better in itself.",
)
CHROMA_RATIO = MetricSpec(
    name="chroma_ratio",
    title="Chroma kept",
    unit="%",
    higher_is_better=None,
    lower_bound=0,
    explanation="Chroma in percent of the images' own, those without color left out: 100 is as strong as the "
    "truth, less is dull, more is garish.",
)
DRIFT = MetricSpec(
    name="lightness_drift",
    title="Lightness drift",
    unit="L",
    higher_is_better=None,
    lower_bound=0,
    upper_bound=100,
    explanation="Mean distance of the lightness that is seen from the one given, after colors that no screen shows "
    "are clipped and rounded to 8 bits.",
)
DRIFT_SHARE = replace(
    DRIFT,
    name="lightness_drift_share",
    title="Drift > 1 L",
    unit="%",
    explanation="Share of pixels whose lightness moved by more than 1 of 100: how often the model asks for colors "
    "that no screen shows.",
)


@dataclass(frozen=True)
class Colorfulness:
    """One of the forms of colorfulness in use, with the metrics made of it."""

    name: str
    of: Callable[[Tensor], Tensor]
    """(N, 3, H, W) uint8 -> (N,)."""
    metrics: tuple[MetricSpec, MetricSpec, MetricSpec]
    """Itself; the difference of the set's means; the mean of the images' differences."""


def _colorfulness(name: str, of: Callable[[Tensor], Tensor], short: str, form: str) -> Colorfulness:
    itself = MetricSpec(
        name=name,
        title=f"Colorfulness {short}",
        unit="",
        higher_is_better=None,
        lower_bound=0,
        explanation=f"How vivid the images are, {form}; 0 is gray, and only nearness to the images' own counts.",
    )
    of_means = replace(
        itself,
        name=f"delta_{name}_of_means",
        title=f"ΔCF {short} of means",
        higher_is_better=False,
        form="abs_difference",
        explanation=f"Distance of the mean colorfulness ({short}) from the images' mean, as papers table it: "
        "images too dull and too vivid cancel out.",
    )
    per_image = replace(
        of_means,
        name=f"delta_{name}_per_image",
        title=f"ΔCF {short} per image",
        form="ratio",
        explanation=f"Mean over images of the distance in colorfulness ({short}) from the image's own: "
        "nothing cancels out.",
    )
    return Colorfulness(name, of, (itself, of_means, per_image))


COLORFULNESS = (
    _colorfulness("cf_hs", cf_hs, "HS", "as Hasler and Süsstrunk defined it"),
    _colorfulness("cf_abs", cf_abs, "abs", "as the code of CT2, ColorFormer and DDColor computes it"),
)
METRICS = (
    DIFFERENCE,
    PSNR,
    *(metric for form in COLORFULNESS for metric in form.metrics),
    CHROMA,
    CHROMA_RATIO,
    DRIFT,
    DRIFT_SHARE,
)


class FidelityProtocol:
    """Nearness to the truth, and colorfulness, through the engine's one pass."""

    spec = ProtocolSpec(
        name="fidelity",
        version=1,
        title="Fidelity to the true colors",
        parameters={"preprocessing": "squash256", "psnr_infinite": "cap"},
        metrics=METRICS,
        headline=DIFFERENCE.name,
        choices={"psnr_infinite": ("cap", "drop")},
        parameter_help={
            "preprocessing": "from file to evaluated pixels: squash256, center256, native",
            "psnr_infinite": f"cap (no image counts more than {ROUNDING_BOUND:.2f} dB, the error of rounding to "
            "8 bits) or drop (images matched exactly are left out of PSNR, others are not capped)",
        },
    )

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> FidelityScorer:
        """A scorer for these parameters.

        Raises:
            UserError: for an unknown parameter or value.
        """
        chosen = self.spec.resolved(parameters)
        return FidelityScorer(chosen)


@dataclass(frozen=True)
class FidelityScorer:
    """Fidelity with its parameters resolved."""

    parameters: Mapping[str, str]

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing."""
        return self.parameters["preprocessing"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parameters: no file stands behind them."""
        return dict(self.parameters)

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """All of them; PSNR has an upper bound only where it is capped."""
        capped = replace(PSNR, upper_bound=ROUNDING_BOUND)
        return tuple(capped if metric is PSNR and self._capped else metric for metric in METRICS)

    def score(self, colorization: Prediction) -> BatchScores:
        """Scores of each image; each is computed by itself, so batches leave no trace."""
        rendered, truth = colorization.rgb8, colorization.truth
        mse = _array(mean_squared_error(rendered, truth.rgb8))
        columns = {"mse": mse, **_mean("psnr", self._psnr(mse))}
        columns |= _mean("ciede2000", _array(mean_ciede2000(colorization.lab, truth.lab)))
        for form in COLORFULNESS:
            columns |= _colorfulness_columns(form, _array(form.of(rendered)), _of_truth(truth, form.name, form.of))
        chroma, true_chroma = _array(mean_chroma(colorization.ab)), _of_truth(truth, "chroma", mean_chroma)
        columns |= _mean("mean_chroma", chroma)
        colored = true_chroma >= COLORLESS
        columns |= _ratio("chroma_ratio", *(np.where(colored, x, np.nan) for x in (100 * chroma, true_chroma)))
        lightness = colorization.lightness
        columns |= _mean("lightness_drift", _array(lightness_drift(lightness, truth.lightness)))
        columns |= _mean("lightness_drift_share", _array(lightness_drift_share(lightness, truth.lightness)))
        return BatchScores(columns)

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Effective numbers of images, and the other ways in which PSNR is averaged elsewhere."""
        if len(columns["mse"]) == 0:
            return Summary()
        sizes = {}
        for metric in METRICS:
            statistics = [columns[f"{metric.name}.s{j}"] for j in range(3 if metric.form == "abs_difference" else 2)]
            sizes[metric.name] = effective_n(np.stack(statistics, axis=1), metric.form)
        return Summary(notes=_psnr_notes(columns["mse"], columns["psnr"], self._capped), effective_n=sizes)

    @property
    def _capped(self) -> bool:
        return self.parameters["psnr_infinite"] == "cap"

    def _psnr(self, mse: np.ndarray) -> np.ndarray:
        values = _array(psnr_of_error(torch.from_numpy(mse)))
        # All values above the bound are capped, not the infinite ones alone: a pixel's error must not raise a score.
        return np.minimum(values, ROUNDING_BOUND) if self._capped else np.where(np.isinf(values), np.nan, values)


def _array(values: Tensor) -> np.ndarray:
    """(N,) tensor on any device -> (N,) float64."""
    return values.double().cpu().numpy()


def _of_truth(truth: GroundTruth, name: str, of: Callable[[Tensor], Tensor]) -> np.ndarray:
    """What follows from the images alone, kept for the next model; chroma is of ab, all else of rgb8."""
    return _array(truth.shared(f"fidelity.{name}", lambda: of(truth.ab if of is mean_chroma else truth.rgb8)))


def _ratio(name: str, numerator: np.ndarray, denominator: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of a metric of form ``ratio``."""
    return {name: numerator / denominator, f"{name}.s0": numerator, f"{name}.s1": denominator}


def _mean(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of a mean over images, those with NaN left out."""
    return _ratio(name, values, np.where(np.isnan(values), np.nan, 1.0))


def _colorfulness_columns(form: Colorfulness, rendered: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    itself, of_means, per_image = (metric.name for metric in form.metrics)
    distance = np.abs(rendered - true)
    sums = {f"{of_means}.s0": rendered, f"{of_means}.s1": true, f"{of_means}.s2": np.ones_like(rendered)}
    return {**_mean(itself, rendered), of_means: distance, **sums, **_mean(per_image, distance)}


def _psnr_notes(mse: np.ndarray, psnr: np.ndarray, capped: bool) -> tuple[str, ...]:
    """What other averages of the same errors give, and what became of exact matches."""
    exact = int((mse == 0).sum())
    notes = []
    if exact < len(mse):
        pooled = float(psnr_of_error(torch.from_numpy(mse.mean(keepdims=True))))
        notes.append(
            f"PSNR by other averages: median {np.nanmedian(psnr):.2f} dB, of the mean squared error {pooled:.2f} dB"
        )
    if exact:
        became = f"count as {ROUNDING_BOUND:.2f} dB" if capped else "are left out of PSNR"
        notes.append(f"{exact} of {len(mse)} images equal the truth exactly and {became}")
    return tuple(notes)
