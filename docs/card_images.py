"""The strips of images in the model cards: ``python docs/card_images.py``.

Each shows the packaged images, the ground truth above, the prediction below. Only these images may be redistributed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

import colorbench
from colorbench.models import load_model
from colorbench.registry import registered

SIDE, GAP = 128, 4
FOLDER = Path(__file__).with_name("models")
WITHOUT = ("zoo/eccv16", "zoo/siggraph17")
"""Models whose weights do not ship."""


def main(names: list[str]) -> None:
    """Write ``models/NAME.webp`` of the named models; of all of the zoo if none is named."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or [plugin.name for plugin in registered("models") if plugin.name not in WITHOUT]:
        rows: list[list[torch.Tensor]] = [[], []]
        for batch in colorbench.predict(load_model(name), preprocessing="squash256"):
            rows[0] += list(batch.truth.rgb8)
            rows[1] += list(batch.rgb8)
        step = SIDE + GAP
        sheet = Image.new("RGB", (step * len(rows[0]) - GAP, 2 * step - GAP), "white")
        for y, row in enumerate(rows):
            for x, image in enumerate(row):
                shown = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                sheet.paste(shown, (x * step, y * step))
        sheet.save(FOLDER / f"{name.replace('/', '-')}.webp", quality=82, method=6)


if __name__ == "__main__":
    main(sys.argv[1:])
