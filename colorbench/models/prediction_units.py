"""Detection of predictions in wrong units: scaled or swapped ab channels, or reversed RGB.

A network with unscaled output would be scored like any other without notice. A few statistics of each prediction are
stored with its shard; a suspicious result over all images becomes a note in the record, with the observation and a
possible fix.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from colorbench.color import lightness_and_ab

LINES, PIXELS = 8, 2
"""Every second pixel of every eighth line is enough for means and correlations, and avoids reading most of the
memory."""
COLUMNS = (
    "low",
    "high",
    "mean_a",
    "mean_b",
    "square",
    "true_square",
    "a_a",
    "b_b",
    "a_b",
    "b_a",
    "rgb",
    "lightness",
    "lightness_bgr",
)
FEWEST = 5
"""Minimum number of images for correlations."""
NORMALIZED = 1.7 / 110
"""Largest root mean square of predictions, relative to the ground truth, that is taken for ab divided by 110. The ratio
of the included models is at most 1.6 (zoo/cic on vivid images). A model with extremely weak colors cannot be
distinguished from one with normalized output."""


def observed(
    *,
    lightness: Tensor,
    ab: Tensor,
    truth: tuple[Tensor, Tensor],
    limits: tuple[Tensor, Tensor],
    rgb8: Tensor | None = None,
) -> np.ndarray:
    """Compute the ``COLUMNS`` that reveal a prediction's units, (N, 13) float64 for a batch; NaN where undefined.

    Args:
        lightness: (N, 1, H, W) L of the predictions as rendered.
        ab: (N, 2, H, W) as predicted; as rendered for rgb8.
        truth: (N, 1, H, W) L and (N, 2, H, W) ab of the images.
        limits: smallest and largest value of each prediction, (N,) each, of ab or rgb8 as predicted.
        rgb8: (N, 3, H, W) uint8 if the model predicts RGB.
    """
    missing = torch.full((len(ab),), torch.nan, dtype=torch.float64, device=ab.device)
    low, high = limits
    gap, reversed_gap = missing, missing
    if rgb8 is not None:
        wanted = _thinned(truth[0])
        gap = (_thinned(lightness) - wanted).abs().double().mean((1, 2, 3))
        bgr, _ = lightness_and_ab(_thinned(rgb8).flip(1).contiguous())
        reversed_gap = (bgr - wanted).abs().double().mean((1, 2, 3))
    pixels = torch.cat([_thinned(ab), _thinned(truth[1])], dim=1).flatten(2).double()  # (N, 4, P): a, b, true a, b
    mean, squares = pixels.mean(2), pixels @ pixels.mT / pixels.shape[2]
    covariance = squares - mean[:, :, None] * mean[:, None]
    deviation = covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    defined = torch.where(deviation > 1e-6, deviation, torch.nan)
    correlation = covariance / (defined[:, :, None] * defined[:, None])
    columns = [
        low.double(),
        high.double(),
        mean[:, 0],
        mean[:, 1],
        squares[:, 0, 0] + squares[:, 1, 1],
        squares[:, 2, 2] + squares[:, 3, 3],
        correlation[:, 0, 2],
        correlation[:, 1, 3],
        correlation[:, 0, 3],
        correlation[:, 1, 2],
        torch.full_like(missing, float(rgb8 is not None)),
        gap,
        reversed_gap,
    ]
    return torch.stack(columns, dim=1).cpu().numpy()


def unit_notes(parts: Iterable[np.ndarray], *, stored: bool = False) -> list[str]:
    """Return notes about the units of all predictions of a run.

    Args:
        parts: results of ``observed``.
        stored: whether they are files of another program, whose lightness is checked elsewhere.
    """
    lines = [part for part in parts if len(part)]
    if not lines:
        return []
    table = dict(zip(COLUMNS, np.concatenate(lines).T, strict=True))
    return _of_rgb(table, stored) if table["rgb"].any() else _of_ab(table)


def _of_ab(table: dict[str, np.ndarray]) -> list[str]:
    low, high = float(table["low"].min()), float(table["high"].max())
    means = float(table["mean_a"].mean()), float(table["mean_b"].mean())
    size, true_size = (float(np.sqrt(table[name].mean())) for name in ("square", "true_square"))
    seen = f"ab of all predictions lies in {low:.3g}..{high:.3g}"
    if low == high or (table["high"] - table["low"]).max() < 1e-6 or true_size < 1:
        return []  # a single color, or images without color: nothing to compare
    if low >= 0 and high <= 1 and all(0.35 < mean < 0.65 for mean in means):
        return [f"{seen}, with a mean near 0.5: if the network gives (ab + 128) / 255, multiply by 255, subtract 128"]
    if max(-low, high) <= 1 and size < NORMALIZED * true_size:
        message = "no prediction left -1..1, and CIE ab reaches 100"
        return [f"{message} ({seen}): if the network gives normalized ab, multiply by 110"]
    if low > -10 and all(90 < mean < 165 for mean in means):
        offset = 128 if np.mean(means) > 119 else 110
        message = f"with a mean of {means[0]:.0f} and {means[1]:.0f}, where gray is 0"
        return [f"{seen}, {message}: if the network gives ab + {offset} (8-bit Lab), subtract {offset}"]
    if size > 150:
        message = f"{size:.0f} from gray on average, where no sRGB color is farther than 134"
        return [f"{seen}, {message}: if it was scaled twice, leave one out"]
    if _swapped(table):
        message = "the first channel follows the true b, and the second the true a, better than the other way round"
        return [f"{message}: if the network gives (b, a), swap its channels"]
    return []


def _swapped(table: dict[str, np.ndarray]) -> bool:
    across = np.stack([table["a_b"], table["b_a"]])
    straight = np.stack([table["a_a"], table["b_b"]])
    defined = np.isfinite(across).all(0) & np.isfinite(straight).all(0)
    if defined.sum() < FEWEST:
        return False
    better = (across - straight)[:, defined]  # (2, n)
    both = better.sum(0)
    clear = both.mean() > 3 * both.std(ddof=1) / np.sqrt(len(both))
    # Each channel separately: both channels of a model with two equal channels correlate with b.
    return bool(clear and (better.mean(1) > 0.05).all() and (across[:, defined].mean(1) > 0.1).all())


def _of_rgb(table: dict[str, np.ndarray], stored: bool) -> list[str]:
    if 0 < table["high"].max() <= 1:
        return ["no level of rgb8 is above 1: rgb in 0..1 must be multiplied by 255 and rounded before it is uint8"]
    colorful = table["square"] > 25  # reversed, gray stays gray
    as_given, as_bgr = table["lightness"][colorful], table["lightness_bgr"][colorful]
    nearer = len(as_given) and as_bgr.mean() < 0.5 * as_given.mean() and (as_bgr < as_given).mean() > 0.8
    if nearer and as_given.mean() > 1:
        message = f"lightness is off by {as_given.mean():.1f}, and by {as_bgr.mean():.1f} with red and blue exchanged"
        return [f"{message}: if the predictions are BGR, as OpenCV reads and writes, reverse their channels"]
    gap = float(table["lightness"].mean())
    if gap > 15 and not stored:
        message = f"the lightness of the predictions is off by {gap:.1f} on average, where a colorization keeps it"
        return [f"{message}: check the range of rgb (8-bit sRGB, 0..255), its order, and that it is of the same image"]
    return []


def _thinned(maps: Tensor) -> Tensor:
    if min(maps.shape[-2:]) < 4 * LINES:
        return maps
    return maps[..., ::LINES, ::PIXELS].contiguous()
