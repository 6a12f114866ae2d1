"""Checks of models that draw several colorizations, or take revealed colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from colorbench.errors import UserError
from colorbench.evaluation import GroundTruth, Prediction
from colorbench.evaluation.first_image_checks import TOLERANCE, difference
from colorbench.evaluation.predict import Query
from colorbench.evaluation.truth_and_prediction import disguised
from colorbench.models import Guided, RevealedColors, Samples
from colorbench.models.sampled_and_guided_predictions import Draws, Reveals, Told, ask_further, seed_of, told_of
from colorbench.testing.check_report import CheckFailed, CheckSkipped, ConformanceCheck
from colorbench.testing.colorizer_subject import PREPROCESSING, ModelSubject, resized, selected, sizes_of

DRAWS = Draws(3)
REVEALS = Reveals((1, 5, 20), size=3)
ORDER = [3, 0, 5, 1]
ODD = (33, 65)


def _samples(subject: ModelSubject) -> str:
    if not isinstance(subject.model.colorizer, Samples):
        raise CheckSkipped("the model does not draw several colorizations")
    hint = "draw by `seeds` alone: one torch.Generator for each image and draw"
    images = subject.images
    told, first = _first(subject, DRAWS, "the same seeds give other samples", hint)
    apart = min(difference(one, other) for one, other in zip(first, first[1:], strict=False))
    if apart <= TOLERANCE:
        raise CheckFailed("other seeds give the same samples", f"{hint}, or remove `sample`")
    reordered = _asked(subject, images, replace(told, seeds=told.seeds[::-1]))[::-1]
    _same(first, reordered, "a sample depends on the order of the seeds", hint)
    inputs = _asked(subject, images, told, seeds=tuple(seed ^ 1 for seed in subject.seeds))
    _same(first, inputs, "samples depend on the seeds of the inputs", hint)
    _lightness_alone(subject, first, told)
    return f"{len(first)} samples follow from lightness and seeds, {apart:.2g} apart in ab on average"


def _guided(subject: ModelSubject) -> str:
    if not isinstance(subject.model.colorizer, Guided):
        raise CheckSkipped("the model does not take revealed colors")
    hint = "compute colorize_guided from lightness and revealed colors alone"
    images = subject.images
    told, first = _first(subject, REVEALS, "the same revealed colors give other predictions", hint)
    assert told.revealed is not None
    none = _asked(subject, images, replace(told, revealed=told.revealed.first(0), counts=(1,)))
    what = "without a revealed point the prediction is not that of colorize_batch"
    _same([subject.usual()], none, what, "an empty set of points must change nothing")
    others = _opposite(told.revealed)
    changed = _asked(subject, images, replace(told, revealed=others))
    if max(difference(one, other) for one, other in zip(first, changed, strict=True)) <= TOLERANCE:
        raise CheckFailed("the revealed colors have no influence", "use `revealed`, or remove colorize_guided")
    _lightness_alone(subject, first, told)
    return f"{', '.join(map(str, told.counts))} points: predictions follow from lightness and revealed colors"


def _asked(
    subject: ModelSubject, images: GroundTruth, told: Told, seeds: tuple[int, ...] | None = None
) -> list[Prediction]:
    """Return the model's further predictions for a batch, checked as in a run."""
    seeds = tuple(seed_of(0, id) for id in images.ids) if seeds is None else seeds
    query = Query(images, sizes_of(images), seeds, PREPROCESSING)
    return subject.watched(query, lambda inputs: ask_further(subject.model.colorizer, inputs, told))


def _first(subject: ModelSubject, request: Draws | Reveals, again: str, hint: str) -> tuple[Told, Sequence[Prediction]]:
    """Return the seeds or revealed colors for the test images, and the predictions with them.

    Checks that predictions are repeatable and do not depend on the batch, and that an odd size is taken.

    Raises:
        CheckFailed: for predictions that are not; ``again`` if they are not repeatable.
    """
    images = subject.images
    told = told_of(request, images.contents, images.ab, 0)
    first = _asked(subject, images, told)
    _same(first, _asked(subject, images, told), again, hint)
    for order in (ORDER, [4]):
        part = _asked(subject, selected(images, order), told.selected(order))
        expected = [_part(one, order) for one in first]
        _same(expected, part, "predictions depend on the other images of the batch", hint)
    odd = resized(images, 2, ODD)
    try:
        _asked(subject, odd, told_of(request, odd.contents, odd.ab, 0))
    except UserError as error:
        raise CheckFailed(f"images of {ODD[0]} x {ODD[1]}: {error.what}", error.hint) from error
    return told, first


def _lightness_alone(subject: ModelSubject, first: Sequence[Prediction], told: Told) -> None:
    """Check that other ids and other true colors with the same lightness change nothing.

    Raises:
        CheckFailed: for predictions that change.
    """
    if subject.model.card.role == "reference":
        return
    images = subject.images
    kept = [_part(one, range(len(images.ids))) for one in first]
    hidden = disguised(GroundTruth(images.ids, images.rgb8.clone()))  # it overwrites the true colors
    hint = "use only `lightness`, and what `sample` or `colorize_guided` is given"
    _same(kept, _asked(subject, hidden, told), "predictions use more than they are told", hint)


def _opposite(revealed: RevealedColors) -> RevealedColors:
    return replace(revealed, ab=-revealed.ab + revealed.ab.new_tensor([30.0, -40.0]))


def _part(prediction: Prediction, order: Sequence[int]) -> Prediction:
    positions = list(order)
    truth = selected(prediction.truth, positions)
    if prediction.given_rgb8 is not None:
        return Prediction(truth, rgb8=prediction.given_rgb8[positions])
    return Prediction(truth, ab=prediction.ab_float[positions])


def _same(expected: Sequence[Prediction], found: Sequence[Prediction], what: str, hint: str) -> None:
    apart = max(difference(one, other) for one, other in zip(expected, found, strict=True))
    if apart > TOLERANCE:
        raise CheckFailed(f"{what}: {apart:.3g} apart in ab on average", hint)


_NEEDS = ("shape", "deterministic", "batch", "history")
SAMPLE_AND_GUIDANCE_CHECKS = [
    ConformanceCheck("samples", _samples, _NEEDS),
    ConformanceCheck("guided", _guided, _NEEDS),
]
