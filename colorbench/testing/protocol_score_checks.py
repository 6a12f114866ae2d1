"""Conformance checks of the scores of an image protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from colorbench.errors import RunError, UserError
from colorbench.evaluation import Prediction, Summary, further_of, metrics_of
from colorbench.models.foreign_code import one_line
from colorbench.results import MetricSpec
from colorbench.results.metric_spec import check_statistics
from colorbench.testing.check_report import CheckFailed, CheckSkipped, ConformanceCheck
from colorbench.testing.protocol_subject import IMAGES, ProtocolSubject, predictions_for

TOLERANCE = 1e-5
"""Tolerance for rows, relative to the scale of the metric, as in the whole library."""
ORDER = (3, 0, 5, 1)
"""Positions of the images that are also scored in another batch."""

Columns = Mapping[str, np.ndarray]


def _scores(subject: ProtocolSubject) -> str:
    found = _all(subject)
    for kind, scored in found.items():
        try:
            scored.batch.check(subject.spec.name, IMAGES)
            check_statistics(subject.spec.name, subject.scorer.metrics, {*scored.columns, *scored.from_set})
        except UserError as error:
            hint = error.hint or "give one number per image in each column, and one entry per image in each array"
            raise CheckFailed(f"scoring {kind}: {error.what}", hint) from error
    return f"{len(found['gray'].columns)} columns, of {len(found)} kinds of predictions"


class _Scored:
    """The scores of a batch, with the summary."""

    def __init__(self, subject: ProtocolSubject, prediction: Prediction) -> None:
        self.batch = subject.score(prediction)
        self.columns: Columns = self.batch.columns
        self.summary = _summary(subject, self.columns, self.batch.arrays)
        self.from_set: Columns = self.summary.statistics or {}

    def values(self, specs: Sequence[MetricSpec]) -> dict[str, float | None]:
        """Return metric -> value over the batch."""
        found = metrics_of(specs, {**self.columns, **self.from_set}, self.summary.effective_n)
        return {metric.name: metric.value for metric in found}


def _all(subject: ProtocolSubject) -> dict[str, _Scored]:
    """Return kind of prediction -> its scores, without 8-bit RGB if the protocol scores unrounded ab."""
    if subject.of_predictions:
        return subject.of_predictions
    found = subject.of_predictions
    for kind, prediction in predictions_for(subject.truth()).items():
        try:
            found[kind] = _Scored(subject, prediction)
        except RunError as error:
            raise CheckFailed(f"scoring {kind}: {error.what}", error.hint or _ANY) from error
        except UserError as error:
            if prediction.given_rgb8 is None:
                raise CheckFailed(f"it refuses {kind}: {error.what}", error.hint or _ANY) from error
    return found


_ANY = "score must accept predictions of any images, and return NaN if a score is undefined"


def _summary(subject: ProtocolSubject, columns: Columns, arrays: Columns) -> Summary:
    with one_line(f"summarize of {subject.spec.name} failed", run=True):
        return subject.scorer.summarize(columns, arrays)


def _bounds(subject: ProtocolSubject) -> str:
    for kind, scored in _all(subject).items():
        values = scored.values(subject.scorer.metrics)
        for spec in subject.scorer.metrics:
            low = -math.inf if spec.lower_bound is None else spec.lower_bound
            high = math.inf if spec.upper_bound is None else spec.upper_bound
            slack = TOLERANCE * _scale(spec)
            per_image = scored.columns.get(spec.name, np.array([]))
            value = values[spec.name]
            for one in (*per_image[np.isfinite(per_image)], *(() if value is None else (value,))):
                if not low - slack <= one <= high + slack:
                    what = f"{spec.name} of {kind} is {one:.4g}, outside {spec.lower_bound} to {spec.upper_bound}"
                    raise CheckFailed(what, "correct the bounds of its MetricSpec, or the score")
            if np.isinf(per_image).any():
                raise CheckFailed(f"{spec.name} of {kind} is infinite", "return NaN if a score is undefined")
    return f"{len(subject.scorer.metrics)} metrics within their bounds"


def _order(subject: ProtocolSubject) -> str:
    scored = {kind: one.values(subject.scorer.metrics) for kind, one in _all(subject).items()}
    if "ground truth" not in scored:
        raise CheckSkipped("it refuses the ground truth")
    truth, compared = scored["ground truth"], 0
    for spec in subject.scorer.metrics:
        value, sign = truth[spec.name], {True: 1, False: -1, None: 0}[spec.higher_is_better]
        slack = TOLERANCE * _scale(spec)
        if spec.of_ground_truth is not None:
            compared += 1
            if value is None or abs(value - spec.of_ground_truth) > slack:
                what = f"{spec.name} of the ground truth is {value}, but of_ground_truth is {spec.of_ground_truth}"
                raise CheckFailed(what, "correct of_ground_truth, or the score")
        if not sign or value is None:
            continue
        for kind, values in scored.items():
            other = values[spec.name]
            if other is None:
                continue
            compared += 1
            if sign * (other - value) > slack:
                hint = "correct higher_is_better, or explain the metric without a direction (None)"
                raise CheckFailed(f"{spec.name}: {kind} ({other:.4g}) beats the ground truth ({value:.4g})", hint)
    if not compared:
        raise CheckSkipped("no metric has a direction or a score of the ground truth")
    return "no prediction beats the ground truth"


def _batch(subject: ProtocolSubject) -> str:
    full = subject.score(_noisy(subject, range(IMAGES)))
    some = subject.score(_noisy(subject, ORDER))
    alone = subject.score(_noisy(subject, [4]))
    hint = "compute nothing across the batch, and keep no state between calls"
    for positions, part in ((list(ORDER), some), ([4], alone)):
        for name, values in {**part.columns, **part.arrays}.items():
            wanted = {**full.columns, **full.arrays}.get(name)
            if wanted is None or not _alike(wanted[positions], values):
                what = f"{name} of an image depends on the batch that it is in"
                raise CheckFailed(what, hint)
    return "alone, in a batch and in another order: the same scores"


def _repeat(subject: ProtocolSubject) -> str:
    once = subject.score(_noisy(subject, range(IMAGES)))

    def again(_: int) -> bool:
        other = subject.score(_noisy(subject, range(IMAGES)))
        return other.columns.keys() == once.columns.keys() and all(
            _alike(once.columns[name], values) for name, values in other.columns.items()
        )

    with ThreadPoolExecutor(2) as pool:
        if not all(pool.map(again, range(2))):
            hint = "score must have no state and no randomness; several threads call it concurrently"
            raise CheckFailed("the same batch has other scores the second time", hint)
    return "the same batch has the same scores, in two concurrent threads"


def _inputs(subject: ProtocolSubject) -> str:
    prediction = _noisy(subject, range(IMAGES))
    tensors = {
        "the ground truth": (prediction.truth.rgb8, prediction.truth.ab, prediction.truth.lightness),
        "the prediction": (prediction.ab_float, prediction.rgb8, prediction.ab, prediction.lightness),
    }
    before = {name: [one.clone() for one in some] for name, some in tensors.items()}
    subject.score(prediction)
    for name, some in tensors.items():
        if not all(torch.equal(one, other) for one, other in zip(some, before[name], strict=True)):
            raise CheckFailed(f"scoring changes {name}", "work on copies; models and protocols share these tensors")
    return "ground truth and prediction are unchanged"


def _summarized(subject: ProtocolSubject) -> str:
    scored = _Scored(subject, _noisy(subject, range(IMAGES)))
    summary = scored.summary
    if not isinstance(summary, Summary):
        raise CheckFailed(f"summarize gives a {type(summary).__name__}", "return Summary(...)")
    for curve in summary.curves:
        lines = (curve.x, curve.y, *curve.beside.values(), *(band for band in (curve.low, curve.high) if band))
        if not curve.x or len({len(line) for line in lines}) > 1 or not np.isfinite(np.concatenate(lines)).all():
            raise CheckFailed(
                f"the curve {curve.name!r} has x and y of different lengths, or values that are not finite",
                "use finite x and y of equal length",
            )
    for name, value in summary.effective_n.items():
        if not 0 <= value <= IMAGES * (1 + TOLERANCE):
            raise CheckFailed(f"the effective number of images of {name} is {value}, of {IMAGES}", "0 to n")
    nothing = {name: values[:0] for name, values in scored.columns.items()}
    arrays = {name: values[:0] for name, values in scored.batch.arrays.items()}
    try:
        with np.errstate(all="ignore"):
            _summary(subject, nothing, arrays)
    except RunError as error:
        hint = "return Summary() if there are no rows (all images skipped)"
        raise CheckFailed(f"without images: {error.what}", hint) from error
    return f"{len(summary.curves)} curves, {len(summary.notes)} notes; also of no images"


def _noisy(subject: ProtocolSubject, positions: Sequence[int]) -> Prediction:
    """Return predictions for a batch of these images, with noise that depends on the image only."""
    truth = subject.truth(positions)
    noise = [
        torch.randn(truth.ab.shape[1:], generator=torch.Generator().manual_seed(position)) for position in positions
    ]
    prediction = Prediction(truth, ab=truth.ab * 0.7 + 15 * torch.stack(noise))
    if (request := further_of(subject.scorer)) is not None:
        further = (truth.ab + 9 * (number + 1) * torch.stack(noise) for number in range(len(request)))
        prediction.further[request] = tuple(Prediction(truth, ab=ab) for ab in further)
    return prediction


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    wide = np.maximum(1, np.abs(one))
    return one.shape == other.shape and np.allclose(one / wide, other / wide, rtol=0, atol=TOLERANCE, equal_nan=True)


def _scale(spec: MetricSpec) -> float:
    if spec.lower_bound is None or spec.upper_bound is None:
        return 1.0
    return spec.upper_bound - spec.lower_bound


SCORE_CHECKS = [
    ConformanceCheck("scores", _scores, ("identity",)),
    ConformanceCheck("bounds", _bounds, ("scores",)),
    ConformanceCheck("order", _order, ("scores", "bounds")),
    ConformanceCheck("batch", _batch, ("scores",)),
    ConformanceCheck("repeat", _repeat, ("scores", "batch")),
    ConformanceCheck("inputs", _inputs, ("scores",)),
    ConformanceCheck("summary", _summarized, ("scores",)),
]
