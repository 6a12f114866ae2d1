"""The ``hints`` protocol: how much better does a colorization get with true colors of a few points?

    colorbench run --model zoo/nearest-hint --protocol hints

A model is shown the true colors of 0, 1, 2, 5 ... points of each image, and PSNR and CIEDE2000 are measured at each
number. The points are drawn by the image's content, so that all models see the same, and those of a smaller number are
among those of a larger one. With enough hints everything is good: compare with ``zoo/nearest-hint``, which has no
network, at every number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import BatchScores, GroundTruth, Prediction, ProtocolSpec, Summary
from colorbench.metrics import ROUNDING_BOUND, mean_ciede2000, psnr
from colorbench.models import Reveals
from colorbench.results import MetricSpec
from protocols.mean_curves import curve_of, mean_columns
from protocols.number_parameters import integer_parameter

COUNTS = "0,1,2,5,10,20,50,100,200"
"""Numbers of revealed points, as in iColoriT (Yun et al., WACV 2023)."""
STATED = (0, 1, 10, 100)
"""Numbers of points that are metrics of their own, where they are measured; the others are points of the curves."""
MOST_POINTS = 10_000
LARGEST_SIZE = 99

DIFFERENCE = MetricSpec(
    name="ciede2000_area",
    title="Color difference, mean over hints",
    unit="ΔE00",
    higher_is_better=False,
    lower_bound=0,
    explanation="Color difference (CIEDE2000), averaged from no hint to many: mean height of its curve over log(1 + "
    "number of hints). Favors models that give the color of a few hints to the right regions. Compare with "
    "zoo/nearest-hint, which spreads the hints without a network.",
    of_ground_truth=0,
)
PSNR = MetricSpec(
    name="psnr_area",
    title="PSNR, mean over hints",
    unit="dB",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=ROUNDING_BOUND,
    explanation="PSNR, averaged from no hint to many: mean height of its curve over log(1 + number of hints). Favors "
    "dull colors where there are few hints; with many, zoo/nearest-hint scores high without a network.",
    of_ground_truth=ROUNDING_BOUND,
)


def _at(area: MetricSpec, count: int) -> MetricSpec:
    """Return the metric at one number of points."""
    title = "Color difference" if area is DIFFERENCE else "PSNR"
    points = {0: "without hints", 1: "with 1 hint"}.get(count, f"with {count} hints")
    what = "CIEDE2000 difference from" if area is DIFFERENCE else "PSNR against"
    favors = "Favors models that use the hints well: compare with zoo/nearest-hint at the same number."
    explanation = f"Mean {what} the true colors {points}. {favors}"
    if count == 0:
        favors = "Favors conservative, dull colors: compare with gray."
        explanation = f"Mean {what} the true colors {points}: the automatic prediction. {favors}"
    return replace(area, name=_column(area, count), title=f"{title} {points}", explanation=explanation)


def _column(area: MetricSpec, count: int) -> str:
    return f"{area.name.removesuffix('_area')}_at_{count}"


class HintsProtocol:
    """PSNR and CIEDE2000 against the number of revealed points."""

    spec = ProtocolSpec(
        name="hints",
        version=1,
        category="Fidelity",
        title="Hints: fidelity against the number of revealed points",
        parameters={"preprocessing": "squash256", "counts": COUNTS, "size": 7, "seed": 0},
        metrics=(
            DIFFERENCE,
            PSNR,
            *(metric for count in STATED for metric in (_at(DIFFERENCE, count), _at(PSNR, count))),
        ),
        headline=DIFFERENCE.name,
        headline_reason="it covers the whole way from no hint to many, in differences as an observer sees them",
        needs=("Guided",),
        keywords={"counts": (COUNTS,)},
        parameter_help={
            "preprocessing": "from file to evaluated pixels: squash256, center256, cropsquare256, native",
            "counts": f"numbers of revealed points, increasing, at least two, at most {MOST_POINTS}",
            "size": "side in pixels of the square around a point whose mean true color is revealed; 7 as in the demo "
            "of the SIGGRAPH 2017 network, 2 as in iColoriT",
            "seed": "of the points; the run's seed does not move them",
        },
    )

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> HintsScorer:
        """Return a scorer for these parameters.

        Raises:
            UserError: for an unknown parameter or value.
        """
        chosen = self.spec.resolved(parameters)
        name = self.spec.name
        counts = tuple(
            integer_parameter(name, "counts", part.strip(), 0, MOST_POINTS) for part in chosen["counts"].split(",")
        )
        if len(counts) < 2 or any(one >= other for one, other in zip(counts, counts[1:], strict=False)):
            hint = "give at least two increasing integers, such as 0,1,10,100"
            raise UserError(f"{name}.counts cannot be {chosen['counts']!r}", hint=hint)
        size = integer_parameter(name, "size", chosen["size"], 1, LARGEST_SIZE)
        seed = integer_parameter(name, "seed", chosen["seed"], 0, 2**31 - 1)
        # One set of counts is one identity, however it is written.
        resolved = {**chosen, "counts": ",".join(map(str, counts)), "size": str(size), "seed": str(seed)}
        return HintsScorer(resolved, Reveals(counts, size, seed))


@dataclass(frozen=True)
class HintsScorer:
    """Hints with the parameters resolved."""

    parameters: Mapping[str, str]
    further: Reveals

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing."""
        return self.parameters["preprocessing"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parameters."""
        return self.parameters

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Both means over hints, and both scores at those numbers of points that are stated and measured."""
        stated = [count for count in STATED if count in self.further.counts]
        return (DIFFERENCE, PSNR, *(_at(area, count) for count in stated for area in (DIFFERENCE, PSNR)))

    def score(self, colorization: Prediction) -> BatchScores:
        """Compute both scores of each image at each number of points, and their means over the curve."""
        predictions = colorization.requested(self.further)
        truth = colorization.truth
        columns: dict[str, np.ndarray] = {}
        for area in (DIFFERENCE, PSNR):
            curve = np.stack([self._scores(area, one, truth) for one in predictions], axis=1)  # (N, counts)
            for count, values in zip(self.further.counts, curve.T, strict=True):
                name, stated = _column(area, count), count in STATED
                columns |= mean_columns(name, values.copy()) if stated else {name: values.copy()}
            columns |= mean_columns(area.name, mean_height(self.further.counts, curve))
        return BatchScores(columns)

    @staticmethod
    def _scores(area: MetricSpec, one: Prediction, truth: GroundTruth) -> np.ndarray:
        if area is PSNR:
            return psnr(one.rgb8, truth.rgb8).clamp(max=ROUNDING_BOUND).double().cpu().numpy()
        # Not `one.lab`, which would be kept: a batch has one for each number of points.
        return mean_ciede2000(rgb_to_lab(one.rgb8), truth.lab).double().cpu().numpy()

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return both curves over the number of points."""
        if len(columns[DIFFERENCE.name]) == 0:
            return Summary()
        counts = self.further.counts
        labels = {DIFFERENCE.name: "CIEDE2000", PSNR.name: "PSNR, dB"}
        return Summary(
            tuple(
                curve_of(
                    area.name.removesuffix("_area"),
                    f"{'Color difference' if area is DIFFERENCE else 'PSNR'} against hints",
                    "revealed points",
                    labels[area.name],
                    [float(count) for count in counts],
                    [columns[_column(area, count)] for count in counts],
                )
                for area in (DIFFERENCE, PSNR)
            )
        )


def mean_height(counts: Sequence[int], curve: np.ndarray) -> np.ndarray:
    """Return the mean height of curves over log(1 + number of hints), by the trapezoid rule.

    Args:
        counts: (M,) increasing, at least two.
        curve: (N, M), a value at each count.

    Returns:
        (N,).
    """
    x = np.log1p(np.asarray(counts, dtype=np.float64))
    return np.asarray(np.trapezoid(curve, x, axis=1) / (x[-1] - x[0]))
