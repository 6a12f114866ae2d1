"""The ``auc`` protocol: area under the cumulative curve of color error, raw and rebalanced (paper, table 1).

    colorbench run --protocol auc
    colorbench run --protocol auc --param auc.prior=prior_probs.npy

Rebalanced scores weight a pixel by the rarity of the bin of its *true* color, with E_prior[w] = 1, and are pooled:
numerator and denominator are summed over the images before dividing. ``auc_rebalanced`` (lambda 0) is the paper's. A
few pixels of the rarest colors dominate it, so models are compared by ``auc_rebalanced_stable`` (lambda 0.1).

The counts by bin are stored for every image, so scores with other weights need no new run of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from colorbench.color import SHIPPED_PRIOR, Prior, load_prior, nearest_bin, rebalancing_weights
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import BatchScores, Curve, Derived, Prediction, ProtocolSpec, Summary
from colorbench.metrics import LAST_THRESHOLD, auc_statistics, pooled_statistics, weighted_histogram
from colorbench.results import MetricSpec
from colorbench.stats import MINIMUM_IMAGES, effective_n

if TYPE_CHECKING:
    from colorbench.results import Record

OF_THE_SET = "dataset"
BLOCK = 4096
"""Number of images whose stored arrays are in memory at once during a summation: 40 MB."""
LAMBDAS = {"auc_rebalanced": 0.0, "auc_rebalanced_stable": 0.1}
"""Share of the uniform distribution in the weights. Fixed: other values would be other metrics. At 0.1 and with 650
images, 95 % intervals cover 93-96 %; at 0 the weights of the rarest bins are 10^5 times those of the common ones."""


RAW = MetricSpec(
    name="auc_raw",
    title="AuC",
    unit="%",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=100,
    explanation="Share of pixels whose color error (distance in ab) is below a threshold, averaged over the thresholds "
    "0 to 150. Favors dull predictions: most pixels of natural images are nearly gray, so gray alone scores about 89 % "
    "on ImageNet.",
    of_ground_truth=100,
    # A quarter of a point: one pixel in four off by one unit of ab, as rounding to 8 bits moves it.
    ground_truth_margin=0.25,
)
REBALANCED = replace(
    RAW,
    name="auc_rebalanced",
    title="AuC rebalanced (λ = 0)",
    explanation="AuC in which a pixel counts by the rarity of its true color, as in the paper (λ = 0: inverse "
    "frequency). Favors vivid colors; a few pixels of the rarest colors decide it, so models are not ranked by it.",
    comparable=False,
)
STABLE = replace(
    RAW,
    name="auc_rebalanced_stable",
    title="AuC rebalanced (λ = 0.1)",
    explanation="AuC in which rare colors count nearly as much as common ones; the weights are bounded (λ = 0.1), so "
    "that no few pixels decide it. Favors vivid colors that are right. Many constant colors beat gray, so compare "
    "with both.",
)


class AucProtocol:
    """AuC, scored image by image in the engine's pass."""

    spec = ProtocolSpec(
        name="auc",
        version=1,
        title="Area under the curve of color error",
        parameters={"prior": SHIPPED_PRIOR, "preprocessing": "squash256", "convention": "trapezoid", "ab": "rgb8"},
        metrics=(RAW, REBALANCED, STABLE),
        category="Fidelity",
        headline="auc_rebalanced_stable",
        headline_reason="raw AuC is won by nearly gray predictions, and at λ = 0 a few pixels decide; this form "
        "rewards the right color where there is one, and its intervals hold",
        presets={
            # The paper specifies neither size nor integration rule; with these, gray has its published value. The paper
            # compares ab as predicted; its ImageNet prior is given by prior=FILE.
            "auc@cic2016": {"preprocessing": "squash256", "convention": "trapezoid", "ab": "float"},
            "auc@exact": {"convention": "exact"},
        },
        choices={"convention": ("trapezoid", "exact"), "ab": ("rgb8", "float")},
        keywords={"prior": (SHIPPED_PRIOR, OF_THE_SET)},
        parameter_help={
            "prior": f"share of each bin among natural pixels: `{SHIPPED_PRIOR}` (included), a .npy file (313 "
            f"numbers), or `{OF_THE_SET}` (estimated on the evaluated dataset: no interval, never compared)",
            "preprocessing": "from file to evaluated pixels: squash256, center256, cropsquare256, native",
            "convention": "trapezoid (thresholds 0, 1 ... 150, d <= t) or exact (the integral)",
            "ab": "rgb8 (as rendered: clipped to sRGB, rounded to 8 bits) or float (as predicted; refused for models "
            "that return 8-bit RGB)",
        },
    )

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> AucScorer:
        """Resolve parameters into a scorer.

        Raises:
            UserError: for an unknown parameter or value, or a prior that cannot be read.
        """
        chosen = self.spec.resolved(parameters)
        return AucScorer(chosen, None if chosen["prior"] == OF_THE_SET else load_prior(chosen["prior"]))


@dataclass(frozen=True)
class AucScorer:
    """AuC with its parameters resolved."""

    parameters: Mapping[str, str]
    prior: Prior | None
    """None: estimated on the evaluated dataset."""

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing."""
        return self.parameters["preprocessing"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parameters, with the prior's content in place of its name."""
        prior = OF_THE_SET if self.prior is None else f"sha256:{self.prior.sha256}"
        return {
            **self.parameters,
            "prior": prior,
            "thresholds": f"0..{LAST_THRESHOLD} step 1, d <= t",
            "lambdas": dict(LAMBDAS),
        }

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics; with a prior of the dataset itself the rebalanced ones have no interval and are not compared.

        A resample of the images would change the weights, so neither would be valid.
        """
        if self.prior is not None:
            return (RAW, REBALANCED, STABLE)
        return (RAW, *(replace(metric, comparable=False, interval=False) for metric in (REBALANCED, STABLE)))

    def score(self, colorization: Prediction) -> BatchScores:
        """Compute scores and statistics of each image by itself, so that they do not depend on the batch."""
        truth = colorization.truth
        bins = truth.shared("nearest_bin", lambda: nearest_bin(truth.ab))
        as_given = self.parameters["ab"] == "float"
        given = colorization.given_rgb8
        # The ground truth has 8 bits itself: if the prediction is the ground truth, nothing was rounded.
        if as_given and given is not None and given is not truth.rgb8 and not torch.equal(given, truth.rgb8):
            what = "auc.ab=float needs unrounded ab, but these predictions are 8-bit RGB"
            raise UserError(what, hint="use auc.ab=rgb8 (the default of `auc`)")
        predicted = colorization.ab_float if as_given else colorization.ab
        statistics = auc_statistics(predicted, truth.ab, bins)
        arrays = {
            "bin_counts": statistics.counts.astype(np.int32),
            "bin_scores": statistics.doubled_scores,
            "bin_distance": statistics.distances,
            "histogram": statistics.histogram.astype(np.int32),
        }
        columns = {"pixels": statistics.pixels.astype(np.float64), **self._columns("auc_raw", arrays, None)}
        for name, weights in self._weights(self.prior).items():
            columns |= self._columns(name, arrays, weights)
            arrays[f"{name}.histogram"] = weighted_histogram(statistics, weights)
        return BatchScores(columns, arrays)

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return curves over the thresholds, effective numbers and, with a prior of the dataset, its statistics."""
        n = len(columns["pixels"])
        if n == 0:
            return Summary()
        shares = _bin_shares(arrays, n)
        pixels = columns["pixels"][:, None]
        curves = [_curve(RAW, np.ones(n), lambda block: arrays["histogram"][block] / pixels[block])]
        if self.prior is None:
            weights = self._weights(Prior(shares, "hard", OF_THE_SET, n))
            parts = [
                {key: value for name in weights for key, value in self._columns(name, block, weights[name]).items()}
                for block in _blocks(arrays, n)
            ]
            found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            note = "the prior was estimated on this dataset: rebalanced scores hold for it only, without interval"
            return Summary(tuple(curves), found, (note,), _effective({**columns, **found}))
        for metric in (REBALANCED, STABLE):
            weighted = arrays[f"{metric.name}.histogram"]
            curves.append(_curve(metric, columns[f"{metric.name}.s1"], _slices_of(weighted)))
        never = self.prior.probabilities == 0
        notes = []
        if shares[never].any():
            notes.append(
                f"the prior {self.prior.name} is 0 for {int((shares[never] > 0).sum())} bins with "
                f"{100 * shares[never].sum():.2g} % of these pixels; they have the weight of its rarest bin"
            )
        return Summary(tuple(curves), notes=tuple(notes), effective_n=_effective(columns))

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Compute rows from the counts of the bins.

        With the trapezoid rule, compute them a second time from the histograms of the distance.

        Raises:
            ValueError: for arrays that contradict one another.
        """
        counts, histogram = arrays["bin_counts"].astype(np.int64), arrays["histogram"].astype(np.int64)
        pixels = counts.sum(axis=1)
        if (counts < 0).any() or (histogram < 0).any() or not np.array_equal(histogram.sum(axis=1), pixels):
            raise ValueError("bin_counts and histogram count different pixels")
        weights = self._weights(self.prior)
        by_bin: dict[str, np.ndarray] = {"pixels": pixels.astype(np.float64), **self._columns("auc_raw", arrays, None)}
        by_distance: dict[str, np.ndarray] = {}
        area = np.clip(2 * LAST_THRESHOLD + 1 - 2 * np.arange(LAST_THRESHOLD + 2), 0, 2 * LAST_THRESHOLD) / (
            2 * LAST_THRESHOLD
        )  # (152,) of a pixel at ceil(d)
        shares = {"auc_raw": histogram / pixels[:, None]}
        for name, of_bins in weights.items():
            by_bin |= self._columns(name, arrays, of_bins)
            shares[name] = arrays[f"{name}.histogram"]
        for name, share in shares.items():
            by_distance[f"{name}.s1"] = share.sum(axis=1)
            if self.parameters["convention"] == "trapezoid":
                by_distance[f"{name}.s0"] = 100 * share @ area
        return Derived((by_bin, by_distance))

    def _columns(
        self, name: str, arrays: Mapping[str, np.ndarray], weights: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Return score and statistics of one metric for each image, from the stored arrays."""
        counts = arrays["bin_counts"]
        if self.parameters["convention"] == "trapezoid":
            scores, full = arrays["bin_scores"], 2 * LAST_THRESHOLD
        else:
            # Counts have 32 bits, which is too small for 150 times the pixels of a bin of a large image.
            scores, full = LAST_THRESHOLD * counts.astype(np.int64) - arrays["bin_distance"], LAST_THRESHOLD
        pooled = pooled_statistics(scores, counts, full, weights)
        return {name: pooled[:, 0] / pooled[:, 1], f"{name}.s0": pooled[:, 0], f"{name}.s1": pooled[:, 1]}

    @staticmethod
    def _weights(prior: Prior | None) -> dict[str, np.ndarray]:
        """Return the (313,) bin weights of each metric; empty without a prior."""
        if prior is None:
            return {}
        return {name: rebalancing_weights(prior.probabilities, lam) for name, lam in LAMBDAS.items()}


def _blocks(arrays: Mapping[str, np.ndarray], n: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of a limited number of images at a time: those of a large dataset do not fit in memory."""
    full = {name: arrays[name] for name in ("bin_counts", "bin_scores", "bin_distance")}
    for start in range(0, n, BLOCK):
        yield {name: values[start : start + BLOCK] for name, values in full.items()}


def _bin_shares(arrays: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    """Return the (313,) mean over images of each image's shares of the bins: the hard-bin prior of the dataset."""
    sums = [
        (block["bin_counts"] / block["bin_counts"].sum(axis=1, keepdims=True)).sum(axis=0)
        for block in _blocks(arrays, n)
    ]
    return np.asarray(np.sum(sums, axis=0) / n)


def _curve(metric: MetricSpec, weights: np.ndarray, shares: Callable[[slice], np.ndarray]) -> Curve:
    """Return a metric's cumulative curve over the thresholds, with a 95 % interval at each.

    A point is a ratio of sums over images; the standard error of a ratio is that of its linearization (Cochran,
    "Sampling Techniques", 1977, section 6.4). The interval is symmetric and cut off at 0 and 100.

    Args:
        metric: of the curve.
        weights: (n,) weight of each image.
        shares: slice of images -> their (k, 152) weighted shares of pixels by ceil(d).
    """
    n = len(weights)
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    total = float(weights.sum())
    below = np.sum([_below(shares(block)).sum(axis=0) for block in blocks], axis=0) / total
    below = np.minimum(below, 1)  # sums of shares can exceed 1 by rounding
    low_high: tuple[tuple[float, ...], ...] = ((), ())
    if n >= MINIMUM_IMAGES:
        squares = [((_below(shares(block)) - below * weights[block, None]) ** 2).sum(axis=0) for block in blocks]
        reach = NormalDist().inv_cdf(0.975) * np.sqrt(n / (n - 1) * np.sum(squares, axis=0)) / total
        low_high = tuple(tuple((100 * np.clip(end, 0, 1)).tolist()) for end in (below - reach, below + reach))
    x = tuple(float(threshold) for threshold in range(LAST_THRESHOLD + 1))
    axes = ("ab error threshold", "pixels below the threshold, %")
    return Curve(metric.name, metric.title, *axes, x, tuple((100 * below).tolist()), low=low_high[0], high=low_high[1])


def _slices_of(values: np.ndarray) -> Callable[[slice], np.ndarray]:
    """Return the function from a slice to these values."""
    return lambda block: values[block]


def _below(histogram: np.ndarray) -> np.ndarray:
    """Return (k, 151) weighted shares below each threshold from (k, 152) shares by ceil(d)."""
    return np.cumsum(histogram, axis=1)[:, : LAST_THRESHOLD + 1]


def _effective(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the effective sample size of each metric, in images."""
    names = ("auc_raw", *LAMBDAS)
    return {n: effective_n(np.stack([columns[f"{n}.s0"], columns[f"{n}.s1"]], axis=1), "ratio") for n in names}
