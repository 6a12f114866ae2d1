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
