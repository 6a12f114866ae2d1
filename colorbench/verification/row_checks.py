"""Plausibility checks of single rows of a record, independent of other rows.

Every limit is absolute or depends only on the row, so that no row can widen the limits of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from colorbench.results import LoadedRun, MetricSpec

TOLERANCE = 1e-6
"""Deviation between versions of numpy in a sum or square root, in units of max(1, |number|)."""
LARGEST_SCORE = 1e10
"""Largest score of an image. Sums of such scores keep six digits in float64, so that none can cancel another."""
LARGEST_WEIGHT = 1e12
"""Largest weight of an image."""
LARGEST_SIDE = 1_000_000
_SHARE_OF_TRUTH = 0.5
"""Largest share of colored images on which a model may score like the ground truth."""


def row_findings(run: LoadedRun, specs: Sequence[MetricSpec]) -> Iterator[str]:
    """Yield impossible rows: infinite or negative weights, and scores outside the bounds of the metric."""
    for side in ("height", "width"):
        sides = run.rows[side].to_numpy()
        outside = np.asarray((sides < 1) | (sides > LARGEST_SIDE))
        if outside.any():
            yield f"{side} of {int(outside.sum())} images is impossible, first {_first(run, outside)}"
    own = {metric.name for metric in run.record.metrics}
    for name, column in run.columns.items():
        if name.partition(".s")[0] in own and np.isinf(column).any():
            yield f"{name} of {int(np.isinf(column).sum())} images is infinite, first {_first(run, np.isinf(column))}"
    for metric in run.record.metrics:
        if not has_statistics(run, metric.name):
            continue
        known = [spec for spec in specs if spec.name == metric.name and spec.form == metric.form]
        statistics = run.statistics(metric.name)
        for what, wrong in _impossible(statistics, known, share_of_gap=metric.share_of_gap):
            if wrong.any():
                yield f"{metric.name} of {int(wrong.sum())} images {what}, first {_first(run, wrong)}"


def _impossible(
    statistics: np.ndarray, specs: Sequence[MetricSpec], *, share_of_gap: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (fault, (n,) bool where it occurs) for statistics (n, k)."""
    weights = statistics[:, -1]
    yield "has too much weight", np.abs(weights) > LARGEST_WEIGHT
    if share_of_gap:
        yield "is too large", np.abs(statistics).max(axis=1) > LARGEST_SCORE
        return
    yield "has a negative weight", weights < 0
    with np.errstate(all="ignore"):
        scores = statistics[:, :-1] / weights[:, None]
        yield "has a score without a weight", (weights == 0) & (statistics[:, 0] != 0)
        yield "is too large", (np.abs(scores) > LARGEST_SCORE).any(axis=1)
        if statistics.shape[1] > 2 or not specs:
            return
        # If a parameter changes a bound (a capped PSNR), the widest is used.
        lows, highs = [spec.lower_bound for spec in specs], [spec.upper_bound for spec in specs]
        low = -np.inf if None in lows else min(low for low in lows if low is not None)
        high = np.inf if None in highs else max(high for high in highs if high is not None)
        slack = TOLERANCE * max(1.0, *(abs(end) for end in (low, high) if np.isfinite(end)), 1.0)
        yield f"lies outside {low:g} ... {high:g}", (scores[:, 0] < low - slack) | (scores[:, 0] > high + slack)


def score_findings(run: LoadedRun) -> Iterator[str]:
    """Yield columns of scores in the rows that contradict the statistics."""
    for metric in run.record.metrics:
        stored = run.columns.get(metric.name)
        if stored is None or not has_statistics(run, metric.name):
            continue
        wrong = apart(stored, run.scores(metric.name))
        if wrong.any():
            first = _first(run, wrong)
            yield f"{metric.name} of {int(wrong.sum())} images is not what their statistics give, first {first}"


def truth_findings(run: LoadedRun, specs: Sequence[MetricSpec]) -> Iterator[str]:
    """Yield predictions that by their rows equal the ground truth, for models that are not declared as references."""
    known = [spec for spec in specs if spec.of_ground_truth is not None and has_statistics(run, spec.name)]
    if run.record.model.card.role == "reference" or not known:
        return
    colored = ~run.rows["gray"].to_numpy()
    near = np.ones(len(run.rows), dtype=bool)
    counted = np.zeros(len(run.rows), dtype=bool)
    for spec in known:
        assert spec.of_ground_truth is not None
        scores = run.scores(spec.name)
        counted |= np.isfinite(scores)
        near &= ~(np.abs(scores - spec.of_ground_truth) > spec.ground_truth_margin)
    near &= counted & colored
    if near.sum() > _SHARE_OF_TRUTH * max(1, int((counted & colored).sum())):
        what = (
            f"{int(near.sum())} of {int((counted & colored).sum())} predictions of color images equal the ground truth"
        )
        yield f"{what}: only an oracle uses it, but the card says {run.record.model.card.role}"


def weight_findings(run: LoadedRun, other: LoadedRun) -> Iterator[str]:
    """Yield values that depend only on the images but differ from another record on the same images."""
    location_of = {sha256: position for position, sha256 in enumerate(other.sha256s)}
    pairs = np.array(
        [(recomputed, location_of[sha256]) for recomputed, sha256 in enumerate(run.sha256s) if sha256 in location_of],
        dtype=np.int64,
    ).reshape(-1, 2)
    claimed_has = {metric.name: metric.form for metric in other.record.metrics}
    for metric in run.record.metrics:
        if claimed_has.get(metric.name) != metric.form:
            continue
        if not (has_statistics(run, metric.name) and has_statistics(other, metric.name)):
            continue
        recomputed, claimed = (
            run.statistics(metric.name)[pairs[:, 0], 1:],
            other.statistics(metric.name)[pairs[:, 1], 1:],
        )
        # A score may be undefined for only one model (PSNR of an exact match).
        wrong = (apart(recomputed, claimed, 1e-4) & ~np.isnan(recomputed) & ~np.isnan(claimed)).any(axis=1)
        if wrong.any():
            id = run.rows["id"].iloc[int(pairs[wrong][0, 0])]
            name = other.record.model.name
            yield f"{metric.name} weighs {int(wrong.sum())} images otherwise than the record of {name}, first {id}"


def column_findings(run: LoadedRun, again: Mapping[str, np.ndarray], source: str) -> Iterator[str]:
    """Yield columns of the rows that differ from their recomputed values.

    Args:
        run: the record and its rows.
        again: column -> recomputed (n,) values.
        source: description of what they were computed from.
    """
    for name, values in again.items():
        if name not in run.columns:
            yield f"the rows do not contain the column {name}, which follows from {source}"
            continue
        wrong = apart(run.columns[name], np.asarray(values, dtype=np.float64))
        if wrong.any():
            yield f"{name} of {int(wrong.sum())} images is not what {source} give, first {_first(run, wrong)}"


def apart(stored: np.ndarray, again: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Return where two arrays from rows, of equal shape (n, ...), differ by more than rounding, as bool of that shape.

    The tolerance depends on ``again`` only.
    """
    stored, again = np.asarray(stored, dtype=np.float64), np.asarray(again, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.abs(stored - again) > tolerance * np.maximum(1.0, np.abs(again))
    return np.asarray((found & (stored != again)) | (np.isfinite(stored) != np.isfinite(again)))


def has_statistics(run: LoadedRun, name: str) -> bool:
    """Return whether the rows contain the statistics of a metric."""
    metrics = [metric for metric in run.record.metrics if metric.name == name]
    count = 3 if metrics and metrics[0].form == "abs_difference" else 2
    return bool(metrics) and all(f"{name}.s{j}" in run.columns for j in range(count))


def _first(run: LoadedRun, wrong: np.ndarray) -> str:
    return str(run.rows["id"].iloc[int(np.argmax(wrong))])
