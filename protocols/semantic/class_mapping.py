"""Mapping from the classes of a dataset to those of a classifier."""

from __future__ import annotations

import re
from collections.abc import Mapping

from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.models import Classifier

SYNSET = re.compile("n[0-9]{8}")


def has_labels(dataset: Dataset) -> bool:
    """Return whether any image has a class to map."""
    return any(sample.label is not None for sample in dataset.samples)


def classes_for(dataset: Dataset, classifier: Classifier) -> Mapping[int, int]:
    """Return the class of the classifier for each class of the dataset.

    A class that is named by its WordNet synset (a folder ``n01440764``, the column ``synset``) is looked up by it, and
    its number in the dataset is ignored. A class without a name, or named by its number, has that number.

    Raises:
        UserError: naming a class that the classifier does not know.
    """
    names = dataset.class_names or ()
    used = sorted({sample.label for sample in dataset.samples if sample.label is not None})
    return {label: _class(label, names[label] if label < len(names) else "", classifier) for label in used}


def _class(label: int, name: str, classifier: Classifier) -> int:
    base = name.rpartition("/")[2]  # of a list, the folder that holds the class: train/n01440764
    hint = "name classes by their ImageNet synset, or ignore labels with --param semantic.labels=ignore"
    if not base or base == str(label):
        if label >= classifier.n_classes:
            what = f"class {label} is not one of the {classifier.n_classes} of {classifier.name}"
            raise UserError(what, hint="number classes from 0 in the classifier's order, or name them by their synset")
        return label
    if not SYNSET.fullmatch(base):
        raise UserError(f"class {base!r} is not an ImageNet synset (such as n01440764)", hint=hint)
    if classifier.synsets is None:
        what = f"the {classifier.n_classes} classes of {classifier.name} are not those of a known ImageNet"
        raise UserError(f"{what}: class {base!r} cannot be looked up", hint=hint)
    if base not in classifier.synsets:
        raise UserError(f"class {base!r} is not one of the {classifier.n_classes} of {classifier.name}", hint=hint)
    return classifier.synsets[base]
