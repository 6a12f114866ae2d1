"""A batch of the packaged images, for initialization without training data."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.data import decode_image, open_dataset


def packaged_lightness(size: int, copies: int = 4) -> Tensor:
    """Return L of crops of the packaged images, (N, 1, size, size): ``copies`` per image, of 3/4 of its short side."""
    rng = np.random.default_rng(0)
    crops = []
    for sample in open_dataset("samples").samples:
        rgb = decode_image(sample).rgb
        side = min(rgb.shape[:2]) * 3 // 4
        for _ in range(copies):
            top, left = (int(rng.integers(0, extent - side + 1)) for extent in rgb.shape[:2])
            crop = Image.fromarray(rgb[top : top + side, left : left + side])
            crops.append(np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC)))
    batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    return rgb_to_lab(batch)[:, :1].contiguous()
