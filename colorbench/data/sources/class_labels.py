"""Classes of samples: from their folders, from a table of labels, or from the texts of ``.cls`` files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from colorbench.data.dataset import Sample
from colorbench.data.folder_walk import check_name
from colorbench.data.name_matching import match_names, nearest_name
from colorbench.data.sample_columns import SampleColumns
from colorbench.data.sources.lists_and_labels import class_index, read_labels, short
from colorbench.data.sources.samples import FULL_PATHS
from colorbench.errors import UserError

Classes = tuple[str, ...] | None


def labeled_by_table(samples: Sequence[Sample], labels: Path) -> tuple[Sequence[Sample], Classes]:
    """Return samples with the classes of a table; names match by the rules of ``data.name_matching``.

    Raises:
        UserError: for images without a label, and ambiguous rows.
    """
    table, classes = read_labels(labels)
    found = match_names([sample.id for sample in samples], table, exact_wins=True)
    label = {id: table[name] for id, name in found.pairs.items()}
    for ids, names in found.doubtful:
        if len({table[name] for name in names}) > 1 or len(ids) > 1:
            meant = f"{' and '.join(map(short, ids[:2]))} may be meant by {' and '.join(map(short, names[:2]))}"
            raise UserError(f"some labels are ambiguous: {meant}", where=str(labels), hint=FULL_PATHS)
        label[ids[0]] = table[names[0]]
    if found.missing:
        first = found.missing[0]
        nearest = short(nearest_name(first, found.unused or table) or "")
        raise UserError(
            f"{len(found.missing)} of {len(samples)} images have no label, first {short(first)}; "
            f"the table has {nearest}",
            where=str(labels),
            hint=f"add their rows, or {FULL_PATHS}",
        )
    return _with_labels(samples, (label[sample.id] for sample in samples)), classes


def labeled_by_folder(
    samples: Sequence[Sample], names: Callable[[], Iterable[str]] | None = None
) -> tuple[Sequence[Sample], Classes, str | None]:
    """Return samples with their folders as classes.

    Every image must be in a direct subfolder, and there must be at least two subfolders. If only some images are, no
    classes are used, and the third value is the reason.

    Args:
        samples: the images.
        names: function that returns their paths, if these are not their ids.
    """
    paths = names or (lambda: ids_of(samples))
    classes = sorted({path.partition("/")[0] for path in paths() if path.count("/") == 1})
    if len(classes) < 2:
        return samples, None, None
    if others := [path for path in paths() if path.count("/") != 1]:
        more, verb = (f" and {len(others) - 1} more", "are") if len(others) > 1 else ("", "is")
        where = "deeper than" if "/" in others[0] else "above"
        why = f"the {len(classes)} folders are not used as classes: {others[0]}{more} {verb} {where} the class folders"
        return samples, None, why
    number = {name: index for index, name in enumerate(classes)}
    return _with_labels(samples, (number[path.partition("/")[0]] for path in paths())), tuple(classes), None


def labeled_by_text(
    samples: SampleColumns, texts: Sequence[str | None], where: str
) -> tuple[SampleColumns, Classes, str | None]:
    """Return samples with the classes that a text states for each: an index if all are numbers, or a name.

    Args:
        samples: the images.
        texts: one for each; None for an image without a class.
        where: file or folder for messages.

    Returns:
        Samples, class names, and the reason if no classes are used because only some images have one.
    """
    if None in texts or not texts:
        lacking = sum(text is None for text in texts)
        if lacking == len(texts):
            return samples, None, None
        first = samples[texts.index(None)].id
        return samples, None, f"classes are not used: {lacking} of {len(texts)} images have none, first {first}"
    stated = [text for text in texts if text is not None]
    if all(text.isascii() and text.isdigit() for text in set(stated)):
        index = {text: class_index(text, where) for text in set(stated)}
        used = set(index.values())
        names = tuple(str(number) if number in used else "" for number in range(max(used) + 1))
        return samples.labeled(index[text] for text in stated), names, None
    classes = sorted({check_name(text, "a class") for text in set(stated)})
    index = {name: number for number, name in enumerate(classes)}
    return samples.labeled(index[text] for text in stated), tuple(classes), None


def ids_of(samples: Sequence[Sample]) -> Iterator[str]:
    """Return the ids of samples, without making the samples if possible."""
    return samples.names() if isinstance(samples, SampleColumns) else (sample.id for sample in samples)


def _with_labels(samples: Sequence[Sample], labels: Iterable[int]) -> Sequence[Sample]:
    if isinstance(samples, SampleColumns):
        return samples.labeled(labels)
    return [replace(sample, label=label) for sample, label in zip(samples, labels, strict=True)]
