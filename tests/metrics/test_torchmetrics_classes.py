"""Every metric in one tester: function, oracle and torchmetrics class; and the classes together in a collection."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics import MetricCollection

from colorbench.color import ab_bins, lightness_and_ab, load_prior, nearest_bin, rebalancing_weights, rgb_to_lab
from colorbench.metrics import (
    auc,
    cf_abs,
    cf_hs,
    lightness_drift,
    lightness_drift_share,
    mean_ciede2000,
)
from colorbench.metrics import mean_chroma as chroma_of
from colorbench.metrics import psnr as psnr_of
from colorbench.metrics import ssim as ssim_of
from colorbench.metrics import torchmetrics_classes as stateful
from colorbench.testing import oracles
from tests.support.metric_tester import MetricTester, pairs

PRIOR = load_prior()
BINS = ab_bins().numpy()


def ab(rgb8: Tensor) -> Tensor:
    return lightness_and_ab(rgb8)[1]


def lightness(rgb8: Tensor) -> Tensor:
    return lightness_and_ab(rgb8)[0]


def chroma_ratio(prediction: Tensor, target: Tensor) -> Tensor:
    true = chroma_of(ab(target))
    return torch.where(true >= 1, 100 * chroma_of(ab(prediction)) / true, torch.nan)


def pooled_chroma_ratio(prediction: Tensor, target: Tensor) -> Tensor:
    true, colored = chroma_of(ab(target)), chroma_of(ab(target)) >= 1
    return 100 * chroma_of(ab(prediction))[colored].sum() / true[colored].sum()


def chroma_ratio_oracle(prediction: np.ndarray, target: np.ndarray) -> float:
    true = oracles.chroma(target)
    return 100 * oracles.chroma(prediction) / true if true >= 1 else float("nan")


def rebalanced(prediction: Tensor, target: Tensor, lam: float) -> Tensor:
    """(N,) weighted AuC by a slow path: raw AuC of each bin's pixels, pooled by weight."""
    return torch.stack([_pooled(one[None], other[None], lam) for one, other in zip(prediction, target, strict=True)])


def _pooled(prediction: Tensor, target: Tensor, lam: float) -> Tensor:
    weights = torch.from_numpy(rebalancing_weights(PRIOR.probabilities, lam))[nearest_bin(ab(target))]
    distance = (ab(prediction) - ab(target)).norm(dim=1)
    score = ((301 - 2 * distance.ceil()).clamp(0, 300) / 300).double()
    return 100 * (weights * score).mean((1, 2)).sum() / weights.mean((1, 2)).sum()


def rebalanced_oracle(lam: float) -> object:
    def of_image(prediction: np.ndarray, target: np.ndarray) -> float:
        weights = oracles.bin_weights(PRIOR.probabilities, lam)[oracles.nearest_bins(target, BINS)]
        return oracles.auc(prediction, target, weights)

    return of_image


def ssim_oracle(prediction: np.ndarray, target: np.ndarray) -> float:
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(structural_similarity(prediction.astype(float), target.astype(float), channel_axis=0, **wang))


def drift_share_oracle(prediction: np.ndarray, target: np.ndarray) -> float:
    return 100 * float((np.abs(oracles.lab(prediction)[0] - oracles.lab(target)[0]) > 1).mean())


def case(name: str, function: object, oracle: object, make: object, better: bool | None, **options: object) -> object:
    return pytest.param(MetricTester(name, function, oracle, make, better, **options), id=name)  # type: ignore[arg-type]


CAP = stateful.ROUNDING_BOUND
# AuC counts pixels at whole distances: float32 and float64 put a few of 720 on two sides of a threshold.
COUNTED = {"scale": 100.0, "loose": 20.0}
METRICS = [
    case(
        "psnr",
        lambda p, t: psnr_of(p, t).clamp_max(CAP),
        lambda p, t: min(oracles.psnr(p, t), CAP),
        stateful.PSNR,
        True,
        scale=CAP,
    ),
    case(
        "ciede2000",
        lambda p, t: mean_ciede2000(rgb_to_lab(p), rgb_to_lab(t)),
        oracles.ciede2000,
        stateful.CIEDE2000,
        False,
        scale=100.0,
    ),
    case(
        "cf_hs",
        lambda p, _: cf_hs(p),
        lambda p, _: oracles.colorfulness(p),
        stateful.Colorfulness,
        None,
    ),
    case(
        "cf_abs",
        lambda p, _: cf_abs(p),
        lambda p, _: oracles.colorfulness(p, absolute=True),
        lambda: stateful.Colorfulness("abs"),
        None,
    ),
    case(
        "mean_chroma",
        lambda p, _: chroma_of(ab(p)),
        lambda p, _: oracles.chroma(p),
        stateful.MeanChroma,
        None,
        scale=100.0,
    ),
    case(
        "chroma_ratio",
        chroma_ratio,
        chroma_ratio_oracle,
        stateful.ChromaRatio,
        None,
        scale=100.0,
        total=pooled_chroma_ratio,
        loose=10.0,
    ),
    case(
        "lightness_drift",
        lambda p, t: lightness_drift(lightness(p), lightness(t)),
        oracles.lightness_drift,
        stateful.LightnessDrift,
        False,
        scale=100.0,
    ),
    case(
        "lightness_drift_share",
        lambda p, t: lightness_drift_share(lightness(p), lightness(t)),
        drift_share_oracle,
        stateful.LightnessDriftShare,
        False,
        scale=100.0,
    ),
    case("ssim", ssim_of, ssim_oracle, stateful.SSIM, True, loose=10.0),
    case("auc", lambda p, t: auc(ab(p), ab(t)), oracles.auc, stateful.AuC, True, **COUNTED),
    *(
        case(
            f"auc_rebalanced_{lam}",
            lambda p, t, lam=lam: rebalanced(p, t, lam),
            rebalanced_oracle(lam),
            lambda lam=lam: stateful.RebalancedAuC(PRIOR, lam),
            True,
            total=lambda p, t, lam=lam: _pooled(p, t, lam),
            scale=100.0,
            loose=100.0,
        )
        for lam in (0.0, 0.1)
    ),
]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("check", ["oracle", "batches", "class", "processes", "dtype", "direction"])
def test_a_metric_keeps_its_form(metric: MetricTester, check: str) -> None:
    getattr(metric, f"check_{check}")()


def test_every_class_is_tested() -> None:
    classes = {
        value
        for value in vars(stateful).values()
        if isinstance(value, type) and issubclass(value, stateful.RatioMetric) and value is not stateful.RatioMetric
    }
    made = {type(parameters.values[0].make()) for parameters in METRICS}  # type: ignore[attr-defined]
    assert made == classes


def test_metrics_of_a_collection_never_share_states() -> None:
    # Gray predictions give both forms 0 in the first batch: torchmetrics would let equal states be one from then on.
    prediction, target = pairs()
    gray = prediction[:, :1].expand(-1, 3, -1, -1).contiguous()
    collection = MetricCollection(
        {
            "hs": stateful.Colorfulness("hs"),
            "abs": stateful.Colorfulness("abs"),
            "pure": stateful.RebalancedAuC(PRIOR, 0.0),
            "stable": stateful.RebalancedAuC(PRIOR, 0.1),
        }
    )
    collection.update(gray, gray)
    collection.update(prediction, target)
    found = {name: float(value) for name, value in collection.compute().items()}
    alone = {form: stateful.Colorfulness(form) for form in ("hs", "abs")}  # type: ignore[arg-type]
    for name, metric in alone.items():
        metric.update(gray, gray)
        metric.update(prediction, target)
        assert found[name] == pytest.approx(float(metric.compute()), abs=1e-9)
    assert found["hs"] != pytest.approx(found["abs"])
    assert found["pure"] != pytest.approx(found["stable"])


def test_the_rebalanced_score_is_that_of_the_protocol() -> None:
    from colorbench.evaluation import GroundTruth, Prediction
    from protocols.auc import AucProtocol

    prediction, target = pairs()
    scorer = AucProtocol().resolve({}, None)  # type: ignore[arg-type]
    columns = scorer.score(Prediction(GroundTruth(tuple("abcdefg"), target), rgb8=prediction)).columns
    metric = stateful.RebalancedAuC()
    metric.update(prediction, target)
    name = "auc_rebalanced_stable"
    assert float(metric.compute()) == pytest.approx(columns[f"{name}.s0"].sum() / columns[f"{name}.s1"].sum(), abs=1e-9)


@pytest.mark.parametrize("form", ["HS", "", None])
def test_an_unknown_form_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match="choose hs or abs"):
        stateful.Colorfulness(form)  # type: ignore[arg-type]


def test_without_torchmetrics_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["torchmetrics"] = None
import colorbench.metrics
assert callable(colorbench.metrics.psnr)
try:
    colorbench.metrics.PSNR
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [
        "metrics with update and compute need torchmetrics, which is not installed: "
        "install the extra `torchmetrics`: in a clone, uv run --extra torchmetrics, or pip install '.[torchmetrics]'"
    ], done.stderr
