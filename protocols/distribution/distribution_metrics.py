"""Metric specs of ``distribution``: names, units, explanations."""

from __future__ import annotations

from dataclasses import replace

from colorbench.results import MetricSpec

SCALE = 1000
"""Kernel distances are given in thousandths."""

KID_PAIRED = MetricSpec(
    name="kid_paired",
    title="KID, paired",
    unit="10⁻³",
    higher_is_better=False,
    explanation="Kernel distance between the features of the predictions and of the true colors, without the pairs of "
    "a prediction and its own ground truth. It measures whether colors look real, not whether they are correct. "
    "Compare only within one backend, and use PNG: the JPEG error is more than half of that of gray.",
)
KID = replace(
    KID_PAIRED,
    name="kid",
    title="KID",
    explanation="Kernel distance (unbiased) between the features of the predictions and of a fixed reference dataset. "
    "Compare only within one backend and one reference.",
)
FRECHET = MetricSpec(
    name="frechet",
    title="Fréchet distance",
    unit="",
    higher_is_better=False,
    lower_bound=0,
    explanation="Fréchet distance of the features (FID with the backend inception). It decreases with the number of "
    "images, so it is given only from 5 images per feature on, and does not rank models.",
    comparable=False,
    interval=False,
)
FLOOR = replace(
    FRECHET,
    name="frechet_floor",
    title="Fréchet floor",
    higher_is_better=None,
    explanation="Fréchet distance between two halves of the true colors: the bias due to the number of images.",
)
