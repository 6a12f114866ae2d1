"""Color: Lab, the 313 ab bins, soft encoding and the prior. Names are loaded on first use.

colorbench.color.rgb_to_lab(rgb), colorbench.color.ab_bins()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colorbench.color.bins import decode, nearest_bin
    from colorbench.color.encoding import SoftCode, soft_encode
    from colorbench.color.grid import ab_bins
    from colorbench.color.lab import lab_to_rgb, lab_to_rgb8, lightness_and_ab, rgb_to_lab
    from colorbench.color.prior import Prior, load_prior, rebalancing_weights, save_prior

__all__ = [
    "Prior",
    "SoftCode",
    "ab_bins",
    "decode",
    "lab_to_rgb",
    "lab_to_rgb8",
    "lightness_and_ab",
    "load_prior",
    "nearest_bin",
    "rebalancing_weights",
    "rgb_to_lab",
    "save_prior",
    "soft_encode",
]
_MODULES = {
    "bins": ("ab_bins", "decode", "nearest_bin"),
    "encoding": ("SoftCode", "soft_encode"),
    "lab": ("lab_to_rgb", "lab_to_rgb8", "lightness_and_ab", "rgb_to_lab"),
    "prior": ("Prior", "load_prior", "rebalancing_weights", "save_prior"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"colorbench.color.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"colorbench.color.{name}")
    raise AttributeError(f"module 'colorbench.color' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
