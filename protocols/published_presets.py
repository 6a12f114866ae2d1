"""Helpers to define presets of published evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from colorbench.results import PresetSource


class Preset(NamedTuple):
    """Parameters of a preset, and their source."""

    parameters: Mapping[str, Any]
    source: PresetSource


def tabled(model: str, images: str, figures: str, where: str = "tabled by DDColor, ICCV 2023") -> str:
    """Format published values "FID CF ΔCF PSNR" of a table as a sentence."""
    fid, cf, delta, psnr = figures.split()
    return f"{model} on {images}: FID {fid}, CF {cf}, ΔCF {delta}, PSNR {psnr} ({where})"


CT2_VAL5K = tabled("CT2", "ImageNet val5k", "5.51 38.48 0.27 23.50")
DDCOLOR_VAL5K = tabled("DDColor-large", "ImageNet val5k", "3.92 38.26 0.05 23.85")
DDCOLOR_DATASETS = "imagenet-val50k, ade20k-val, COCO-Stuff val"
DDCOLOR_OTHERS = (
    tabled("DDColor-large", "ImageNet val50k", "0.96 38.65 0.44 23.74"),
    tabled("DDColor-large", "COCO-Stuff", "5.18 38.48 0.24 22.85"),
    tabled("DDColor-large", "ADE20K", "8.21 34.80 0.24 24.13"),
)
"""Published values on ``DDCOLOR_DATASETS``."""
