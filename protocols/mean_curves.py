"""Means over images as columns of the rows, and curves of such means with their intervals."""

from __future__ import annotations

import numpy as np

from colorbench.evaluation import Curve
from colorbench.stats import interval


def mean_columns(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a metric that is the mean of (n,) values over the images without NaN."""
    return {name: values, f"{name}.s0": values, f"{name}.s1": np.where(np.isnan(values), np.nan, 1.0)}


def curve_of(name: str, title: str, x_label: str, y_label: str, x: list[float], columns: list[np.ndarray]) -> Curve:
    """Return the curve of the means of columns, with their 95 % intervals where there are enough images.

    Args:
        name: of the curve.
        title: of the curve.
        x_label: of the axis across.
        y_label: of the axis upwards.
        x: one value a column.
        columns: (n,) each, without NaN.
    """
    found = [interval(np.stack([values, np.ones_like(values)], axis=1), "ratio") for values in columns]
    known = [one for one in found if one is not None]
    whole = len(known) == len(x)
    return Curve(
        name,
        title,
        x_label,
        y_label,
        tuple(x),
        tuple(float(values.mean()) for values in columns),
        low=tuple(one.low for one in known) if whole else (),
        high=tuple(one.high for one in known) if whole else (),
    )
