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
    explanation="How far all predictions together are from all true images, as an image classifier sees them (its name "
    "is in parentheses), in thousandths; 0: as near as the true images themselves. Favors colors that look real, also "
    "if they are not those of the image. Paired: no prediction is compared with its own true image, since that would "
    "make the distance too small. Compare only values of the same classifier, and no JPEG files. The value of a single "
    "image is its part of the distance and may be negative.",
)
KID = replace(
    KID_PAIRED,
    name="kid",
    title="KID",
    explanation="How far all predictions together are from a fixed set of other real images (the reference), as an "
    "image classifier sees them (its name is in parentheses), in thousandths; about 0: as near as real images are. "
    "Favors colors that look real, also if they are not those of the image. Compare only values of the same classifier "
    "and the same reference. The value of a single image is its part of the distance and may be negative.",
)
FRECHET = MetricSpec(
    name="frechet",
    title="Fréchet distance",
    unit="",
    higher_is_better=False,
    lower_bound=0,
    explanation="How far the mean and the spread of the predictions are from those of the true images, as an image "
    "classifier sees them; with the classifier Inception this is FID. Favors colors that look real, as KID does. It "
    "decreases with the number of images, so it is given only from 5 images per feature on, ranks no models, and must "
    "not be compared with values of other numbers of images.",
    comparable=False,
    interval=False,
)
FLOOR = replace(
    FRECHET,
    name="frechet_floor",
    title="Fréchet floor",
    higher_is_better=None,
    explanation="Fréchet distance between two halves of the true images: how large it is without any error of color, "
    "due to the number of images alone.",
)
