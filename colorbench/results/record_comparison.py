"""``compare``: paired comparison of two or more records on the same images.

Every pair is compared by every requested metric: the difference with its interval (paired bootstrap), the p value of a
sign-flip test adjusted for the number of tests (Holm), the effect size, the number of images needed to detect it, and
the images that contribute most.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from colorbench.errors import UserError
from colorbench.models import display_name
from colorbench.results.comparison_schema import Comparison, ImagePair, PairedTest, RankInterval, Side
from colorbench.results.record import Metric
from colorbench.results.record_loading import LoadedRun
from colorbench.results.record_pairing import PairedRuns, pair_runs
from colorbench.results.shared_weights import shared_weights_note
from colorbench.stats import (
    MINIMUM_IMAGES,
    effect_size,
    holm,
    images_needed,
    is_defined,
    paired_interval,
    rank_models,
    sign_flip_p,
    significance,
)
from colorbench.stats.bootstrap import estimate
from colorbench.stats.effect_and_sample_size import LEVEL, detectable_difference, difference_influence

SHOWN = 3
"""Number of images that are listed per model."""
_EQUAL = 1e-9
"""Relative difference below which two scores of an image count as equal."""


def compare(
    runs: Sequence[LoadedRun],
    *,
    metrics: Sequence[str] = (),
    headline: str | None = None,
    allow_unstable: bool = False,
) -> Comparison:
    """Compare records in pairs.

    Args:
        runs: at least two, as ``load_run`` gives them.
        metrics: names; by default all comparable metrics with a direction.
        headline: the metric to put first.
        allow_unstable: also compare by metrics that depend on too few images.

    Raises:
        UserError: for fewer than two records, records that cannot be compared (naming the setting in which they
            differ), and metrics that are unknown or not comparable.
    """
    if len(runs) < 2:
        raise UserError("a comparison needs at least two records", hint="give two or more")
    if len({run.record_sha256 for run in runs}) < len(runs):
        raise UserError("a record is given twice", hint="give different ones")
    together = pair_runs(runs)
    labels = _labels(runs)
    chosen = _metrics(runs, metrics, headline, allow_unstable)
    tests = [
        _test(together, labels, i, j, metric)
        for metric in chosen
        for i, j in itertools.combinations(range(len(runs)), 2)
    ]
    record = runs[0].record
    return Comparison(
        protocol=record.protocol.name,
        protocol_version=record.protocol.version,
        identity_sha256=record.protocol.identity_sha256,
        dataset=record.dataset.name,
        fingerprint=record.dataset.fingerprint,
        preprocessing=record.dataset.preprocessing,
        n=len(together.ids),
        sides=[
            Side(
                label=label,
                model=run.record.model.name,
                folder=str(run.folder),
                key=run.record.key,
                record_sha256=run.record_sha256,
            )
            for label, run in zip(labels, runs, strict=True)
        ],
        tests=_adjusted(tests),
        ranks=_ranks(together, labels, chosen),
        remarks=_remarks(runs, labels),
    )


def _labels(runs: Sequence[LoadedRun]) -> list[str]:
    names = [run.record.model.name for run in runs]
    often = Counter(names)

    def apart(run: LoadedRun) -> str:
        name, decoding = run.record.model.name, run.record.model.decoding
        shown = display_name(name, names)
        if often[name] == 1:
            return shown
        same = [other.record.model.decoding for other in runs if other.record.model.name == name]
        if same.count(decoding) == 1:
            return f"{shown} ({', '.join(f'{key} {value}' for key, value in decoding.items())})"
        return f"{shown} ({run.record.key[:8]})"

    return [apart(run) for run in runs]


def _metrics(
    runs: Sequence[LoadedRun], asked: Sequence[str], headline: str | None, allow_unstable: bool
) -> list[Metric]:
    """Return the metrics for the comparison: the headline first, unstable ones last."""
    shared = [metric for metric in runs[0].record.metrics if all(_has(run, metric) for run in runs)]
    known = {metric.name: metric for metric in shared}
    for name in asked:
        if name not in known:
            raise UserError(f"the records have no metric {name!r} in common", hint=f"they have {', '.join(known)}")
        if not (allow_unstable or all(run.metric(name).comparable for run in runs)):
            what = f"{name} has a very small effective sample size and is not compared by default"
            raise UserError(what, hint="--allow-unstable compares it anyway")
    if asked:
        return [known[name] for name in dict.fromkeys(asked)]
    usable = [
        metric for metric in shared if metric.higher_is_better is not None and (metric.comparable or allow_unstable)
    ]
    if not usable:
        raise UserError("these records have no metric to compare by", hint="choose one with --metric")
    return sorted(usable, key=lambda metric: (not metric.comparable, metric.name != headline))


def _has(run: LoadedRun, metric: Metric) -> bool:
    return any(other.name == metric.name and other.form == metric.form for other in run.record.metrics)


def _test(together: PairedRuns, labels: Sequence[str], i: int, j: int, metric: Metric) -> PairedTest:
    """Test one pair by one metric; ``p_holm`` and the verdict are filled in when all tests are done."""
    a, b = together.statistics(metric.name)[[i, j]]
    both = is_defined(a) & is_defined(b)
    found = paired_interval(a, b, metric.form)
    untested = _untested(together, (i, j), metric, found.n, a[both], b[both])
    p = sign_flip_p(a, b, metric.form) if untested is None else math.nan
    interval = found.interval if untested is None else None
    effect = effect_size(a, b, metric.form) if untested is None else math.nan
    error = math.nan
    if untested is None:
        error = math.sqrt(float((difference_influence(a[both], b[both], metric.form) ** 2).sum()))
    scores = together.scores(metric.name)[[i, j]]
    apart = _apart(scores, both, metric)
    values = [_value(side[both], metric) for side in (a, b)]
    return PairedTest(
        a=labels[i],
        b=labels[j],
        metric=metric.name,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        n=found.n,
        value_a=values[0],
        value_b=values[1],
        difference=_finite(found.value),
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        ci_method=f"paired {interval.method}, 95 %" if interval else None,
        p=_finite(p),
        p_holm=None,
        effect_size=_finite(effect),
        a_better=int((apart > 0).sum()),
        b_better=int((apart < 0).sum()),
        equal=int((apart == 0).sum()),
        images_needed=images_needed(effect),
        detectable=_finite(detectable_difference(error)),
        verdict="untested",
        untested=untested,
        warning=None if metric.comparable else f"{metric.name} is unstable: its effective sample size is very small",
        images=_farthest(together, scores, b, metric),
    )


def _untested(
    together: PairedRuns, pair: tuple[int, int], metric: Metric, n: int, a: np.ndarray, b: np.ndarray
) -> str | None:
    """Return the reason why two models are not tested by a metric; None if they are."""
    if n < MINIMUM_IMAGES:
        images = "1 image" if n == 1 else f"{n} images"
        return f"{images}: too few for a test (minimum {MINIMUM_IMAGES})"
    for position in pair:
        record = together.runs[position].record
        found = together.runs[position].metric(metric.name)
        if found.ci_low is None and found.value is not None and record.dataset.n_evaluated >= MINIMUM_IMAGES:
            return f"{metric.name} has no interval: it is valid for this dataset only"
    if not np.isfinite([a.sum(axis=0), b.sum(axis=0)]).all():
        return "the statistics are not finite"
    if not np.array_equal(a[:, 1:], b[:, 1:]):
        return "the two records weigh the images differently"
    return None


def _apart(scores: np.ndarray, both: np.ndarray, metric: Metric) -> np.ndarray:
    """Return by how much the score of a is better on each image that is defined for both, (m,).

    For a metric without direction, higher counts as better.
    """
    a, b = scores[:, both]
    with np.errstate(invalid="ignore"):
        apart = b - a if metric.higher_is_better is False else a - b
    apart = apart[np.isfinite(apart)]
    scale = np.nanmax(np.abs(np.where(np.isfinite(scores), scores, 0.0)), initial=0.0)
    return np.where(np.abs(apart) <= _EQUAL * scale, 0.0, apart)


def _farthest(together: PairedRuns, scores: np.ndarray, b: np.ndarray, metric: Metric) -> list[ImagePair]:
    """Return the images that contribute most to the difference (score times weight), in favor of a, then of b."""
    sign = -1.0 if metric.higher_is_better is False else 1.0
    weights = b[:, -1] / np.nansum(b[:, -1])
    with np.errstate(invalid="ignore"):
        apart = sign * (scores[0] - scores[1]) * weights
    order = [int(position) for position in np.argsort(-apart, kind="stable") if np.isfinite(apart[position])]
    ahead = [position for position in order if apart[position] > 0][:SHOWN]
    behind = [position for position in reversed(order) if apart[position] < 0][:SHOWN]
    return [
        ImagePair(
            id=together.ids[position],
            sha256=together.sha256s[position],
            a=float(scores[0, position]),
            b=float(scores[1, position]),
            weight=float(100 * weights[position]),
        )
        for position in ahead + behind
    ]


def _adjusted(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """Return the tests with p adjusted for all of them, and the verdict.

    A difference is significant if both the test and the interval exclude 0.
    """
    adjusted = holm([math.nan if test.p is None else test.p for test in tests])
    return [
        test if test.p is None else test.model_copy(update={"p_holm": p, "verdict": _verdict(test, p)})
        for test, p in zip(tests, adjusted, strict=True)
    ]


def _verdict(test: PairedTest, p_holm: float) -> Literal["a", "b", "undecided"]:
    a_is = significance(test.ci_low, test.ci_high, test.higher_is_better is not False)
    if p_holm > LEVEL or a_is is None:
        return "undecided"
    return "a" if a_is == "better" else "b"


def _ranks(together: PairedRuns, labels: Sequence[str], metrics: Sequence[Metric]) -> list[RankInterval]:
    """Compute rank intervals of three or more models."""
    found: list[RankInterval] = []
    for metric in metrics:
        if len(labels) < 3 or metric.higher_is_better is None or not metric.comparable:
            continue
        ranking = rank_models(together.statistics(metric.name), metric.form, higher_is_better=metric.higher_is_better)
        if ranking is not None:
            found += [
                RankInterval(metric=metric.name, label=label, value=float(value), first=int(first), last=int(last))
                for label, value, (first, last) in zip(labels, ranking.values, ranking.ranks, strict=True)
            ]
    return found


def _remarks(runs: Sequence[LoadedRun], labels: Sequence[str]) -> list[str]:
    """Return warnings about the comparison."""
    message = []
    for run, label in zip(runs, labels, strict=True):
        record = run.record
        if record.execution.dtype != "float32":
            message.append(f"{label} was computed in {record.execution.dtype}, not float32")
        if record.dataset.overlap:
            message.append(f"{label} was trained on {record.dataset.overlap} of these images")
        message += [f"{label}: {shared_weights_note(shared)}" for shared in record.shared_weights]
        if record.model.card.role == "reference":
            message.append(f"{label} is an oracle: it uses the ground truth")
    versions = sorted({run.record.provenance.colorbench_version for run in runs})
    if len(versions) > 1:
        message.append(f"evaluated with different versions of colorbench: {', '.join(versions)}")
    return message


def _value(statistics: np.ndarray, metric: Metric) -> float | None:
    return _finite(estimate(statistics, metric.form))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
