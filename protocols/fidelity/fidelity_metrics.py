"""Metric specs of ``fidelity``: names, units and explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from colorbench.metrics import cf_abs, cf_hs
from colorbench.results import MetricSpec

DIFFERENCE = MetricSpec(
    name="ciede2000",
    title="Color difference",
    unit="ΔE00",
    higher_is_better=False,
    lower_bound=0,
    explanation="Mean color difference from the true colors as an observer sees it (CIEDE2000; about 1 is just "
    "noticeable side by side). Favors conservative, dull colors: a plausible color that is not the true one costs more "
    "than gray, so compare with gray.",
    of_ground_truth=0,
    ground_truth_margin=0.25,
)
PSNR = MetricSpec(
    name="psnr",
    title="PSNR",
    unit="dB",
    higher_is_better=True,
    lower_bound=0,
    explanation="Squared error in RGB on a log scale (decibels), mean over images. Favors dull predictions: gray "
    "scores as high as published colorizers or higher (about 23 dB on ImageNet), so compare with gray.",
)
POOLED = (
    "PSNR of the mean squared error over all images: a few bad images have more weight than in the mean over images. "
    "Favors dull predictions, so compare with gray."
)
SSIM = MetricSpec(
    name="ssim",
    title="SSIM",
    unit="",
    higher_is_better=True,
    lower_bound=-1,
    upper_bound=1,
    explanation="Structural similarity in RGB, mean over images; 1: identical. Favors dull predictions: the given "
    "lightness determines most of the structure, so it is almost insensitive to color, and gray beats published "
    "colorizers.",
    of_ground_truth=1,
    ground_truth_margin=1e-4,
)
CHROMA = MetricSpec(
    name="mean_chroma",
    title="Chroma",
    unit="ab",
    higher_is_better=None,
    lower_bound=0,
    explanation="Mean distance of the colors from gray, in ab; neither more nor less is better, only the value of the "
    "ground truth is right.",
)
CHROMA_RATIO = MetricSpec(
    name="chroma_ratio",
    title="Relative chroma",
    unit="%",
    higher_is_better=None,
    lower_bound=0,
    explanation="Chroma in percent of that of the ground truth, without images that have no color: below 100, the "
    "predictions are too dull, above 100 too vivid.",
)
DRIFT = MetricSpec(
    name="lightness_drift",
    title="Lightness drift",
    unit="L",
    higher_is_better=None,
    lower_bound=0,
    upper_bound=100,
    explanation="Mean difference between the lightness of the final image and the given one, of 100. It comes from "
    "colors that a screen cannot show at that lightness (out of gamut) and from rounding.",
)
DRIFT_SHARE = replace(
    DRIFT,
    name="lightness_drift_share",
    title="Drift > 1 L",
    unit="%",
    explanation="Share of pixels whose lightness changed by more than 1 of 100: how often the model predicts colors "
    "that a screen cannot show (out of gamut).",
)
PATCHES = (
    replace(
        PSNR,
        name="psnr_boundary",
        title="Boundary PSNR",
        explanation="PSNR of the pixels on both sides of the boundaries between a network's patches (iColoriT). Favors "
        "predictions whose patches cannot be seen: they can where it is below PSNR.",
    ),
    MetricSpec(
        name="patch_error_variance",
        title="Patch error variance",
        unit="",
        higher_is_better=False,
        lower_bound=0,
        explanation="Variance over a network's patches of their root mean square error, in 8-bit steps (iColoriT). "
        "Favors predictions whose patches are equally good, or equally bad.",
        of_ground_truth=0,
    ),
)
"""Further metrics if ``patch`` gives the side of a network's patches."""


@dataclass(frozen=True)
class ColorfulnessForm:
    """One of the definitions of colorfulness in use, with its metrics."""

    name: str
    of: Callable[[Tensor], Tensor]
    """(N, 3, H, W) uint8 -> (N,)."""
    metrics: tuple[MetricSpec, MetricSpec, MetricSpec]
    """Colorfulness itself; the difference of the means over the dataset; the mean of the per-image differences."""


def _colorfulness(name: str, of: Callable[[Tensor], Tensor], short: str, form: str) -> ColorfulnessForm:
    itself = MetricSpec(
        name=name,
        title=f"Colorfulness {short}",
        unit="",
        higher_is_better=None,
        lower_bound=0,
        explanation=f"Colorfulness, {form}; 0 is gray. Neither more nor less is better, only the value of the ground "
        "truth is right.",
    )
    of_means = replace(
        itself,
        name=f"delta_{name}_of_means",
        title=f"ΔCF {short} of means",
        higher_is_better=False,
        form="abs_difference",
        explanation=f"Difference between the mean colorfulness ({short}) and that of the ground truth, as papers "
        "report it. Favors the right amount of color on average, whichever colors they are: too dull and too vivid "
        "images cancel.",
    )
    per_image = replace(
        of_means,
        name=f"delta_{name}_per_image",
        title=f"ΔCF {short} per image",
        form="ratio",
        explanation=f"Mean over images of the difference in colorfulness ({short}) from the ground truth. Favors the "
        "right amount of color in each image, whichever colors they are.",
    )
    return ColorfulnessForm(name, of, (itself, of_means, per_image))


COLORFULNESS = (
    _colorfulness("cf_hs", cf_hs, "HS", "as defined by Hasler and Süsstrunk"),
    _colorfulness("cf_abs", cf_abs, "abs", "as in the code of CT2, ColorFormer and DDColor"),
)
METRICS = (
    DIFFERENCE,
    PSNR,
    SSIM,
    *(metric for form in COLORFULNESS for metric in form.metrics),
    CHROMA,
    CHROMA_RATIO,
    DRIFT,
    DRIFT_SHARE,
)
"""The metrics of the protocol, in the order of its tables."""
