"""Fooling rates with intervals, and pairwise comparisons, from the responses of a study.

Everything is computed twice: from the responses that the exclusions keep (the result), and from all responses (for
comparison). Sentinel trials are the row ``zoo/random`` and are not part of any other number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas
from scipy.special import ndtri

from colorbench.reporting import counted, format_number
from colorbench.stats import (
    CLUSTERED_RESAMPLES,
    MINIMUM_IMAGES,
    MINIMUM_PARTICIPANTS,
    ClusteredDifference,
    ClusteredRate,
    Interval,
    binomial_interval,
    clustered_difference,
    clustered_rate,
    crossed_bootstrap,
    holm,
    paired_resamples,
    share_above,
    two_level_bootstrap,
)
from protocols.human_study.analysis.exclusions import Applied, apply
from protocols.human_study.analysis.image_fooling_rates import Shrunken, shrink
from protocols.human_study.analysis.response_reading import StudyData

LEVEL = 0.95
SMOKE_TEST = "smoke test on "
"""Begin of the note on too few participants or images."""
EMPTY = "all responses were excluded"
"""Begin of the note on an analysis without responses to test trials."""


@dataclass(frozen=True)
class Sensitivity:
    """d' with the transformed interval of the rate; None for an end without a finite value."""

    value: float | None
    low: float | None
    high: float | None
    corrected: bool
    """Whether half a response was added to each side, because all responses were equal."""


@dataclass(frozen=True)
class Bias:
    """Bias to one of the two positions."""

    first: ClusteredRate
    """Share of responses that called the first image the fake."""
    criterion: float
    """c = -(z(H) + z(F)) / 2, H and F the shares of "first" where the fake was first and second; 0: no bias, below 0:
    bias to the first."""
    d_prime: float
    """(z(H) - z(F)) / sqrt(2): d' without the bias."""


@dataclass(frozen=True)
class OtherInterval:
    """An interval of the same rate by another method."""

    name: str
    standard_error: float
    interval: Interval


@dataclass(frozen=True)
class MethodResult:
    """One method's row."""

    method: str
    title: str
    sentinel: bool
    rate: ClusteredRate
    d_prime: Sensitivity
    bias: Bias
    others: tuple[OtherInterval, ...]
    """The paper's two-level bootstrap, the crossed bootstrap, the binomial."""
    median_reaction_ms: float | None


@dataclass(frozen=True)
class Comparison:
    """One method minus another."""

    first: str
    second: str
    difference: ClusteredDifference
    p_holm: float
    """Adjusted for the number of pairs; NaN without a test."""
    above: float
    """P(A > B): share of resamples in which the first is higher, ties by half; NaN if unknown. If participants
    responded to both methods, participants and images are resampled together for both; between participants, each
    method has its own two-level resamples, as in the paper."""


@dataclass(frozen=True)
class Result:
    """All numbers from one selection of responses."""

    methods: tuple[MethodResult, ...]
    """In the design's order, the sentinels' last; a method without responses is left out."""
    comparisons: tuple[Comparison, ...]
    participants: int
    responses: int
    """To test trials."""
    images: int
    """Of the test trials."""


@dataclass(frozen=True)
class ImageResult:
    """One image under one method."""

    method: str
    image: str
    fooled: int
    shown: int
    estimate: float
    """Shrunken towards the rate of the method (``image_fooling_rates.shrink``)."""
    low: float
    high: float


@dataclass(frozen=True)
class Analysis:
    """The results of ``colorbench study analyze``."""

    study_data: StudyData
    applied: Applied
    result: Result
    """After the exclusions; without methods whose responses are all excluded."""
    everything: Result
    """Of all responses."""
    images: tuple[ImageResult, ...]
    """After the exclusions, in descending order of the rate, without sentinels."""
    spread: dict[str, Shrunken]
    """Method -> variation of its images."""
    notes: tuple[str, ...]
    resamples: int
    seed: int

    @property
    def kept(self) -> pandas.DataFrame:
        """The responses that are not excluded."""
        return self.study_data.responses[self.applied.kept]

    @property
    def rows(self) -> list[tuple[MethodResult, MethodResult | None]]:
        """Every method with all responses, and after the exclusions (None: no response is left).

        In descending order of the rate after the exclusions, sentinels last.
        """
        kept = {row.method: row for row in self.result.methods}
        pairs = [(row, kept.get(row.method)) for row in self.everything.methods]
        return sorted(pairs, key=lambda pair: (pair[0].sentinel, math.inf if pair[1] is None else -pair[1].rate.value))


def analyze(study_data: StudyData, *, resamples: int = CLUSTERED_RESAMPLES, seed: int = 0) -> Analysis:
    """Compute the fooling rates and all other numbers of a study.

    Args:
        study_data: see ``read_study_data``.
        resamples: number of resamples of the bootstraps.
        seed: seed of the bootstraps.
    """
    applied = apply(study_data)
    kept = study_data.responses[applied.kept]
    found, spread = _images(study_data, kept)
    result = _result_of(study_data, kept, resamples=resamples, seed=seed)
    return Analysis(
        study_data=study_data,
        applied=applied,
        result=result,
        everything=_result_of(study_data, study_data.responses, resamples=resamples, seed=seed),
        images=found,
        spread=spread,
        notes=tuple(_notes(study_data, applied, kept, result)),
        resamples=resamples,
        seed=seed,
    )


def _result_of(study_data: StudyData, table: pandas.DataFrame, *, resamples: int, seed: int) -> Result:
    """Compute the numbers of some of the responses."""
    tests = table[table["kind"] == "test"]
    rows = []
    for method in study_data.design.methods:
        candidate = table[
            (table["method"] == method.name) & (table["kind"] == ("sentinel" if method.sentinel else "test"))
        ]
        if len(candidate):
            rows.append(_method(method.name, method.title, method.sentinel, candidate, resamples, seed))
    rated = [method.name for method in study_data.design.rated if (tests["method"] == method.name).any()]
    return Result(
        methods=tuple(rows),
        comparisons=_comparisons(tests, rated, resamples, seed),
        participants=tests["participant"].nunique(),
        responses=len(tests),
        images=tests["image"].nunique(),
    )


def _method(
    name: str, title: str, sentinel: bool, candidate: pandas.DataFrame, resamples: int, seed: int
) -> MethodResult:
    fooled, participant, image = _arrays(candidate)
    others = []
    if len(np.unique(participant)) > 1:
        two_level = two_level_bootstrap(fooled, participant, resamples=resamples, seed=seed)
        crossed = crossed_bootstrap(fooled, participant, image, resamples=resamples, seed=seed)
        others += [
            OtherInterval("two-level bootstrap", two_level.standard_error, two_level.interval),
            OtherInterval("crossed bootstrap", crossed.standard_error, crossed.interval),
        ]
    share = fooled.mean()
    independent = binomial_interval(int(fooled.sum()), len(fooled))
    others.append(OtherInterval("binomial", math.sqrt(share * (1 - share) / len(fooled)), independent))
    rate = clustered_rate(fooled, participant, image, level=LEVEL, minimum_images=MINIMUM_IMAGES)
    reaction = candidate["reaction_ms"].median()
    return MethodResult(
        method=name,
        title=title,
        sentinel=sentinel,
        rate=rate,
        d_prime=_sensitivity(rate),
        bias=side_bias(candidate),
        others=tuple(others),
        median_reaction_ms=None if pandas.isna(reaction) else float(reaction),
    )


def d_prime(rate: float) -> float:
    """Convert a fooling rate to d' = sqrt(2) z(1 - rate); infinite for a rate of 0 or 1.

    One of two images is chosen.
    """
    return float(math.sqrt(2) * ndtri(1 - rate))


def _sensitivity(rate: ClusteredRate) -> Sensitivity:
    """Compute d' of a rate; the ends of its interval are those of the rate, in reverse order."""
    agree = rate.value in (0.0, 1.0)
    # Hautus 1995: half a response to each side if d' would be infinite.
    value = d_prime((rate.value * rate.responses + 0.5) / (rate.responses + 1) if agree else rate.value)
    low = high = None
    if rate.interval is not None:
        low, high = (_finite(d_prime(end)) for end in (rate.interval.high, rate.interval.low))
    return Sensitivity(_finite(value), low, high, agree)


def side_bias(table: pandas.DataFrame) -> Bias:
    """Compute the bias to the first or the second image, with half a response added to each side (Hautus 1995)."""
    chosen, fake_first = (table[name].to_numpy() == "first" for name in ("response", "fake"))
    participant, image = (pandas.factorize(table[name])[0] for name in ("participant", "image"))
    hit = ndtri((chosen[fake_first].sum() + 0.5) / (fake_first.sum() + 1))
    false_alarm = ndtri((chosen[~fake_first].sum() + 0.5) / ((~fake_first).sum() + 1))
    return Bias(
        first=clustered_rate(chosen, participant, image, level=LEVEL, minimum_images=MINIMUM_IMAGES),
        criterion=float(-(hit + false_alarm) / 2) + 0.0,
        d_prime=float((hit - false_alarm) / math.sqrt(2)),
    )


def _comparisons(tests: pandas.DataFrame, rated: Sequence[str], resamples: int, seed: int) -> tuple[Comparison, ...]:
    fooled, participant, image = _arrays(tests)
    method = tests["method"].to_numpy()
    pairs = list(combinations(rated, 2))
    found = [
        clustered_difference(
            fooled, participant, image, method == a, method == b, level=LEVEL, minimum_images=MINIMUM_IMAGES
        )
        for a, b in pairs
    ]
    adjusted = holm([one.p for one in found])
    return tuple(
        Comparison(
            first=a,
            second=b,
            difference=one,
            p_holm=p,
            above=_above(fooled, participant, image, method, (a, b), resamples, seed),
        )
        for (a, b), one, p in zip(pairs, found, adjusted, strict=True)
    )


def _above(
    fooled: np.ndarray,
    participant: np.ndarray,
    image: np.ndarray,
    method: np.ndarray,
    pair: tuple[str, str],
    resamples: int,
    seed: int,
) -> float:
    """Compute P(A > B), see ``Comparison.above``."""
    first, second = (method == name for name in pair)
    if len(np.intersect1d(participant[first], participant[second])):
        both = first | second
        drawn = paired_resamples(
            fooled[both], participant[both], image[both], first[both], resamples=resamples, seed=seed
        )
        return share_above(drawn)
    # One generator per method: their participants differ and are resampled separately.
    rates = [
        two_level_bootstrap(fooled[kind], participant[kind], resamples=resamples, seed=seed + turn).rates
        for turn, kind in enumerate((first, second))
    ]
    return share_above(rates[0] - rates[1])


def _images(study_data: StudyData, kept: pandas.DataFrame) -> tuple[tuple[ImageResult, ...], dict[str, Shrunken]]:
    tests = kept[kept["kind"] == "test"]
    found: list[ImageResult] = []
    spread = {}
    for method in study_data.design.rated:
        counts = tests[tests["method"] == method.name].groupby("image")["fooled"].agg(["sum", "count"])
        if counts.empty:
            continue
        shrunken = shrink(counts["sum"].to_numpy(), counts["count"].to_numpy())
        spread[method.name] = shrunken
        numbers = zip(
            counts.index, counts["sum"], counts["count"], shrunken.estimate, shrunken.low, shrunken.high, strict=True
        )
        found += [
            ImageResult(method.name, str(id), int(k), int(n), float(at), float(low), float(high))
            for id, k, n, at, low, high in numbers
        ]
    return tuple(sorted(found, key=lambda one: (-one.estimate, -one.shown, one.image, one.method))), spread


def _notes(study_data: StudyData, applied: Applied, kept: pandas.DataFrame, result: Result) -> list[str]:
    """Return notes that a reader must know first."""
    design, notes = study_data.design, []
    few = [
        counted(count, noun)
        for count, noun, minimum in (
            (result.participants, "participant", MINIMUM_PARTICIPANTS),
            (result.images, "image", MINIMUM_IMAGES),
        )
        if count < minimum
    ]
    if not result.responses:
        notes.append(f"{EMPTY}: {applied.flow}")
    elif few:
        notes.append(f"{SMOKE_TEST}{' and '.join(few)}: scores are not meaningful")
    if applied.changes:
        notes.append(f"the exclusions were changed after the first participant: {', '.join(applied.changes)}")
    everybody, planned = study_data.responses["participant"].nunique(), design.settings.participants
    if everybody < planned:
        notes.append(
            f"the study is not complete: there are responses of {everybody} of {counted(planned, 'participant')}; "
            "deciding when to stop by looking at results invalidates the intervals and tests"
        )
    if not design.settings.sentinels:
        notes.append("there are no sentinels: inattentive participants cannot be distinguished from fooled ones")
    notes.extend(
        f"sentinels fooled in {format_number(100 * row.rate.value, '%')} % of their trials: participants were not "
        "attentive, or the random colors happened to fit"
        for row in result.methods
        if row.sentinel and row.rate.value > 0.25
    )
    if "presentations" in kept.columns:
        again = int((pandas.to_numeric(kept["presentations"], errors="coerce") > 1).sum())
        if again:
            responses = counted(again, "response")
            notes.append(f"included: {responses} to a pair that was shown again after a reload of the page")
    return notes


def _arrays(table: pandas.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return whether each trial fooled, (n,) bool, and participant and image, (n,) integers."""
    participant, image = (pandas.factorize(table[name])[0] for name in ("participant", "image"))
    return table["fooled"].to_numpy(bool), participant, image


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
