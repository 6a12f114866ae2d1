"""A miniature VOC devkit, written from packaged images in the devkit's exact form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from protocols.transfer.voc import CLASSES

IMAGES = (("astronaut", "person"), ("chelsea", "cat"), ("coffee", "diningtable"))
OBJECTS = (
    (("person", False), ("tvmonitor", True)),
    (("cat", False), ("cat", True)),
    (("diningtable", False), ("bottle", True), ("person", False)),
)
"""Of the first images, then repeated: (class, difficult)."""


def write_devkit(folder: Path, *, count: int, year: str = "VOC2007", side: int = 48) -> Path:
    """``count`` images; even ones to train on, odd ones to test. Returns the year's folder."""
    import skimage.data

    root = folder / year
    for name in ("JPEGImages", "Annotations", "ImageSets/Main", "ImageSets/Segmentation", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        name, label = IMAGES[i % 3]
        original = Image.fromarray(getattr(skimage.data, name)())
        left, top = (41 * i) % (original.width - 140), (29 * i) % (original.height - 140)
        image = original.crop((left, top, left + 140, top + 120)).resize((side, side - 8))
        image.save(root / "JPEGImages" / f"{i:06d}.jpg", quality=95)
        (root / "Annotations" / f"{i:06d}.xml").write_text(annotation(i, year, OBJECTS[i % 3], side))
        labels = np.zeros((side - 8, side), dtype=np.uint8)
        labels[8:28, 10:34] = 255  # the border that the devkit draws around a thing
        labels[10:26, 12:32] = 1 + CLASSES.index(label)
        mask = Image.fromarray(labels, mode="P")
        mask.putpalette([value for index in range(256) for value in color(index)])
        mask.save(root / "SegmentationClass" / f"{i:06d}.png")
    for kind, parts in (("Main", ("trainval", "test")), ("Segmentation", ("train", "val"))):
        for start, part in enumerate(parts):
            ids = [f"{i:06d}" for i in range(start, count, 2)]
            (root / "ImageSets" / kind / f"{part}.txt").write_text("\n".join(ids) + "\n")
    return root


def annotation(i: int, year: str, objects: tuple[tuple[str, bool], ...], side: int) -> str:
    """An annotation as the devkit writes it."""
    things = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>{int(difficult)}</difficult>"
        "<bndbox><xmin>13</xmin><ymin>11</ymin><xmax>32</xmax><ymax>26</ymax></bndbox></object>\n"
        for name, difficult in objects
    )
    return (
        f"<annotation>\n<folder>{year}</folder>\n<filename>{i:06d}.jpg</filename>\n"
        f"<size><width>{side}</width><height>{side - 8}</height><depth>3</depth></size>\n"
        f"<segmented>1</segmented>\n{things}</annotation>\n"
    )


def color(index: int) -> tuple[int, ...]:
    """The devkit's palette: the bits of the index, spread over red, green and blue from the highest on."""
    rgb = [0, 0, 0]
    for position in range(8):
        for channel in range(3):
            rgb[channel] |= (index >> (3 * position + channel) & 1) << (7 - position)
    return tuple(rgb)
