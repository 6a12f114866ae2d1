"""The ``diversity`` protocol: how well several colorizations of an image represent its possible colors.

    colorbench run --model zoo/cic --protocol diversity

A model draws ``samples`` colorizations of each image. The energy score compares all of them with the true colors: it
is lowest for the distribution that the true colors are drawn from, so that spread pays only where it is true. Best-of-k
and the spread among samples are given beside it, as papers report them: spread alone can be had by noise, and the best
of k improves with k and by chance.

Of a deterministic model every sample is the same, and the energy score is the distance of its prediction from the
truth. Stored predictions are refused: one image does not tell how others would differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import BatchScores, Derived, Prediction, ProtocolSpec, Summary
from colorbench.metrics import energy_score, expected_best, mean_ciede2000
from colorbench.models import Draws, LoadedModel
from colorbench.results import MetricSpec
from protocols.mean_curves import curve_of, mean_columns
from protocols.number_parameters import integer_parameter

if TYPE_CHECKING:
    from colorbench.results import Record

MAP = 16
"""Side of the map of mean colors that samples are compared on: coherent areas count, single pixels do not."""
MOST_SAMPLES = 64
DISTANCES = "sample_ciede2000"
"""Array (n, samples): CIEDE2000 of each sample from the truth."""

ENERGY = MetricSpec(
    name="energy",
    title="Energy score",
    unit="ab",
    higher_is_better=False,
    lower_bound=0,
    explanation="How well the samples of an image together represent its possible colors, on a 16 x 16 map of ab: "
    "their mean distance from the ground truth minus half of their mean distance from one another. Favors samples that "
    "differ as much as the true colors are uncertain, and no more. Compare with zoo/random, which draws the colors of "
    "other images.",
    of_ground_truth=0,
    ground_truth_margin=0.25,
)
ENERGY_PIXEL = replace(
    ENERGY,
    name="energy_pixel",
    title="Energy score per pixel",
    explanation="Energy score of each pixel separately, mean over pixels. Favors the right spread at each pixel, even "
    "if neighboring pixels do not fit together.",
)
ENERGY_PREDICTION = replace(
    ENERGY,
    name="energy_prediction",
    title="Energy of one prediction",
    explanation="Energy score that the model's usual prediction alone would have: its distance from the ground truth. "
    "Favors conservative, dull colors. Sampling helps where the energy score is lower.",
)
MEAN = MetricSpec(
    name="ciede2000",
    title="Color difference",
    unit="ΔE00",
    higher_is_better=False,
    lower_bound=0,
    explanation="Mean color difference (CIEDE2000) of a single sample from the true colors. Favors samples that hardly "
    "differ: any spread increases it.",
    of_ground_truth=0,
    ground_truth_margin=0.25,
)
BEST = replace(
    MEAN,
    name="ciede2000_best",
    title="Best of k",
    explanation="Expected color difference (CIEDE2000) of the best of k samples, selected with the ground truth. "
    "Favors samples that differ, also by chance, and improves with k: compare equal k only, together with the energy "
    "score.",
)
SPREAD = MetricSpec(
    name="spread",
    title="Spread",
    unit="ΔE00",
    higher_is_better=None,
    lower_bound=0,
    explanation="Mean color difference (CIEDE2000) between two samples of an image. Noise increases it too, so more is "
    "not better.",
    of_ground_truth=0,
)


class DiversityProtocol:
    """Energy score, best of k and spread of several colorizations of each image."""

    spec = ProtocolSpec(
        name="diversity",
        version=1,
        category="Distribution",
        title="Diversity: several colorizations of one image",
        parameters={"preprocessing": "squash256", "samples": 8, "best": 5},
        metrics=(ENERGY, BEST, SPREAD, MEAN, ENERGY_PREDICTION, ENERGY_PIXEL),
        headline=ENERGY.name,
        headline_reason="spread can be had by noise, and the best of k by chance; it improves only where the samples "
        "are spread as the true colors are",
        parameter_help={
            "preprocessing": "from file to evaluated pixels: squash256, center256, cropsquare256, native",
            "samples": f"colorizations that are drawn of each image, 2 to {MOST_SAMPLES}; the energy score does not "
            "depend on their number, only its noise does",
            "best": "k of the best of k, 1 to the number of samples",
        },
    )

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> DiversityScorer:
        """Return a scorer for these parameters.

        Raises:
            UserError: for an unknown parameter or value.
        """
        chosen = self.spec.resolved(parameters)
        samples = integer_parameter(self.spec.name, "samples", chosen["samples"], 2, MOST_SAMPLES)
        best = integer_parameter(self.spec.name, "best", chosen["best"], 1, samples)
        # One number is one identity, however it is written.
        return DiversityScorer({**chosen, "samples": str(samples), "best": str(best)})


@dataclass(frozen=True)
class DiversityScorer:
    """Diversity with its parameters resolved."""

    parameters: Mapping[str, str]

    @property
    def further(self) -> Draws:
        """The samples."""
        return Draws(int(self.parameters["samples"]))

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing."""
        return self.parameters["preprocessing"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parameters, and the side of the map."""
        return {**self.parameters, "map": MAP}

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics; the best of k names its k."""
        best = replace(BEST, title=f"Best of {self.parameters['best']}")
        return (ENERGY, best, SPREAD, MEAN, ENERGY_PREDICTION, ENERGY_PIXEL)

    def check_model(self, model: LoadedModel) -> None:
        """Refuse stored predictions.

        Raises:
            UserError: saying why.
        """
        if model.stored is not None:
            what = f"diversity needs several colorizations of each image, and {model.full_name} holds one"
            raise UserError(what, hint="name the model itself, or give it the interface Samples (docs/diversity.md)")

    def score(self, colorization: Prediction) -> BatchScores:
        """Score the samples of each image by itself."""
        draws = colorization.requested(self.further)
        # A deterministic model has one prediction, which stands for all of them.
        different = list({id(one): one for one in draws}.values())
        scores = [self._image(colorization, different, place) for place in range(len(colorization.ids))]
        distances = np.array([one.pop(DISTANCES) for one in scores])
        distances = np.broadcast_to(distances, (len(distances), len(draws))).copy()
        columns: dict[str, np.ndarray] = {}
        for name in (ENERGY.name, ENERGY_PIXEL.name, ENERGY_PREDICTION.name, SPREAD.name):
            columns |= mean_columns(name, np.array([one[name] for one in scores]))
        return BatchScores({**columns, **self._of_distances(distances)}, {DISTANCES: distances})

    def _image(self, colorization: Prediction, draws: Sequence[Prediction], place: int) -> dict[str, Any]:
        """Return the scores of one image, one float each, and its samples' CIEDE2000."""
        lab = [rgb_to_lab(one.rgb8[place : place + 1]) for one in draws]
        true = colorization.truth.lab[place : place + 1]
        usual = rgb_to_lab(colorization.rgb8[place : place + 1])
        maps = torch.stack([_map(one) for one in lab])
        pixels = torch.stack([one[0, 1:].movedim(0, -1) for one in lab])  # (K, H, W, 2)
        # Each sample with the next: the mean is that of all pairs, at a fraction of the time.
        pairs = list(zip(lab, [*lab[1:], lab[0]], strict=True))[: len(lab) if len(lab) > 2 else len(lab) - 1]
        return {
            ENERGY.name: float(energy_score(maps, _map(true))),
            ENERGY_PIXEL.name: float(energy_score(pixels, true[0, 1:].movedim(0, -1)).mean()),
            ENERGY_PREDICTION.name: float(energy_score(_map(usual)[None], _map(true))),
            SPREAD.name: float(np.mean([float(mean_ciede2000(*pair)) for pair in pairs])) if pairs else 0.0,
            DISTANCES: [float(mean_ciede2000(one, true)) for one in lab],
        }

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return the curve of the best of 1, 2 ... samples, and a note on a deterministic model."""
        distances = arrays[DISTANCES]
        if len(distances) == 0:
            return Summary()
        counts = range(1, distances.shape[1] + 1)
        best = [expected_best(distances, count) for count in counts]
        curve = curve_of(
            "best", "Expected best of k samples", "k", "CIEDE2000 of the best sample", [float(k) for k in counts], best
        )
        notes: tuple[str, ...] = ()
        if not columns[SPREAD.name].any():
            notes = ("all samples of an image are equal: the energy score is the distance of one prediction",)
        return Summary((curve,), notes=notes)

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Return the columns that follow from the samples' distances.

        Raises:
            ValueError: for an array of another form.
        """
        distances = np.asarray(arrays[DISTANCES], dtype=np.float64)
        if distances.ndim != 2 or distances.shape[1] != self.further.count:
            raise ValueError(f"{DISTANCES} is not of {self.further.count} samples")
        return Derived((self._of_distances(distances),))

    def _of_distances(self, distances: np.ndarray) -> dict[str, np.ndarray]:
        best = expected_best(distances, int(self.parameters["best"]))
        return {**mean_columns(MEAN.name, distances.mean(axis=1)), **mean_columns(BEST.name, best)}


def _map(lab: Tensor) -> Tensor:
    """Return the mean colors of one image on a map, (2 MAP^2,), scaled so that distances are those of a mean cell."""
    return adaptive_avg_pool2d(lab[:, 1:].double(), MAP).flatten() / MAP
