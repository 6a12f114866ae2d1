"""Two sets of images with one numbering of their classes: what probes and transfer begin with."""

from __future__ import annotations

from dataclasses import replace

from colorbench.data import Dataset
from colorbench.errors import UserError


def aligned(train: Dataset, test: Dataset, *, minimum: int = 2) -> tuple[Dataset, Dataset]:
    """Return both datasets with one numbering of the classes, in the order of their names.

    Args:
        train: training images with classes.
        test: test images with classes.
        minimum: training images that each class needs.

    Raises:
        UserError: for sets without classes, fewer than two, or classes of the test set that training never shows.
    """
    for role, one in (("train", train), ("test", test)):
        if one.class_names is None or any(sample.label is None for sample in one.samples):
            hint = "give a folder a class, or a labels.csv beside the images"
            raise UserError(f"the images in the role {role!r} have no classes", where=one.source, hint=hint)
    shown, asked = occurring(train), occurring(test)
    names = sorted(shown)
    if len(names) < 2:
        what = f"the training images show {len(names)} class: there is nothing to tell apart"
        raise UserError(what, where=train.source, hint="give at least two classes")
    if not shown & asked:
        what = f"no class is in both sets: train has {names[0]!r} ..., test has {min(asked, default='none')!r} ..."
        raise UserError(what, where=test.source, hint="folders or synsets must have the same names in both")
    if unknown := sorted(asked - shown):
        what = f"{len(unknown)} classes of the test images are absent from training, first {unknown[0]!r}"
        raise UserError(what, where=train.source, hint="add images of them to --data train=DIR")
    both = renumbered(train, names), renumbered(test, names)
    counts = [sum(sample.label == index for sample in both[0].samples) for index in range(len(names))]
    if min(counts) < minimum:
        what = f"class {names[counts.index(min(counts))]!r} has {min(counts)} training image, and {minimum} are needed"
        raise UserError(what, where=train.source, hint="add images of it to --data train=DIR")
    return both


def occurring(dataset: Dataset) -> set[str]:
    """Return the names of the classes that have an image."""
    assert dataset.class_names is not None
    return {dataset.class_names[sample.label] for sample in dataset.samples if sample.label is not None}


def renumbered(dataset: Dataset, names: list[str]) -> Dataset:
    """Return the same images with the numbers that ``names`` gives the classes."""
    assert dataset.class_names is not None
    number = {name: index for index, name in enumerate(names)}
    samples = tuple(
        replace(sample, label=None if sample.label is None else number[dataset.class_names[sample.label]])
        for sample in dataset.samples
    )
    return replace(dataset, samples=samples, class_names=tuple(names))
