"""Reading of PASCAL VOC devkits: lists of images, annotations of objects, and segmentation masks.

VOC2007/JPEGImages/000005.jpg VOC2007/Annotations/000005.xml objects with name and <difficult>
VOC2007/ImageSets/Main/trainval.txt ids, one per line VOC2007/ImageSets/Segmentation/val.txt
VOC2007/SegmentationClass/000032.png palette indices: 0 background, 1..20, 255 void
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import ProtocolContext

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""In the devkit's order: class i of the masks is CLASSES[i - 1]."""
SEGMENTED = 1 + len(CLASSES)
"""Classes of the masks: the background and the 20 classes."""
VOID = 255
"""Label of pixels that are not counted."""
IMAGES = "JPEGImages"
ABSENT, PRESENT, DIFFICULT = 0, 1, -1
"""Whether a class is on an image: DIFFICULT is neither present nor absent, the devkit's label 0."""


def devkit_root(dataset: Dataset) -> Path | None:
    """Return the folder of the VOC year (``VOC2007``) from which a dataset was read; None for other datasets.

    Raises:
        UserError: for a folder with several years.
    """
    roots = {sample.path.parent.parent for sample in dataset.samples if sample.path.parent.name == IMAGES}
    roots = {root for root in roots if (root / "ImageSets").is_dir()}
    if len(roots) > 1:
        years = ", ".join(sorted(root.name for root in roots))
        raise UserError(f"this folder holds several years: {years}", where=dataset.source, hint="give one of them")
    return next(iter(roots), None)


def image_set(dataset: Dataset, root: Path, kind: str, name: str) -> Dataset:
    """Return the images of one list of the VOC devkit, without classes, under ids such as ``000005``.

    Args:
        dataset: the year's folder as it was opened.
        root: that folder.
        kind: ``Main`` or ``Segmentation``.
        name: ``train``, ``val``, ``trainval`` or ``test``.

    Raises:
        UserError: for a list that is missing or empty, or missing images.
    """
    path = root / "ImageSets" / kind / f"{name}.txt"
    try:
        ids = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        there = ", ".join(sorted(one.stem for one in path.parent.glob("*.txt") if "_" not in one.stem)) or "none"
        raise UserError(f"there is no list {name!r}", where=str(path), hint=f"there are: {there}") from error
    samples = {sample.path.stem: sample for sample in dataset.samples if sample.path.parent == root / IMAGES}
    if missing := [id for id in ids if id not in samples]:
        what = f"{len(missing)} of {len(ids)} listed images do not exist, the first: {missing[0]}.jpg"
        raise UserError(what, where=str(root / IMAGES), hint="unpack the whole devkit")
    if not ids:
        raise UserError("the list is empty", where=str(path), hint="unpack the whole devkit")
    chosen = tuple(replace(samples[id], id=id, label=None) for id in sorted(set(ids)))
    return Dataset(f"{root.resolve().name}-{name}", chosen, CLASSES, source=f"{kind}/{name} of {root.resolve().name}")


def presence(root: Path, ids: Iterable[str]) -> np.ndarray:
    """Read which VOC classes are on each image: (n, 20) int8 of PRESENT, ABSENT and DIFFICULT.

    A class with only difficult objects on an image is neither present nor absent.

    Raises:
        UserError: for an annotation that is missing or damaged, or a class that VOC does not have.
    """
    return np.stack([_presence(root / "Annotations" / f"{id}.xml") for id in ids])


def _presence(path: Path) -> np.ndarray:
    found = np.full(len(CLASSES), ABSENT, dtype=np.int8)
    try:
        tree = ElementTree.parse(path).getroot()
    except OSError as error:
        raise UserError(f"an annotation is missing: {error.strerror}", where=str(path), hint="unpack it") from error
    except ElementTree.ParseError as error:
        raise UserError(f"an annotation is damaged: {error}", where=str(path), hint="unpack it again") from error
    for thing in tree.iter("object"):
        name = (thing.findtext("name") or "").strip()
        if name not in CLASSES:
            raise UserError(f"VOC has no class {name!r}", where=str(path), hint="check the annotation")
        difficult = (thing.findtext("difficult") or "0").strip() == "1"
        position = CLASSES.index(name)
        if not difficult:
            found[position] = PRESENT
        elif found[position] == ABSENT:
            found[position] = DIFFICULT
    return found


def mask(root: Path, id: str) -> np.ndarray:
    """Read the VOC class of every pixel, (H, W) uint8: 0 background, 1..20, 255 void.

    Raises:
        UserError: for a mask that is missing, damaged, in colors instead of indices, or with other classes.
    """
    path = root / "SegmentationClass" / f"{id}.png"
    try:
        with Image.open(path) as image:
            # The palette is only for display; after conversion to RGB, the classes would be lost.
            mode, labels = image.mode, np.asarray(image)
    except OSError as error:
        raise UserError("a mask is missing or damaged", where=str(path), hint="unpack it again") from error
    if mode not in ("P", "L"):
        what = f"a mask must hold palette indices, this one is {mode}"
        raise UserError(what, where=str(path), hint="take the files of the devkit as they are")
    labels = labels.astype(np.uint8)
    if ((labels >= SEGMENTED) & (labels != VOID)).any():
        raise UserError("a mask holds classes beyond 20", where=str(path), hint="take the files of the devkit")
    return labels


def voc_sets(
    context: ProtocolContext, kind: str, parameters: dict[str, str], defaults: tuple[str, str]
) -> tuple[Dataset, Dataset] | None:
    """Return both VOC datasets if both roles are folders of a devkit, else None.

    Write the names of the lists to the parameters.
    """
    roots = {role: devkit_root(context.request.roles.get(role, context.request.data)) for role in ("train", "test")}
    if None in roots.values():
        return None
    found = []
    for role, default in zip(("train", "test"), defaults, strict=True):
        key = f"{role}_set"
        if parameters[key] == "auto":
            parameters[key] = default
        given = context.request.roles.get(role, context.request.data)
        root = roots[role]
        assert root is not None
        chosen = image_set(given, root, kind, parameters[key])
        limit = context.request.limit
        found.append(chosen if limit is None else chosen.limit(limit))
    return found[0], found[1]
