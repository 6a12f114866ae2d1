"""Average precision of a ranking, in the three ways that are in use for PASCAL VOC and elsewhere.

``voc07``   mean over recalls 0, 0.1 ... 1 of the best precision at that recall or beyond: the challenge until 2009.
``voc10``   area under the envelope (precision made non-increasing in recall): the challenge from 2010 on.
``sklearn`` sum of precision times the step in recall, without an envelope: scikit-learn's ``average_precision_score``.

Photographs of equal score are ranked together: at such a place precision and recall are those after all of them, so
that the order of a file never counts.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Rule = Literal["voc07", "voc10", "sklearn"]


def precision_recall(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall after each different score, the highest first; each (..., k).

    Args:
        scores: (n,), higher is surer.
        positive: (n,) bool.
        weights: (..., n) how often each photograph counts (resamples); default: once.

    Returns:
        Both NaN where no positive photograph counts; precision NaN where nothing counts yet.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    counts = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)[..., order]
    last = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.empty(0, dtype=bool)
    right = np.cumsum(counts * positive[order], axis=-1)[..., last]
    shown = np.cumsum(counts, axis=-1)[..., last]
    with np.errstate(divide="ignore", invalid="ignore"):
        return right / shown, right / right[..., -1:] if right.shape[-1] else right


def average_precision(
    scores: np.ndarray, positive: np.ndarray, rule: Rule, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision in 0..1; NaN where there is no positive photograph.

    Args:
        scores: (n,), higher is surer.
        positive: (n,) bool.
        rule: see the head of this file.
        weights: (..., n) how often each photograph counts; default: once.

    Returns:
        (...) float64.

    Raises:
        ValueError: for an unknown rule, unequal lengths or scores that are NaN.

    Example:
        >>> float(average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]), "sklearn"))
        0.8333333333333333
    """
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if rule not in get_args(Rule):
        raise ValueError(f"unknown rule {rule!r}: choose from {', '.join(get_args(Rule))}")
    if scores.ndim != 1 or scores.shape != positive.shape or np.isnan(scores).any():
        raise ValueError(f"need (n,) scores without NaN and (n,) truth, got {scores.shape} and {positive.shape}")
    shape = () if weights is None else np.shape(weights)[:-1]
    if not positive.any():
        return np.full(shape, np.nan)
    precision, recall = precision_recall(scores, positive, weights)
    none = np.isnan(recall).any(axis=-1)
    precision = np.nan_to_num(precision)  # before anything counts, recall does not rise either
    if rule == "sklearn":
        steps = np.diff(recall, axis=-1, prepend=0.0)
        found = (steps * precision).sum(axis=-1)
    else:
        envelope = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
        if rule == "voc10":
            found = (np.diff(recall, axis=-1, prepend=0.0) * envelope).sum(axis=-1)
        else:
            # Recall is a quotient of counts: 0.1 must reach 1/10 whatever the last digit.
            reached = [recall >= tenth / 10 - 1e-12 for tenth in range(11)]
            best = [np.where(at, envelope, 0.0).max(axis=-1) for at in reached]
            found = np.mean(best, axis=0)
    return np.where(none, np.nan, found)
