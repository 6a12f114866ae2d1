"""What a protocol chooses, and what the paper and later papers chose: for the protocol pages.

A line is (choice, here, "Colorful Image Colorization" (ECCV 2016), later papers and their code). Where ``here`` begins
with ``=`` the value of that parameter in the record is shown. What is said of others was read in their public code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Departure(NamedTuple):
    """One choice."""

    choice: str
    here: str
    paper: str
    later: str


COMMON = (
    Departure(
        "what is scored",
        "the image that is seen: ab clipped to sRGB and rounded to 8 bits",
        "the predicted ab",
        "BigColor and DeOldify score saved JPEG files; CT2 prints scores against two truths, one of them sent through "
        "8-bit Lab and back",
    ),
    Departure(
        "size",
        "=preprocessing",
        "not stated; 256 × 256 by its later code",
        "DDColor and CT2 squash to 256 × 256, ColTran takes the central square, BigColor the shorter side: mean "
        "colorfulness moves by 0.5 to 0.7 between them",
    ),
    Departure(
        "Lab",
        "CIE Lab, D65, 2° observer, as scikit-image computes it",
        "scikit-image",
        "DDColor uses OpenCV's: in float it moves 1.6 % of random colors into another bin, in 8 bits 9.8 %",
    ),
    Departure(
        "gray images",
        "=gray",
        "not stated",
        "BigColor trains without images of low colorfulness; ColorFormer's PSNR leaves out gray images, COCO-LC "
        "leaves black-and-white images out of the test",
    ),
    Departure(
        "uncertainty",
        "95 % intervals by bootstrap over images; ranks by one max-t value for all pairs",
        "none for this table",
        "none in the tables of DDColor, CT2, ColorFormer, BigColor",
    ),
)

OF_PROTOCOL: Mapping[str, tuple[Departure, ...]] = {
    "auc": (
        Departure(
            "thresholds",
            "=convention",
            "0 to 150, step and rule not stated",
            "no later paper reports it; rules alone move it by 0.6 points, the paper's gray and full are 0.4 apart",
        ),
        Departure(
            "rebalancing",
            "λ = 0 is shown; models are compared at λ = 0.1, where rare colors weigh more only up to a limit",
            "λ = 0, pure inverse frequency",
            "none reports it; at λ = 0, 650 images count as about 45 and intervals are too short",
        ),
        Departure(
            "prior of the colors",
            "=prior",
            "ImageNet training pixels, smoothed; its making was never published",
            "re-implementations recompute it; from the evaluated set itself the score falls with the size of the set",
        ),
        Departure("pooling", "sums over images are divided once", "not stated", "third-party code does both"),
        Departure("ab", "=ab", "as predicted", "out-of-gamut answers gain or lose by clipping"),
    ),
    "fidelity": (
        Departure(
            "PSNR",
            "mean over images, RGB",
            "not reported",
            "of one set of weights 20.9, 22.6 and 27.0 dB were published, on other images and averages; "
            "DDColor's sample configuration crops 4 pixels of border",
        ),
        Departure(
            "SSIM",
            "=ssim",
            "not reported",
            "CT2 uses scikit-image's uniform window with a range of 225, UniColor the Gaussian window",
        ),
        Departure(
            "an exact match",
            "=psnr_infinite",
            "not reported",
            "ColorFormer's code drops infinite values (the gray images) from the mean",
        ),
        Departure(
            "colorfulness",
            "both forms: cf_hs as Hasler and Süsstrunk defined it, cf_abs with absolute opponent channels",
            "not reported",
            "CT2, ColorFormer and DDColor compute cf_abs (about 8 % less); ColorFormer drops images below 1",
        ),
        Departure(
            "ΔCF",
            "both: the distance of means, and the mean distance per image",
            "not reported",
            "papers table the distance of means, in which dull and garish images cancel out; for the same outputs "
            "of CT2 0.27 and 2.17 were published, with another mean of the truth",
        ),
        Departure(
            "FID",
            "not part of it: no interval, and values of different n must not be compared",
            "not reported",
            "DDColor, CT2 and ColorFormer use torchvision's Inception, DeOldify that of TensorFlow; 5,000 and 50,000 "
            "images give 3.92 and 0.96 for the same model",
        ),
    ),
    "semantic": (
        Departure(
            "classifier",
            "=classifier",
            "VGG-16, trained on color images, not adapted",
            "OpenVINO repeats it with Caffe's VGG-16: 57.8 % top-1 for the paper's model, 71.0 % for the truth",
        ),
    ),
    "human-study": (
        Departure(
            "who is asked, what is seen",
            "every choice of the study is in its parameters below",
            "40 people an algorithm, 10 practice and 40 test pairs, 1 s each, one algorithm a person, 10 % sentinels",
            "DDColor: 50 images, 20 people, pick the best; most others give no interval",
        ),
        Departure(
            "interval",
            "people and images are both resampled",
            "people, then their answers; images never",
            "plain binomial errors are up to half as long",
        ),
    ),
    "linear-probe": (
        Departure(
            "features",
            "every choice is in the parameters below",
            "ImageNet, 1000 classes, maps brought to about 9,000 numbers by average pooling, one layer at a time",
            "Split-Brain and later: bilinear resizing instead of pooling, trained for 140,000 steps",
        ),
    ),
}


NOT_COMPARED: Mapping[str, Mapping[str, str]] = {
    "auc": {
        "auc_rebalanced": "shown, not compared: at λ = 0 too few images decide it",
        "auc_rebalanced_stable": "shown, not compared: its weights were counted on these images themselves",
    },
    "human-study": {
        "": "shown, not compared: participants would have to be resampled too, and a record holds only their sums for "
        "each image. The study's own report compares the methods"
    },
    "semantic": {
        "top1_minus_truth": "shown, not compared: it differs from top-1 by the same number for every model",
        "top1_minus_gray": "shown, not compared: it differs from top-1 by the same number for every model",
        "top1_gap_share": "shown, not compared: it is top-1 minus gray, divided by the same gap for every model",
    },
    "linear-probe": {"top1_pixels": "shown, not compared: no model takes part in it"},
    "transfer-classification": {"map": "shown, not compared: it is one number of the whole dataset, not of its images"},
    "transfer-segmentation": {
        "mean_iou": "shown, not compared: it is one number of the whole dataset, not of its images"
    },
}
"""Protocol -> metric (empty: all others of it) -> why models are not compared by it."""


def not_compared(protocol: str, metric: str) -> str:
    """Return why models are not compared by a metric whose protocol says that they must not be."""
    known = NOT_COMPARED.get(protocol, {})
    # Where there are several classifiers, a metric's name ends in the classifier's.
    base = max((name for name in known if metric == name or metric.startswith(f"{name}_")), key=len, default="")
    return known.get(base, "shown, not compared: its protocol says that models must not be compared by it")


def departures(protocol: str, given: Mapping[str, str]) -> list[Departure]:
    """Return the lines of a protocol page.

    Args:
        protocol: name.
        given: parameter -> value as the record has it, ``gray`` and ``preprocessing`` among them.

    Returns:
        Empty for a protocol of which nothing is known here.
    """
    own = OF_PROTOCOL.get(protocol)
    if own is None:
        return []
    image_by_image = protocol in ("auc", "fidelity", "semantic")
    lines = []
    for one in (*own, *(COMMON if image_by_image else ())):
        here = one.here
        if here.startswith("="):
            if here[1:] not in given:
                continue
            here = given[here[1:]]
        lines.append(one._replace(here=here))
    return lines
