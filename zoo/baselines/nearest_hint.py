"""The control of guided colorization: every pixel takes the color of the nearest revealed point."""

from __future__ import annotations

import torch
from torch import Tensor

from colorbench.models import ColorizerInput, ColorPrediction, ModelCard, RevealedColors

BLOCK = 1 << 22
"""Distances that are in memory at once: 16 MB."""


class NearestHint:
    """No network: the colors of the nearest revealed point, and gray without any."""

    thread_safe = True
    card = ModelCard(
        title="control: each pixel takes the color of the nearest hint",
        role="baseline",
        license="BSD-2-Clause",
        notes="Distances are between pixels; the lightness is not used. Without hints the prediction is gray. A guided "
        "network must be better at every number of hints.",
    )

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Return gray: nothing is revealed."""
        n, _, height, width = inputs.lightness.shape
        return ColorPrediction(ab=inputs.lightness.new_zeros(n, 2, height, width))

    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        """Return the color of the point that is nearest to each pixel; of points at equal distance, the first."""
        if revealed.count == 0:
            return self.colorize_batch(inputs)
        height, width = inputs.lightness.shape[-2:]
        nearest = torch.stack([_nearest_point(points, height, width) for points in revealed.positions])  # (N, H, W)
        colors = [color[index] for color, index in zip(revealed.ab, nearest, strict=True)]  # (H, W, 2) each
        return ColorPrediction(ab=torch.stack(colors).movedim(-1, 1).contiguous())


def _nearest_point(points: Tensor, height: int, width: int) -> Tensor:
    """Return the number of the point that is nearest to each pixel, of those at equal distance the first.

    Args:
        points: (M, 2) int64, row and column; M at least 1.
        height: of the image.
        width: of the image.

    Returns:
        (height, width) int64.
    """
    rows, columns = points.T.int()
    # Squared distances as integers: ties are exact. Below 2^31 for sides of up to 32,000 pixels.
    across = (torch.arange(width, device=points.device, dtype=torch.int32)[:, None] - columns) ** 2  # (W, M)
    down = (torch.arange(height, device=points.device, dtype=torch.int32)[:, None] - rows) ** 2  # (H, M)
    at_once = max(1, BLOCK // across.numel())
    return torch.cat([(block[:, None] + across).argmin(dim=-1) for block in down.split(at_once)])
