"""What presets of published evaluations are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from colorbench.results import PresetSource


class Preset(NamedTuple):
    """Parameters, and whose they are."""

    parameters: Mapping[str, Any]
    source: PresetSource


def tabled(model: str, images: str, figures: str, where: str = "tabled by DDColor, ICCV 2023") -> str:
    """Return figures "FID CF ΔCF PSNR" of a table in a sentence."""
    fid, cf, delta, psnr = figures.split()
    return f"{model} on {images}: FID {fid}, CF {cf}, ΔCF {delta}, PSNR {psnr} ({where})"
