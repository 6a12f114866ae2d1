"""Average precision of a ranking, by the three rules that are in use for PASCAL VOC and elsewhere.

``voc07`` mean over recalls 0, 0.1 ... 1 of the best precision at that recall or higher: VOC challenge until 2009.
``voc10`` area under the envelope (precision made non-increasing in recall): VOC challenge from 2010 on. ``sklearn`` sum
of precision times the step in recall, without an envelope: scikit-learn's ``average_precision_score``.

Precision and recall are computed by scikit-learn. Images of equal score are ranked together: precision and recall are
those after all of them, so that the order of a file does not matter.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

AveragePrecisionRule = Literal["voc07", "voc10", "sklearn"]
"""Rule by which precision is averaged over recall: at 11 levels, over all levels with the envelope, or without it."""


def average_precision(
    scores: np.ndarray, positive: np.ndarray, rule: AveragePrecisionRule, weights: np.ndarray | None = None
) -> np.ndarray:
    """Compute average precision in 0..1; NaN without a positive image.

    Args:
        scores: (n,), higher for more certain.
        positive: (n,) bool.
        rule: see the head of this file.
        weights: (..., n) number of times that each image counts (resamples); default: once.

    Returns:
        (...) float64.

    Raises:
        ValueError: for an unknown rule, unequal lengths or scores that are NaN.

    Example:
        >>> float(average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]), "sklearn"))
        0.8333333333333333
    """
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if rule not in get_args(AveragePrecisionRule):
        raise ValueError(f"unknown rule {rule!r}: choose from {', '.join(get_args(AveragePrecisionRule))}")
    if scores.ndim != 1 or scores.shape != positive.shape or np.isnan(scores).any():
        raise ValueError(f"need (n,) scores without NaN and (n,) labels, got {scores.shape} and {positive.shape}")
    if weights is None:
        return np.asarray(_of_one(scores, positive, rule, np.ones(len(scores))))
    weights = np.asarray(weights, dtype=np.float64)
    values = [_of_one(scores, positive, rule, row) for row in weights.reshape(-1, len(scores))]
    return np.array(values).reshape(weights.shape[:-1])


def _of_one(scores: np.ndarray, positive: np.ndarray, rule: AveragePrecisionRule, weights: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    counted = weights > 0
    scores, positive, weights = scores[counted], positive[counted], weights[counted]
    if not positive.any():
        return np.nan
    if rule == "sklearn":
        return float(average_precision_score(positive, scores, sample_weight=weights))
    # Recall descends along the arrays, which end with an extra point at recall 0, precision 1.
    precision, recall, _ = precision_recall_curve(positive, scores, sample_weight=weights)
    envelope = np.maximum.accumulate(precision[:-1])
    if rule == "voc10":
        return float(-(np.diff(recall) * envelope).sum())
    # Recall is a quotient of counts: 1/10 must reach level 0.1 despite rounding.
    reached = [envelope[recall[:-1] >= tenth / 10 - 1e-12] for tenth in range(11)]
    return float(np.mean([best.max(initial=0.0) for best in reached]))
