"""What ``fidelity`` measures: names, units and one sentence for the reader."""

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
    explanation="Squared error in RGB on a log scale, the mean over images; gray scores as well as published "
    "colorizers or better (about 23 dB on ImageNet), so compare with the gray row.",
)
POOLED = (
    "PSNR of the squared error averaged over all images: a few bad images weigh more than in the mean over images; "
    "compare with the gray row."
)
SSIM = MetricSpec(
    name="ssim",
    title="SSIM",
    unit="",
    higher_is_better=True,
    lower_bound=-1,
    upper_bound=1,
    explanation="Structural similarity of each RGB channel, the mean over images; it compares structure, which the "
    "given lightness fixes, and hardly sees color: gray beats published colorizers, so compare with the gray row.",
    of_ground_truth=1,
    ground_truth_margin=1e-4,
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
    SSIM,
    *(metric for form in COLORFULNESS for metric in form.metrics),
    CHROMA,
    CHROMA_RATIO,
    DRIFT,
    DRIFT_SHARE,
)
"""The metrics of the protocol, in the order of its tables."""
