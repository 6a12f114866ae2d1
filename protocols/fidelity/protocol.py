"""``FidelityProtocol`` and its scorer: parameters, scores of every image, and notes of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorbench.data import Dataset
from colorbench.evaluation import BatchScores, GroundTruth, Prediction, ProtocolSpec, Summary
from colorbench.metrics import (
    ROUNDING_BOUND,
    Window,
    lightness_drift,
    lightness_drift_share,
    mean_chroma,
    mean_ciede2000,
    mean_squared_error,
    psnr_of_error,
    ssim,
)
from colorbench.results import MetricSpec
from colorbench.stats import effective_n
from protocols.fidelity.fidelity_metrics import COLORFULNESS, DIFFERENCE, METRICS, PATCHES, ColorfulnessForm
from protocols.fidelity.fidelity_presets import PRESETS
from protocols.fidelity.lpips import RANGES, TRUNKS, Lpips, load_lpips
from protocols.fidelity.metric_variants import converted, named, truncated
from protocols.fidelity.patch_errors import boundary_error, patch_error_variance
from protocols.mean_curves import mean_columns
from protocols.number_parameters import integer_parameter, number_parameter

COLORLESS = 1.0
"""Mean chroma below which an image is left out of the chroma ratio; 2 % of 500 ImageNet images."""
LATER = {"truth": "original", "patch": "0"}
"""Parameters added to version 2 later, with their neutral values."""
CAPS = {"cap": ROUNDING_BOUND, "cap50": 50.0}
"""Value of ``psnr_infinite`` -> upper limit of the PSNR of an image."""


class FidelityProtocol:
    """Distance to the ground truth, and colorfulness, scored in the engine's pass."""

    spec = ProtocolSpec(
        name="fidelity",
        version=2,
        title="Fidelity to the true colors",
        parameters={
            "preprocessing": "squash256",
            "rounding": "round",
            "truth": "original",
            "psnr": "per_image",
            "psnr_infinite": "cap",
            "ssim": "gaussian",
            "ssim_range": 255,
            "border": 0,
            "cf_minimum": 0,
            "lpips": "none",
            "lpips_range": "-1..1",
            "patch": 0,
        },
        metrics=METRICS,
        category="Fidelity",
        headline=DIFFERENCE.name,
        headline_reason="it is a color difference as an observer sees it, while PSNR and SSIM mostly reward the given "
        "lightness; all three favor dull colors, so read it beside auc or distribution",
        presets={f"fidelity@{name}": preset.parameters for name, preset in PRESETS.items()},
        preset_sources={name: preset.source for name, preset in PRESETS.items()},
        choices={
            "rounding": ("round", "truncate", "truncate-floats"),
            "truth": ("original", "converted"),
            "psnr": ("per_image", "pooled"),
            "psnr_infinite": ("cap", "cap50", "drop"),
            "ssim": ("gaussian", "uniform7"),
        },
        networks={"lpips": tuple(TRUNKS)},
        keywords={"lpips": ("none",), "lpips_range": RANGES},
        parameter_help={
            "preprocessing": "from file to evaluated pixels: squash256, center256, cropsquare256, native",
            "rounding": "of a prediction to 8 bits: round, truncate (as code that casts to uint8; refused for "
            "predictions that have 8 bits), or truncate-floats (takes those as they are)",
            "truth": "original, or converted (sent through Lab and back, and truncated to 8 bits, as CT2 also scores)",
            "psnr": "per_image (mean of the images' PSNR) or pooled (PSNR of the mean squared error)",
            "psnr_infinite": f"cap (each image is limited to {ROUNDING_BOUND:.2f} dB, the error of rounding to "
            "8 bits), cap50 (50 dB, a squared error of 1e-5 of the range) or drop (exact matches are left out of PSNR, "
            "others are not capped)",
            "ssim": "window: gaussian (Wang's 11 x 11, sigma 1.5) or uniform7 (the default of scikit-image)",
            "ssim_range": "data range that SSIM assumes, in 8-bit steps; 255 is correct, others reproduce published "
            "code",
            "border": "width of the border left out of PSNR and SSIM, in pixels",
            "cf_minimum": "images whose prediction has at most this colorfulness are left out of the metrics of that "
            "colorfulness; 0 keeps all",
            "lpips": "trunk of LPIPS (extra lpips): none, alex, vgg or squeeze (downloaded once), or NAME:FILE with "
            "torchvision's weights",
            "lpips_range": "range of the values passed to LPIPS: -1..1 is correct, 0..1 reproduces published code",
            "patch": "side of a network's patches in pixels, for boundary PSNR and patch error variance; 0: neither",
        },
    )

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> FidelityScorer:
        """Return a scorer for these parameters.

        Raises:
            UserError: for an unknown parameter or value.
        """
        chosen = self.spec.resolved(parameters)
        for name, lowest in (("ssim_range", 1), ("cf_minimum", 0)):
            number_parameter(self.spec.name, name, chosen[name], lowest)
        for name in ("border", "patch"):
            integer_parameter(self.spec.name, name, chosen[name], 0)
        return FidelityScorer(chosen, load_lpips(chosen["lpips"], chosen["lpips_range"]))


@dataclass(frozen=True)
class FidelityScorer:
    """Fidelity with its parameters resolved."""

    parameters: Mapping[str, str]
    lpips: Lpips | None = None

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing."""
        return self.parameters["preprocessing"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parameters, with the content of the trunk of LPIPS in place of its name.

        Later parameters with neutral values are left out, so that earlier records stay comparable.
        """
        chosen = {name: value for name, value in self.parameters.items() if LATER.get(name) != value}
        return {**chosen, "lpips": "none" if self.lpips is None else self.lpips.identity}

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics; PSNR has an upper bound only if it is capped, and variants are named in the titles."""
        perceptual = () if self.lpips is None else (self.lpips.spec,)
        patches = PATCHES if self._patch else ()
        return tuple(named(metric, self.parameters, self._cap) for metric in (*METRICS, *perceptual, *patches))

    def score(self, colorization: Prediction) -> BatchScores:
        """Compute scores of each image by itself, so that they do not depend on the batch."""
        if self.parameters["rounding"] != "round":
            colorization = truncated(colorization, floats_only=self.parameters["rounding"] == "truncate-floats")
        rendered, truth = colorization.rgb8, colorization.truth
        if self.parameters["truth"] == "converted":
            rgb8 = truth.shared("fidelity.converted", lambda: converted(colorization.truth.rgb8))
            truth = GroundTruth(truth.ids, rgb8)
        inner = [_without_border(rgb8, int(self.parameters["border"])) for rgb8 in (rendered, truth.rgb8)]
        mse = _mse(*inner)
        columns = {"mse": mse, **mean_columns("psnr", self._psnr(mse))}
        window: Window = "gaussian" if self.parameters["ssim"] == "gaussian" else "uniform7"
        similarity = ssim(inner[0], inner[1], window=window, data_range=float(self.parameters["ssim_range"]))
        columns |= mean_columns("ssim", _array(similarity))
        columns |= mean_columns("ciede2000", _array(mean_ciede2000(colorization.lab, truth.lab)))
        for form in COLORFULNESS:
            columns |= self._colorfulness(form, _array(form.of(rendered)), _of_truth(truth, form.name, form.of))
        chroma, true_chroma = _array(mean_chroma(colorization.ab)), _of_truth(truth, "chroma", mean_chroma)
        columns |= mean_columns("mean_chroma", chroma)
        colored = true_chroma >= COLORLESS
        columns |= _ratio_columns("chroma_ratio", *(np.where(colored, x, np.nan) for x in (100 * chroma, true_chroma)))
        lightness = colorization.lightness
        columns |= mean_columns("lightness_drift", _array(lightness_drift(lightness, truth.lightness)))
        columns |= mean_columns("lightness_drift_share", _array(lightness_drift_share(lightness, truth.lightness)))
        if self.lpips is not None:
            columns |= mean_columns(self.lpips.spec.name, _array(self.lpips.distance(rendered, truth.rgb8)))
        if self._patch:
            boundary = self._psnr(_array(boundary_error(rendered, truth.rgb8, self._patch)))
            columns |= mean_columns("psnr_boundary", boundary)
            variance = _array(patch_error_variance(rendered, truth.rgb8, self._patch))
            columns |= mean_columns("patch_error_variance", variance)
        return BatchScores(columns)

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return effective sample sizes, the pooled PSNR, and the other averages of PSNR as notes."""
        if len(columns["mse"]) == 0:
            return Summary()
        pooled = self._pooled_columns(columns["mse"]) if self._pooled else {}
        together = {**columns, **pooled}
        sizes = {}
        for metric in self.metrics:
            statistics = [together[f"{metric.name}.s{j}"] for j in range(3 if metric.form == "abs_difference" else 2)]
            sizes[metric.name] = effective_n(np.stack(statistics, axis=1), metric.form)
        notes = _psnr_notes(columns["mse"], self._psnr(columns["mse"]), self.parameters["psnr_infinite"])
        return Summary(notes=notes, effective_n=sizes, statistics=pooled or None)

    @property
    def _patch(self) -> int:
        return int(self.parameters["patch"])

    @property
    def _pooled(self) -> bool:
        return self.parameters["psnr"] == "pooled"

    @property
    def _cap(self) -> float:
        return CAPS.get(self.parameters["psnr_infinite"], math.inf)

    def _psnr(self, mse: np.ndarray) -> np.ndarray:
        values = _psnr_of(mse)
        # All values above the bound are capped, not only infinite ones: an error in one pixel must not raise a score.
        return np.minimum(values, self._cap) if self._cap < math.inf else np.where(np.isinf(values), np.nan, values)

    def _pooled_columns(self, mse: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns whose mean is the PSNR of the mean squared error.

        Each image has its first-order influence on that PSNR, so that intervals and tests treat the value as a mean.
        """
        if self.parameters["psnr_infinite"] == "drop":
            mse = np.where(mse > 0, mse, np.nan)
        mean = np.nanmean(mse) if np.isfinite(mse).any() else math.nan
        if not mean > 0:
            return mean_columns("psnr", np.where(np.isnan(mse), np.nan, self._cap if self._cap < math.inf else np.nan))
        value = 10 * math.log10(255**2 / mean)
        if value >= self._cap:
            return mean_columns("psnr", np.where(np.isnan(mse), np.nan, self._cap))
        return mean_columns("psnr", value - 10 / math.log(10) * (mse - mean) / mean)

    def _colorfulness(self, form: ColorfulnessForm, rendered: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
        minimum = float(self.parameters["cf_minimum"])
        if minimum > 0:
            rendered, true = (np.where(rendered > minimum, values, np.nan) for values in (rendered, true))
        return _colorfulness_columns(form, rendered, true)


def _array(values: Tensor) -> np.ndarray:
    """Convert an (N,) tensor on any device to (N,) float64."""
    return values.double().cpu().numpy()


def _of_truth(truth: GroundTruth, name: str, of: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Compute a value of the ground truth, cached for the next model.

    Chroma is computed from ab, everything else from rgb8.
    """
    return _array(truth.shared(f"fidelity.{name}", lambda: of(truth.ab if of is mean_chroma else truth.rgb8)))


def _ratio_columns(name: str, numerator: np.ndarray, denominator: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a metric of form ``ratio``."""
    return {name: numerator / denominator, f"{name}.s0": numerator, f"{name}.s1": denominator}


def _colorfulness_columns(form: ColorfulnessForm, rendered: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    itself, of_means, per_image = (metric.name for metric in form.metrics)
    distance = np.abs(rendered - true)
    sums = {f"{of_means}.s0": rendered, f"{of_means}.s1": true, f"{of_means}.s2": np.ones_like(rendered)}
    return {**mean_columns(itself, rendered), of_means: distance, **sums, **mean_columns(per_image, distance)}


def _psnr_notes(mse: np.ndarray, psnr: np.ndarray, infinite: str) -> tuple[str, ...]:
    """Return notes with other averages of the same errors, and with the handling of exact matches."""
    exact, errors = int((mse == 0).sum()), mse[np.isfinite(mse)]
    notes = []
    if exact < len(errors):
        median, pooled = np.nanmedian(psnr), float(_psnr_of(errors.mean(keepdims=True))[0])
        others = f"mean {np.nanmean(psnr):.2f}, median {median:.2f}, pooled {pooled:.2f} dB"
        notes.append(f"other averages of PSNR: {others}")
    if exact:
        handling = "are left out of PSNR" if infinite == "drop" else f"count as {CAPS[infinite]:.2f} dB"
        notes.append(f"{exact} of {len(mse)} predictions equal the ground truth and {handling}")
    return tuple(notes)


def _psnr_of(mse: np.ndarray) -> np.ndarray:
    return _array(psnr_of_error(torch.tensor(mse)))  # a copy: rows that were read cannot be written to


def _mse(rgb8_a: Tensor, rgb8_b: Tensor) -> np.ndarray:
    """Compute the (N,) mean squared error; NaN where a border leaves no pixel."""
    if 0 in rgb8_a.shape[2:]:
        return np.full(len(rgb8_a), np.nan)
    return _array(mean_squared_error(rgb8_a, rgb8_b))


def _without_border(rgb8: Tensor, border: int) -> Tensor:
    height, width = rgb8.shape[2:]
    return rgb8[:, :, border : max(border, height - border), border : max(border, width - border)] if border else rgb8
