"""What ``distribution`` measures: names, units and one sentence for the reader."""

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
    explanation="Kernel distance between the features of all predictions and of all true colors, each pair of a "
    "prediction with its own truth left out: 0 is what the truth has; it asks whether colors look real, not whether "
    "they are the true ones. Compare only within one backend, and write PNG: JPEG costs more than half of the color.",
)
KID = replace(
    KID_PAIRED,
    name="kid",
    title="KID",
    explanation="Kernel distance between the features of all predictions and of another set of images (unbiased; the "
    "other set is taken as fixed): compare only within one backend and one set.",
)
FRECHET = MetricSpec(
    name="frechet",
    title="Fréchet distance",
    unit="",
    higher_is_better=False,
    lower_bound=0,
    explanation="Distance of the means and covariances of the features (FID where they are Inception's). It falls as "
    "the number of images grows, so it is given from 5 images per feature on, and never ranks models.",
    comparable=False,
    interval=False,
)
FLOOR = replace(
    FRECHET,
    name="frechet_floor",
    title="Fréchet floor",
    higher_is_better=None,
    explanation="Fréchet distance between two halves of the true colors: what the number of images alone makes of "
    "two sets that do not differ.",
)
