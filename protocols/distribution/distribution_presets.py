"""Presets of ``distribution`` for published evaluations: FID as computed by the papers' public code.

All need weights of an Inception network, which are downloaded once (extra ``fid``) or given as a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from colorbench.results import PresetSource
from protocols.published_presets import CT2_VAL5K, DDCOLOR_DATASETS, DDCOLOR_OTHERS, DDCOLOR_VAL5K, Preset

_BIASED = "5,000 images are fewer than 5 per feature: FID says more about their number than about the model"
_TORCHVISION = {"backend": "inception-torchvision", "resize": "bilinear", "allow_biased": "yes"}
_CT2 = PresetSource(
    source="CT2 (ECCV 2022): shuchenweng/CT2 at cd40f5a, segm/metrics.py, segm/eval_fid.py",
    metrics=("frechet",),
    dataset="imagenet-val5k",
    notes=(
        "torchvision's Inception is given values of another range than it was trained on (range=ct2)",
        "its predictions are JPEG files, with colors truncated to 8 bits; floats are rounded here",
        "the script prints a second FID, against the ground truth sent through Lab and back; it has no preset",
        _BIASED,
    ),
    published=(CT2_VAL5K,),
)
_DDCOLOR = PresetSource(
    source="DDColor (ICCV 2023): piddnad/DDColor at 2adb63f, basicsr/metrics/custom_fid.py, "
    "basicsr/models/color_model.py; geometry by the author (piddnad/DDColor#9)",
    metrics=("frechet",),
    dataset="imagenet-val5k",
    missing=(
        "the script of the paper's tables was not released; this is the validation of its training code",
        "users who ran CT2's scripts on the released weights found FID 3.78 in place of 3.92 (piddnad/DDColor#9)",
    ),
    notes=(
        "torchvision's Inception is given values of another range than it was trained on (range=ddcolor)",
        "predictions are floats there and 8-bit images here",
        _BIASED,
    ),
    published=(DDCOLOR_VAL5K,),
)
PRESETS: Mapping[str, Preset] = {
    "ct2": Preset(
        {"preprocessing": "cropsquare256-bilinear-aa", **_TORCHVISION, "range": "ct2", "lossy": "allow"}, _CT2
    ),
    "ddcolor-val5k": Preset(
        {"preprocessing": "cropsquare256-bilinear-aa", **_TORCHVISION, "range": "ddcolor"}, _DDCOLOR
    ),
    "ddcolor": Preset(
        {"preprocessing": "squash256-bilinear", **_TORCHVISION, "range": "ddcolor"},
        replace(
            _DDCOLOR,
            dataset=DDCOLOR_DATASETS,
            published=DDCOLOR_OTHERS,
        ),
    ),
    "unicolor": Preset(
        {
            "preprocessing": "native",
            "backend": "inception",
            "resize": "bilinear",
            "allow_biased": "yes",
            "lossy": "allow",
        },
        PresetSource(
            source="UniColor (SIGGRAPH Asia 2022): luckyhzt/unicolor at 53548d0, sample/unsorted_codes/metrics.ipynb",
            metrics=("frechet",),
            missing=(
                "how the files were made: the batches of 50 need one size, and its colorizer keeps the originals'",
            ),
            notes=("pytorch_fid on files as they are, against the originals of the same images", _BIASED),
            published=("UniColor: FID 9.46 (5 images of each class of ImageNet; the list is unknown)",),
        ),
    ),
}
"""Name behind ``distribution@`` -> preset."""
