"""Variants of metrics by parameters: their titles, the converted ground truth, and the truncated prediction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from colorbench.color import lab_to_rgb
from colorbench.errors import UserError
from colorbench.evaluation import Prediction
from colorbench.results import MetricSpec
from protocols.fidelity.fidelity_metrics import COLORFULNESS, POOLED

_TO_TRUTH = ("ciede2000", "psnr", "psnr_boundary", "ssim", "patch_error_variance")
"""Metrics whose value depends on every pixel of the ground truth; LPIPS does, too."""
_OF_COLORFULNESS = {metric.name for form in COLORFULNESS for metric in form.metrics}


def named(metric: MetricSpec, parameters: Mapping[str, str], cap: float) -> MetricSpec:
    """Return the variant of a metric with the title, explanation and upper bound that it has under these parameters.

    Args:
        metric: metric in the protocol's spec.
        parameters: resolved.
        cap: upper limit of the PSNR of an image; infinite for none.
    """
    words = list(_words(metric.name, parameters))
    if metric.name == "psnr" and parameters["psnr"] == "pooled":
        metric = replace(metric, title="PSNR, pooled", explanation=POOLED)
    elif metric.name in ("psnr", "psnr_boundary") and cap < math.inf:
        metric = replace(metric, upper_bound=cap)
    return replace(metric, title=f"{metric.title} ({', '.join(words)})") if words else metric


def _words(name: str, parameters: Mapping[str, str]) -> list[str]:
    """Return the parameters that change a metric, as words for its title."""
    words = []
    if name == "ssim":
        if parameters["ssim"] != "gaussian":
            words.append(parameters["ssim"])
        if float(parameters["ssim_range"]) != 255:
            words.append(f"range {float(parameters['ssim_range']):g}")
    if name in ("psnr", "psnr_boundary") and parameters["psnr_infinite"] != "cap":
        words.append({"cap50": "at most 50 dB", "drop": "without exact matches"}[parameters["psnr_infinite"]])
    if name in ("psnr", "ssim") and parameters["border"] != "0":
        words.append(f"border {parameters['border']}")
    if name in ("psnr_boundary", "patch_error_variance"):
        words.append(f"patches of {parameters['patch']}")
    if name in _OF_COLORFULNESS and float(parameters["cf_minimum"]) > 0:
        words.append(f"above {float(parameters['cf_minimum']):g}")
    if parameters["truth"] == "converted" and (name in _TO_TRUTH or name.startswith("lpips")):
        words.append("converted truth")
    return words


def converted(rgb8: Tensor) -> Tensor:
    """Convert images to Lab in float32 and back with scikit-image, for a metric variant, and truncate them to 8 bits.

    Truncation lowers about half of the values by 1 of 255; which ones depends on rounding errors.

    Args:
        rgb8: (N, 3, H, W) uint8.

    Returns:
        (N, 3, H, W) uint8.
    """
    from skimage.color import lab2rgb, rgb2lab

    images = []
    for rgb in rgb8.movedim(1, -1).cpu().numpy():
        lab = rgb2lab(rgb).astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of negative Z values, which it clips
            images.append((255 * lab2rgb(lab).clip(0, 1)).astype(np.uint8))
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).contiguous().to(rgb8.device)


def truncated(colorization: Prediction, *, floats_only: bool) -> Prediction:
    """Return the prediction with its sRGB truncated to 8 bits, not rounded.

    Raises:
        UserError: for predictions that already have 8 bits, unless only floats are to be truncated.
    """
    truth, given = colorization.truth, colorization.given_rgb8
    if given is not None:
        if floats_only or given is truth.rgb8 or torch.equal(given, truth.rgb8):
            return colorization  # the ground truth is 8-bit itself
        what = "fidelity.rounding=truncate needs unrounded colors, but these predictions are 8-bit RGB"
        raise UserError(what, hint="use fidelity.rounding=round or truncate-floats")
    exact = torch.float64 if truth.lightness.device.type != "mps" else torch.float32
    lab = torch.cat([truth.lightness, colorization.ab_float], dim=1).to(exact)
    return Prediction(truth, rgb8=(lab_to_rgb(lab) * 255).to(torch.uint8))
