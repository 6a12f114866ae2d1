"""Presets of ``fidelity`` for published evaluations: parameters in their public code, and what it leaves open.

Parameters, notes and missing choices were taken from the named commits. The values are those of the papers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from colorbench.results import PresetSource
from protocols.published_presets import CT2_VAL5K, DDCOLOR_DATASETS, DDCOLOR_OTHERS, DDCOLOR_VAL5K, Preset, tabled

_INFINITE = (
    "the code gives infinity for a prediction that equals its ground truth, and then for the mean; here such images "
    "are left out of PSNR"
)

_CT2 = PresetSource(
    source="CT2 (ECCV 2022): shuchenweng/CT2 at cd40f5a, segm/metrics.py, eval_colorfullness.py and data/coco.py",
    metrics=("psnr", "ssim", "cf_abs", "lpips_vgg"),
    dataset="imagenet-val5k",
    add={"lpips": "vgg"},
    notes=(
        "SSIM assumes a data range of 225, a slip for 255",
        "colors are truncated to 8 bits; 8-bit predictions are taken as they are",
        "its test script gives its predictions the names of the originals (.JPEG): the published ones were JPEG files",
        _INFINITE,
    ),
    published=(
        tabled("CT2", "ImageNet val5k", "5.51 38.48 2.17 23.50", "tabled by L-CAD, ΔCF as in CT2's paper"),
        CT2_VAL5K,
    ),
)
_CT2_PARAMETERS = {
    "preprocessing": "cropsquare256-bilinear-aa",
    "rounding": "truncate-floats",
    "psnr_infinite": "drop",
    "ssim": "uniform7",
    "ssim_range": 225,
}
_UNICOLOR = PresetSource(
    source="UniColor (SIGGRAPH Asia 2022): luckyhzt/unicolor at 53548d0, sample/unsorted_codes/metrics.ipynb",
    metrics=("psnr", "ssim", "lpips_alex"),
    add={"lpips": "alex"},
    notes=(
        "images and predictions are resized alike, whatever their size",
        "SSIM is averaged over batches of 100, and an incomplete last batch is lost: equal for 5,000 images",
        "its colorfulness resizes by another kernel: fidelity@unicolor-colorfulness",
        "its FID runs in batches of 50, which needs files of one size: how the folders were made is not part of it",
        _INFINITE,
    ),
    published=("UniColor: FID 9.46, CF 39.01, LPIPS .1945 (5 images of each class of ImageNet; the list is unknown)",),
)
_DDCOLOR = PresetSource(
    source="DDColor (ICCV 2023): piddnad/DDColor at 2adb63f, basicsr/metrics/*.py, options/train/train_ddcolor.yml; "
    "geometry by the author (piddnad/DDColor#9)",
    metrics=("psnr", "cf_abs", "delta_cf_abs_of_means"),
    missing=(
        "the script of the paper's tables was not released; PSNR and its border of 4 pixels are a line of the training "
        "configuration that is commented out",
        "users who ran CT2's scripts on the released weights found CF 34.33 in place of 38.26 (piddnad/DDColor#9)",
    ),
    notes=(_INFINITE,),
)

PRESETS: Mapping[str, Preset] = {
    "ct2": Preset(_CT2_PARAMETERS, _CT2),
    "ct2-converted": Preset(
        {**_CT2_PARAMETERS, "truth": "converted"},
        PresetSource(
            source=_CT2.source,
            metrics=("psnr", "ssim", "lpips_vgg"),
            dataset=_CT2.dataset,
            add=_CT2.add,
            notes=(
                "as fidelity@ct2, against the ground truth sent through Lab and back by truncation; the script prints "
                "both, and the paper does not say which it tables",
                *_CT2.notes,
            ),
            published=_CT2.published,
        ),
    ),
    "unicolor": Preset({"preprocessing": "squash256-bilinear-aa", "psnr_infinite": "drop"}, _UNICOLOR),
    "unicolor-colorfulness": Preset(
        {"preprocessing": "squash256", "psnr_infinite": "drop"},
        PresetSource(
            source=_UNICOLOR.source,
            metrics=("cf_abs",),
            notes=(
                "predictions are resized by Pillow's default, bicubic since Pillow 7; all other metrics of the "
                "notebook are those of fidelity@unicolor",
            ),
            published=_UNICOLOR.published,
        ),
    ),
    "icolorit": Preset(
        {"preprocessing": "squash224-bilinear-aa", "psnr_infinite": "cap50", "patch": 16, "lpips_range": "0..1"},
        PresetSource(
            source="iColoriT (WACV 2023): pmh9960/iColoriT at 8a02415, evaluation/evaluate.py, utils.py",
            metrics=("psnr", "psnr_boundary", "patch_error_variance", "lpips_vgg"),
            dataset="ctest10k",
            add={"lpips": "vgg"},
            notes=(
                "without hints (0 of its counts 0 to 200); hints are drawn by preparation/make_mask.py, which does not "
                "run as published",
                "squared errors are at least 1e-5, so PSNR is at most 50 dB",
                "LPIPS is given values of 0..1, where it expects -1..1",
                "a list of gray images may be left out (--gray_file_list_txt), none by default: --gray drop",
            ),
        ),
    ),
    "ddcolor-val5k": Preset(
        {"preprocessing": "cropsquare256-bilinear-aa", "psnr_infinite": "drop", "border": 4},
        replace(
            _DDCOLOR,
            dataset="imagenet-val5k",
            published=(
                DDCOLOR_VAL5K,
                tabled("DDColor-tiny", "ImageNet val5k", "4.38 37.66 0.55 23.54"),
            ),
        ),
    ),
    "ddcolor": Preset(
        {"preprocessing": "squash256-bilinear", "psnr_infinite": "drop", "border": 4},
        replace(
            _DDCOLOR,
            dataset=DDCOLOR_DATASETS,
            published=DDCOLOR_OTHERS,
        ),
    ),
    "colorformer": Preset(
        {"preprocessing": "squash256-bilinear", "psnr_infinite": "drop", "cf_minimum": 1},
        PresetSource(
            source="ColorFormer (ECCV 2022): jixiaozhong/ColorFormer at 0d3ae85, metric/psnr.py, metric/colorful.py",
            metrics=("psnr", "cf_abs"),
            dataset="imagenet-val50k, imagenet-val5k, COCO-Stuff val",
            missing=(
                "how the folder of ground truth was resized: the script of predictions squashes with OpenCV, and that "
                "of PSNR needs equal sizes",
                "the script of FID is not part of it",
            ),
            notes=(
                "images whose colorfulness is at most 1 are left out of colorfulness, exact matches of PSNR",
                "predictions get the names of the originals: those of ImageNet are JPEG files",
            ),
            published=(
                tabled("ColorFormer", "ImageNet val5k", "4.91 38.00 0.21 23.10"),
                tabled("ColorFormer", "ImageNet val50k", "1.71 39.76 0.67 23.00"),
                tabled("ColorFormer", "COCO-Stuff", "8.68 36.34 1.90 23.91"),
                tabled("ColorFormer", "ADE20K", "8.83 32.27 2.77 23.97"),
            ),
        ),
    ),
    "bigcolor": Preset(
        {"preprocessing": "native", "psnr_infinite": "drop"},
        PresetSource(
            source="BigColor (ECCV 2022): KIMGEONUNG/BigColor at 5b7687f, colorize.py",
            metrics=("cf_abs",),
            dataset="imagenet-val50k",
            missing=("the tool of colorfulness: a third-party command without a version",),
            notes=(
                "colors are predicted at a short side of 256 and a long side that is a multiple of 16, and resized to "
                "the size of the original",
                "BT.601 gray times 100 takes the place of L; predictions are JPEG files",
                "the network is given the true class of each image",
            ),
            published=(
                tabled("BigColor", "ImageNet val5k", "5.36 39.74 1.53 21.24"),
                tabled("BigColor", "ImageNet val50k", "1.24 40.01 0.92 21.24"),
            ),
        ),
    ),
}
"""Name behind ``fidelity@`` -> preset."""
