"""Reading of list files (paths of images) and of ``labels.csv`` (their classes)."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from colorbench.data.name_matching import Parts, parts_of
from colorbench.errors import UserError, path_hint

LARGEST_INDEX = 999_999
"""Largest class index. Names are stored for every index up to the largest, so that it bounds the memory."""
LONGEST_LINE = 1 << 16
_SHOWN = 60
_INDEX = re.compile(r"([0-9]+)(?:\.0*)?")
_LINE = re.compile(r"(.*?\S)(?:\s+([0-9]+))?")


class ListedImage(NamedTuple):
    """A line of a list file: an image and its class."""

    name: str
    """POSIX path, without a leading slash."""
    label: int | None


def read_list(path: Path) -> list[ListedImage]:
    """Read a list of images, one per line: a path, optionally followed by a space and a class index.

    Names may contain spaces. The format is that of the paper's lists (``/n01440764/ILSVRC2012_val_00000293.JPEG 0``).

    Raises:
        UserError: for an unreadable or empty list, a name that occurs twice or leads out of the folder, or classes on
            some lines only.
    """
    listed: dict[str, ListedImage] = {}
    for number, line in enumerate(_lines(path), 1):
        if (match := _LINE.fullmatch(line.strip())) is None:
            continue  # an empty line
        parts = [part for part in match[1].split("/") if part not in ("", ".")]
        name = "/".join(parts)
        where = f"{path}, line {number}"
        if ".." in parts:
            raise UserError(f"{short(name)} is outside the folder", where=where, hint="list only paths below it")
        if name in listed:
            raise UserError(f"{short(name)} is listed twice", where=where, hint="remove one")
        listed[name] = ListedImage(name, None if match[2] is None else class_index(match[2], where))
        if (match[2] is None) != (next(iter(listed.values())).label is None):
            raise UserError("some lines have a class index and some have none", where=where, hint="give all or none")
    if not listed:
        raise UserError("the list is empty", where=str(path), hint="write one path per line")
    return list(listed.values())


def class_folders(listed: Sequence[ListedImage]) -> tuple[str, ...] | None:
    """Return the names of the classes if classes and folders (synsets) of the list correspond one to one.

    Classes without an image in the list have an empty name.
    """
    pairs = {(one.label, one.name.rpartition("/")[0]) for one in listed}
    folder_of = {label: folder for label, folder in pairs if label is not None and folder}
    if not len(pairs) == len(folder_of) == len(set(folder_of.values())):
        return None
    return tuple(folder_of.get(index, "") for index in range(max(folder_of) + 1))


def read_labels(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Read a ``labels.csv`` with the columns ``file``, ``class_index`` and optionally ``synset``.

    Separators are commas, semicolons or tabs. Indices may be written as 3.0, as spreadsheets do; spaces around a value
    are ignored. Rows of files that are not in the dataset are allowed.

    Returns:
        File, as written -> class index; and the name of every class up to the largest index: its synset, its index
        without such a column, or empty if no file has that class.

    Raises:
        UserError: for an unreadable table, missing columns, an index that is not a number or too large, and
            contradictory rows.
    """
    table: dict[str, int] = {}
    names: dict[int, str] = {}
    written: dict[Parts, str] = {}  # path -> name as first written
    for where, file, number, synset in _rows(path):
        index = class_index(number, where)
        name = synset or str(index)
        table.setdefault(file, index)
        # 00.png and ./00.png are one file.
        if (first := table[written.setdefault(parts_of(file), file)]) != index:
            raise UserError(f"{short(file)} has two classes, {first} and {index}", where=where, hint="remove one")
        if names.setdefault(index, name) != name:
            raise UserError(f"class {index} has two names, {short(names[index])} and {short(name)}", where=where)
    if not table:
        raise UserError("the label table is empty", where=str(path), hint="write one row per image")
    return table, tuple(names.get(index, "") for index in range(max(names) + 1))


def _rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield (position for messages, file, class index, synset) of every row that is not empty, as text."""
    lines = _lines(path)
    head = next(lines, "")
    for delimiter in ",;\t":
        columns = [cell.strip().lower() for cell in next(csv.reader([head], delimiter=delimiter), [])]
        if {"file", "class_index"} <= set(columns):
            break
    else:
        raise UserError(
            "the label table needs a header with file,class_index", where=str(path), hint="e.g. file,class_index,synset"
        )
    if len(set(columns)) < len(columns):
        raise UserError("the label table has two columns with the same name", where=str(path), hint="rename one")
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        for row in rows:
            cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
            if any(cells.values()):
                where = f"{path}, line {rows.line_num + 1}"
                yield where, cells.get("file", ""), cells.get("class_index", ""), cells.get("synset", "")
    except csv.Error as error:
        hint = "a quotation mark may be unclosed"
        raise UserError(f"not a table: {error}", where=f"{path}, line {rows.line_num + 1}", hint=hint) from error


def class_index(text: str, where: str) -> int:
    """Return the class index that a text states; ``where`` is its place for messages.

    Raises:
        UserError: for other texts, and an index above ``LARGEST_INDEX``.
    """
    match = _INDEX.fullmatch(text)
    if match is None:
        raise UserError(f"{short(text)} is not a class index", where=where, hint="use an integer of at least 0")
    digits = match[1].lstrip("0") or "0"
    # The length is checked first: numbers with thousands of digits are not converted.
    if len(digits) > len(str(LARGEST_INDEX)) or int(digits) > LARGEST_INDEX:
        hint = f"number the classes from 0; the largest index is {LARGEST_INDEX}"
        raise UserError(f"class index {short(text)} is too large", where=where, hint=hint)
    return int(digits)


def short(text: str) -> str:
    """Format a value from a list or label file for a message: quoted, at most one line."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file in UTF-8, or UTF-16 with a byte order mark, without line ends."""
    try:
        with path.open("rb") as begin:
            utf16 = begin.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with path.open(encoding="utf-16" if utf16 else "utf-8-sig") as file:
            for number in itertools.count(1):
                line = file.readline(LONGEST_LINE + 1)
                if not line:
                    return
                where = f"{path}, line {number}"
                if "\0" in line:
                    raise UserError("not a text file: it contains NUL bytes", where=where, hint="save it as UTF-8")
                if len(line) > LONGEST_LINE:
                    raise UserError(
                        f"this line has more than {LONGEST_LINE} characters", where=where, hint="shorten it"
                    )
                yield line.rstrip("\r\n")
    except UnicodeError as error:
        raise UserError("not a text file in UTF-8", where=str(path), hint="save it as UTF-8") from error
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(path), hint=path_hint(path)) from error
    except OSError as error:
        raise UserError(f"cannot read this file: {error.strerror}", where=str(path), hint="give a text file") from error
