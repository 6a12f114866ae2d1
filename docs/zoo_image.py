"""The figure in zoo/README.md: trained models on the packaged images, ``python docs/zoo_image.py``.

It shows six images and two details, since only these may be redistributed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from guide_images import write_small
from PIL import Image, ImageDraw, ImageFont

from colorbench.color import lab_to_rgb8, rgb_to_lab
from colorbench.data import decode_image, open_dataset
from colorbench.models import ColorizerInput, load_model

MODELS = ("zoo/gray", "zoo/l2", "zoo/l2-ft", "zoo/cic-class", "zoo/cic", "zoo/cic.base", "zoo/lite")
SIDE, GAP, HEAD = 108, 4, 26


def square(image: Image.Image, left: float = 0.5, top: float = 0.5, share: float = 1.0) -> Image.Image:
    """Return a square crop of an image, resized to 256 pixels."""
    side = round(min(image.size) * share)
    x, y = round((image.width - side) * left), round((image.height - side) * top)
    return image.crop((x, y, x + side, y + side)).resize((256, 256), Image.Resampling.BICUBIC)


def main() -> None:
    """Write ``zoo.webp`` beside this file."""
    images = {sample.id: Image.fromarray(decode_image(sample).rgb) for sample in open_dataset().samples}
    squares = [square(image) for image in images.values()]
    squares += [square(images["china.jpg"], 0.5, 1.0, 0.5), square(images["astronaut.png"], 0.4, 0.05, 0.45)]
    rgb8 = torch.from_numpy(np.stack([np.array(one) for one in squares])).permute(0, 3, 1, 2).contiguous()
    lightness = rgb_to_lab(rgb8)[:, :1]
    columns = []
    for name in MODELS:
        inputs = ColorizerInput(lightness, tuple(map(str, range(len(rgb8)))), (0,) * len(rgb8))
        with torch.inference_mode():
            ab = load_model(name).colorizer.colorize_batch(inputs).ab
        assert ab is not None
        columns.append(lab_to_rgb8(torch.cat([lightness, ab], dim=1)))
    columns.append(rgb8)
    step = SIDE + GAP
    sheet = Image.new("RGB", (step * len(columns) - GAP, HEAD + step * len(rgb8) - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for x, (name, column) in enumerate(zip((*MODELS, "ground truth"), columns, strict=True)):
        pen.text((x * step + SIDE / 2, HEAD / 2), name, "#222", font, "mm")
        for y, image in enumerate(column):
            shown = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(shown, (x * step, HEAD + y * step))
    write_small(sheet, Path(__file__).with_name("zoo.webp"))


if __name__ == "__main__":
    main()
