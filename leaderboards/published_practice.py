"""The choices of each protocol, compared with the paper and later papers, for the protocol section of the page.

A line is (choice, here, "Colorful Image Colorization" (ECCV 2016), later papers and their code). If ``here`` begins
with ``=``, the value of that parameter in the record is shown. The choices of others were read in their public code.
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
        "the rendered 8-bit image: ab clipped to sRGB and rounded",
        "the predicted ab",
        "BigColor and DeOldify score saved JPEG files; CT2 prints scores against two ground truths, one of them "
        "converted to Lab and back by truncation",
    ),
    Departure(
        "size",
        "=preprocessing",
        "not stated; 256 × 256 by its later code",
        "CT2 and ColTran crop the central square and resize it to 256 × 256, DDColor (but for val5k) and ColorFormer "
        "squash, BigColor resizes the shorter side: mean colorfulness differs by 0.5 to 0.7 between these",
    ),
    Departure(
        "Lab",
        "CIE Lab, D65, 2° observer, as scikit-image computes it",
        "scikit-image",
        "DDColor uses OpenCV's: it puts 1.6 % of random colors into another bin in float, 9.8 % in 8 bits",
    ),
    Departure(
        "gray images",
        "=gray",
        "not stated",
        "BigColor trains without images of low colorfulness; ColorFormer's PSNR excludes gray images; COCO-LC "
        "excludes black-and-white images from the test set",
    ),
    Departure(
        "uncertainty",
        "95 % bootstrap confidence intervals over images; simultaneous rank intervals (max-t over all pairs)",
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
            "no later paper reports it; the rule alone changes it by 0.6 points, and the paper's gray and full model "
            "differ by 0.4",
        ),
        Departure(
            "rebalancing",
            "λ = 0 is reported; models are ranked at λ = 0.1, which limits the weight of rare colors",
            "λ = 0, pure inverse frequency",
            "none reports it; at λ = 0, n_eff is about 45 of 650 images, and intervals are too short",
        ),
        Departure(
            "color prior",
            "=prior",
            "ImageNet training pixels, smoothed; the code that made it was never published",
            "re-implementations recompute it; computed from the evaluated set, the score falls with its size",
        ),
        Departure(
            "pooling",
            "ratio of sums over all images",
            "not stated",
            "third-party code: ratio of sums or mean of ratios",
        ),
        Departure("ab", "=ab", "as predicted", "clipping changes the score of out-of-gamut predictions"),
    ),
    "fidelity": (
        Departure(
            "PSNR",
            "mean over images, RGB",
            "not reported",
            "for the same weights 20.9, 22.6 and 27.0 dB were published, on different images and averages; "
            "DDColor's sample configuration crops a border of 4 pixels",
        ),
        Departure(
            "SSIM",
            "=ssim",
            "not reported",
            "CT2 uses scikit-image's uniform window with a range of 225, UniColor the Gaussian window",
        ),
        Departure(
            "PSNR of an exact match",
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
            "both: the difference of means, and the mean difference per image",
            "not reported",
            "papers report the difference of means, in which desaturated and oversaturated images cancel out; for the "
            "same outputs of CT2 0.27 and 2.17 were published, with different ground-truth means",
        ),
        Departure(
            "FID",
            "not in this protocol; see `distribution`",
            "not reported",
            "DDColor and CT2 use torchvision's Inception, DeOldify and UniColor TensorFlow's; 5,000 and 50,000 "
            "images give 3.92 and 0.96 for the same model, so values of different n must not be compared",
        ),
    ),
    "semantic": (
        Departure(
            "classifier",
            "=classifier",
            "VGG-16, trained on color images, not fine-tuned",
            "OpenVINO repeats it with Caffe's VGG-16: 57.8 % top-1 for the paper's model, 71.0 % for the ground truth",
        ),
    ),
    "human-study": (
        Departure(
            "participants and trials",
            "see Configuration above",
            "40 participants per algorithm, 10 practice and 40 test pairs, 1 s each, one algorithm per participant, "
            "10 % sentinels",
            "DDColor: 50 images, 20 participants, choice of the best; most others give no interval",
        ),
        Departure(
            "interval",
            "participants and images are both resampled",
            "participants and then their responses are resampled; images are not",
            "plain binomial intervals are up to half as long",
        ),
    ),
    "linear-probe": (
        Departure(
            "features",
            "see Configuration above",
            "ImageNet, 1000 classes, maps average-pooled to about 9,000 features, one layer at a time",
            "Split-Brain and later: bilinear resizing instead of pooling, 140,000 training steps",
        ),
    ),
}


NOT_COMPARED: Mapping[str, Mapping[str, str]] = {
    "auc": {
        "auc_rebalanced": "at λ = 0 the effective sample size is too small",
        "auc_rebalanced_stable": "its weights were computed from the evaluated images",
    },
    "human-study": {
        "": "participants would have to be resampled too, and a record contains only sums per image; the report of the "
        "study compares the methods"
    },
    "semantic": {
        "top1_minus_truth": "it differs from top-1 by the same constant for every model",
        "top1_minus_gray": "it differs from top-1 by the same constant for every model",
        "top1_gap_share": "it is top-1 minus gray, divided by the same gap for every model",
    },
    "linear-probe": {"top1_pixels": "it does not depend on the model"},
    "transfer-classification": {"map": "it is one number per dataset, without scores per image"},
    "transfer-segmentation": {"mean_iou": "it is one number per dataset, without scores per image"},
}
"""Protocol -> metric (empty: all other metrics) -> why models are not ranked by it."""


def not_compared(protocol: str, metric: str) -> str:
    """Return why models are not ranked by a metric that its protocol declares not comparable."""
    known = NOT_COMPARED.get(protocol, {})
    # With several classifiers, the name of a metric ends in that of the classifier.
    base = max((name for name in known if metric == name or metric.startswith(f"{name}_")), key=len, default="")
    return known.get(base, "its protocol declares it not comparable between models")


def departures(protocol: str, given: Mapping[str, str]) -> list[Departure]:
    """Return the lines of the table that compares a protocol with published practice.

    Args:
        protocol: name.
        given: parameter -> value in the record, including ``gray`` and ``preprocessing``.

    Returns:
        Empty for a protocol that is not listed here.
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
