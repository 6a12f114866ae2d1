"""Metrics as pure functions, for anyone's own loop: tensors in, one float64 per image out.

Every value depends on its image alone: not on the batch that it came in, nor on its place there. AuC is imported from
its own module, ``colorbench.metrics.auc``.
"""

from colorbench.metrics.chroma import mean_chroma
from colorbench.metrics.ciede2000 import ciede2000, mean_ciede2000
from colorbench.metrics.colorfulness import cf_abs, cf_hs
from colorbench.metrics.lightness_drift import lightness_drift, lightness_drift_share
from colorbench.metrics.psnr import mean_squared_error, psnr

__all__ = [
    "cf_abs",
    "cf_hs",
    "ciede2000",
    "lightness_drift",
    "lightness_drift_share",
    "mean_chroma",
    "mean_ciede2000",
    "mean_squared_error",
    "psnr",
]
