"""Which colors a scan brings along: none, one tone (sepia, cyanotype, yellowed paper), or colors of its own."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image

from colorbench.color import rgb_to_lab

Tint = Literal["none", "toned", "colored"]
SIDE = 128
LEVELS = 16
"""Steps of lightness within which a toned image has one color."""
FAINT = 2.0
"""Chroma below which four fifths of an image must lie to count as without color: JPEG leaves as much."""
SPREAD = 4.0
"""Distance in ab from the color of its lightness within which four fifths of a toned image lie."""


def tint_of(rgb: np.ndarray) -> Tint:
    """Return the tint of an image, what colors it has: (H, W, 3) uint8 sRGB.

    In a toned image the color follows from the lightness: shadows may have another color than lights, but everything
    of one lightness has the same. A few spots (a stamp, a stain) do not change the verdict.
    """
    small = Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.BOX)
    lab = rgb_to_lab(torch.from_numpy(np.array(small).transpose(2, 0, 1)))
    lightness, ab = lab[0].flatten().numpy(), lab[1:].flatten(1).numpy()  # (n,), (2, n)
    if np.quantile(np.hypot(*ab), 0.8) < FAINT:
        return "none"
    levels = np.minimum((lightness * LEVELS / 100).astype(int), LEVELS - 1)
    apart = np.zeros_like(lightness)
    for level in np.unique(levels):
        inside = levels == level
        apart[inside] = np.hypot(*(ab[:, inside] - np.median(ab[:, inside], axis=1, keepdims=True)))
    return "toned" if np.quantile(apart, 0.8) < SPREAD else "colored"
