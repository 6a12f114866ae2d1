"""Plots of a training: curves, color prior, and a strip of example images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from colorbench.color import Prior, ab_bins, lab_to_rgb8
from colorbench.color.grid import GRID
from colorbench.reporting.plot_drawing import Axis, Line, panels, squares
from colorbench.reporting.plot_files import Plot
from colorbench.storage import write_atomic

SCORES = {"auc_raw": "AuC, raw (%)", "auc_rebalanced_stable": "AuC, rebalanced stable (%)"}
"""Columns of the validation log with their own panel, which also shows gray."""


def curve_plot(train: Sequence[Mapping[str, float]], validation: Sequence[Mapping[str, float]]) -> Plot:
    """Return the curves of a training over its steps.

    Args:
        train: rows of the training's log, each with ``step``.
        validation: rows of the validation log, each with ``step``; at least one.
    """
    known = [name for name in validation[0] if train and name in train[0] and name != "step"]
    parts = {
        name: [_line("training", train, name, "s1"), _line("validation images", validation, name, "s0")]
        for name in known
    }
    parts |= {
        title: [_line("validation images", validation, name, "s0"), _line("gray", validation, f"gray_{name}", "gray")]
        for name, title in SCORES.items()
        if name in validation[0]
    }
    return panels("Training", Axis("step"), parts)


def _line(label: str, rows: Sequence[Mapping[str, float]], name: str, color: str) -> Line:
    return Line(label, [row["step"] for row in rows], [row[name] for row in rows], color)


def prior_plot(prior: Prior, lightness: float = 65.0) -> Plot:
    """Plot the prior of a training: the 313 bins in the ab plane in their own colors.

    A square grows with the log probability.
    """
    ab = ab_bins()
    lab = torch.cat([torch.full((len(ab), 1), lightness), ab], dim=1)  # (313, 3)
    colors = lab_to_rgb8(lab.T[:, :, None])[:, :, 0].T.tolist()
    logs = np.log10(np.maximum(prior.probabilities, 1e-8))
    cells = [
        # A probability of 1 fills the bin.
        (a, b, GRID * max(0.08, 1 + float(log) / 6), f"#{red:02x}{green:02x}{blue:02x}")
        for (a, b), (red, green, blue), log in zip(ab.tolist(), colors, logs, strict=True)
    ]
    images = "" if prior.images is None else f", {prior.images} images"
    title = f"Prior of the 313 bins: {prior.kind}{images}"
    side = f"a (side of a square: log probability, 1e-6 to 1; entropy {prior.entropy:.2f} nats)"
    return squares(title, Axis(side), Axis("b"), cells)


def draw_strip(rows: Sequence[tuple[str, Tensor]], path: Path) -> None:
    """Draw labeled rows of images of a training as a PNG: (label, (N, 3, H, W) uint8), all of one shape."""
    n, _, height, width = rows[0][1].shape
    gap, margin = 4, 72
    sheet = Image.new("RGB", (margin + n * (width + gap), len(rows) * (height + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, images) in enumerate(rows):
        top = gap + number * (height + gap)
        draw.text((margin - 8, top + height // 2), label, "#222222", ImageFont.load_default(13), "rm")
        for column, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
            sheet.paste(Image.fromarray(image), (margin + column * (width + gap), top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue(), durable=False)
