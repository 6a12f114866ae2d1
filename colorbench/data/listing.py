"""Text files that choose photographs or name their classes: lists of paths, and ``labels.csv``."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from colorbench.errors import UserError

_LINE = re.compile(r"(.*?\S)(?:\s+([0-9]+))?")


class ListedPhotograph(NamedTuple):
    """A line of a list."""

    name: str
    """POSIX path, without a leading slash."""
    label: int | None


def read_list(path: Path) -> list[ListedPhotograph]:
    """A list of photographs, one a line: a path, and a class index after a space where there are classes.

    Names may have spaces. The form is that of the paper's lists (``/n01440764/ILSVRC2012_val_00000293.JPEG 0``).

    Raises:
        UserError: for an unreadable or empty list, a name twice or outside the folder, classes on some lines only.
    """
    listed: dict[str, ListedPhotograph] = {}
    for number, line in enumerate(_lines(path), 1):
        if (match := _LINE.fullmatch(line.strip())) is None:
            continue  # an empty line
        name = match[1].lstrip("/")
        where = f"{path}, line {number}"
        if ".." in PurePosixPath(name).parts:
            raise UserError(f"{name!r} lies outside the folder", where=where, mend="list paths below it")
        if name in listed:
            raise UserError(f"{name!r} is listed twice", where=where, mend="remove one")
        listed[name] = ListedPhotograph(name, None if match[2] is None else int(match[2]))
        if (match[2] is None) != (next(iter(listed.values())).label is None):
            raise UserError("some lines have a class index and some have none", where=where, mend="give all or none")
    if not listed:
        raise UserError("the list is empty", where=str(path), mend="write one path a line")
    return list(listed.values())


def class_folders(listed: Sequence[ListedPhotograph]) -> tuple[str, ...] | None:
    """Names of the classes, where each class is one folder (a synset) of the list's paths and each folder one class.

    Classes without a photograph in the list have an empty name.
    """
    pairs = {(one.label, one.name.rpartition("/")[0]) for one in listed}
    folder_of = {label: folder for label, folder in pairs if label is not None and folder}
    if not len(pairs) == len(folder_of) == len(set(folder_of.values())):
        return None
    return tuple(folder_of.get(index, "") for index in range(max(folder_of) + 1))


def read_labels(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """``labels.csv`` with the columns ``file``, ``class_index`` and, if wanted, ``synset``.

    Rows of files that are not in the set do no harm.

    Returns:
        File (its id in the set) -> class index; and the name of every class up to the largest index: its synset, its
        index where there is no such column, empty where no file has that class.

    Raises:
        UserError: for an unreadable table, missing columns, an index that is no number, and rows that contradict.
    """
    table: dict[str, int] = {}
    names: dict[int, str] = {}
    rows = csv.DictReader(_lines(path))
    if rows.fieldnames is None or not {"file", "class_index"} <= set(rows.fieldnames):
        raise UserError(
            "labels need a head with file,class_index", where=str(path), mend="e.g. file,class_index,synset"
        )
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        file, number = (row["file"] or "").strip(), (row["class_index"] or "").strip()
        if not re.fullmatch("[0-9]+", number):
            raise UserError(f"{number!r} is no class index", where=where, mend="give a number from 0")
        index, name = int(number), (row.get("synset") or number).strip()
        if table.setdefault(file, index) != index:
            raise UserError(f"{file!r} has two classes, {table[file]} and {index}", where=where, mend="remove one")
        if names.setdefault(index, name) != name:
            raise UserError(f"class {index} has two names, {names[index]!r} and {name!r}", where=where)
    if not table:
        raise UserError("the table of labels is empty", where=str(path), mend="write one row a photograph")
    return table, tuple(names.get(index, "") for index in range(max(names) + 1))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError("this is no text file in UTF-8", where=str(path)) from error
    except OSError as error:
        raise UserError(f"cannot read this file: {error.strerror}", where=str(path), mend="give a text file") from error
