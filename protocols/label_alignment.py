"""A common class numbering for a training and a test dataset, for probes and transfer."""

from __future__ import annotations

from dataclasses import replace

from colorbench.data import Dataset
from colorbench.errors import UserError


def aligned(train: Dataset, test: Dataset, *, minimum: int = 2) -> tuple[Dataset, Dataset]:
    """Align the labels of two datasets: return both with one numbering of the classes, in the order of their names.

    Args:
        train: training images with classes.
        test: test images with classes.
        minimum: training images that each class needs.

    Raises:
        UserError: for datasets without classes, with fewer than two, or for test classes without training images.
    """
    for role, one in (("train", train), ("test", test)):
        if one.class_names is None or any(sample.label is None for sample in one.samples):
            hint = "use one folder per class, or a labels.csv beside the images"
            raise UserError(f"the {role} images have no classes", where=one.source, hint=hint)
    known, tested = _occurring(train), _occurring(test)
    names = sorted(known)
    if len(names) < 2:
        what = f"the training images have {len(names)} class; at least two are needed"
        raise UserError(what, where=train.source, hint="add images of another class")
    if not known & tested:
        what = f"train and test have no class in common: {names[0]!r} ... and {min(tested, default='none')!r} ..."
        raise UserError(what, where=test.source, hint="use the same folder names or synsets in both")
    if unknown := sorted(tested - known):
        what = f"{len(unknown)} test classes have no training images, first {unknown[0]!r}"
        raise UserError(what, where=train.source, hint="add images of them to --data train=DIR")
    both = _renumbered(train, names), _renumbered(test, names)
    counts = [sum(sample.label == index for sample in both[0].samples) for index in range(len(names))]
    if min(counts) < minimum:
        what = f"class {names[counts.index(min(counts))]!r} has {min(counts)} training image, and {minimum} are needed"
        raise UserError(what, where=train.source, hint="add images of it to --data train=DIR")
    return both


def _occurring(dataset: Dataset) -> set[str]:
    """Return the names of the classes that have an image."""
    assert dataset.class_names is not None
    return {dataset.class_names[sample.label] for sample in dataset.samples if sample.label is not None}


def _renumbered(dataset: Dataset, names: list[str]) -> Dataset:
    """Return the same images with the class numbers of ``names``."""
    assert dataset.class_names is not None
    number = {name: index for index, name in enumerate(names)}
    samples = tuple(
        replace(sample, label=None if sample.label is None else number[dataset.class_names[sample.label]])
        for sample in dataset.samples
    )
    return replace(dataset, samples=samples, class_names=tuple(names))
