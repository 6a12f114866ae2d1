"""Confusion matrices of label maps, and the mean intersection over union made of one for a whole set."""

from __future__ import annotations

import numpy as np

VOID = 255
"""Pixels of this true label are not counted: borders and what no one could name."""


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int, void: int = VOID) -> np.ndarray:
    """How many pixels of each true class (rows) got each answer (columns).

    Args:
        truth: integer labels of any shape; ``void`` is passed over.
        answer: labels 0 .. classes - 1 of the same shape.
        classes: how many.
        void: the label that is not counted.

    Returns:
        (classes, classes) int64.

    Raises:
        ValueError: for unequal shapes, or labels that are no class.
    """
    if truth.shape != answer.shape:
        raise ValueError(f"truth {truth.shape} and answer {answer.shape} must have one shape")
    counted = truth != void
    rows, columns = truth[counted].astype(np.int64), answer[counted].astype(np.int64)
    for name, labels in (("true", rows), ("answered", columns)):
        if labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(f"a {name} label is not among 0 .. {classes - 1}: {labels.min()} to {labels.max()}")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def intersection_over_union(matrix: np.ndarray) -> np.ndarray:
    """Per class: pixels that are it in truth and answer, over those that are it in either; (..., classes).

    Args:
        matrix: (..., classes, classes) of pixels, or their sums over photographs.

    Returns:
        0..1; NaN for a class that occurs in neither.
    """
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    union = matrix.sum(axis=-1) + matrix.sum(axis=-2) - hit
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(union > 0, hit / union, np.nan)


def mean_iou(matrix: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur in truth or answer, of one matrix summed over the whole set; (...) in 0..1."""
    values = intersection_over_union(matrix)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=-1) / known.sum(axis=-1))
