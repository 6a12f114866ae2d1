"""Matching of file names by other programs (stored predictions, tables of labels) with the ids of a dataset.

A name matches the image with the same path, with any image suffix (``a/b.JPEG`` and ``a/b.png``, or ``a/b.JPEG.png``),
or with a path that starts in another folder (``images/a/b.png``, ``C:/data/a/b.png``, ``b.png``) if that is
unambiguous. Ambiguous names have no match.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath

from colorbench.data.image_formats import without_suffix

Parts = tuple[str, ...]
COMPARED = 5_000
"""Names among which the most similar one is looked for."""


@dataclass
class Matches:
    """Result of matching: the name of each id, and names and ids without a match."""

    pairs: dict[str, str] = field(default_factory=dict)
    """Id -> name."""
    missing: list[str] = field(default_factory=list)
    """Ids that no name fits."""
    doubtful: list[tuple[Sequence[str], Sequence[str]]] = field(default_factory=list)
    """Ambiguous matches: (ids, names) with several entries on one side."""
    by_file_name: int = 0
    """Number of pairs that agree only in the file name."""
    unused: list[str] = field(default_factory=list)
    """Names that fit no id."""


def match_names(ids: Sequence[str], names: Iterable[str], *, exact_wins: bool) -> Matches:
    """Match ids to names: find the name of every id.

    Args:
        ids: ids of a dataset, all different.
        names: names to match, all different.
        exact_wins: whether a name that equals the id wins over others that match as well. Of two files (``a.jpg``,
            ``a.png``) one may be a copy of the input; of two rows of a table, the other belongs to another image.
    """
    names = list(names)
    wanted = [_Name.of(id) for id in ids]
    given = _Index(_Name.of(name) for name in names)
    asked = _Index(wanted)
    found = Matches()
    owners: dict[str, list[str]] = defaultdict(list)
    used: set[str] = set()
    for one in wanted:
        candidates = _candidates(one, given, asked, exact_wins)
        used.update(name.text for name in candidates)
        if not candidates:
            found.missing.append(one.text)
        elif len(candidates) > 1:
            found.doubtful.append(((one.text,), [name.text for name in candidates]))
        else:
            owners[candidates[0].text].append(one.text)
            found.by_file_name += (
                min(len(candidates[0].key), len(one.key)) == 1 < max(len(candidates[0].key), len(one.key))
            )
    for name, several in owners.items():
        if len(several) > 1:
            found.doubtful.append((several, (name,)))
        else:
            found.pairs[several[0]] = name
    found.unused = [name for name in names if name not in used]
    return found


def parts_of(name: str) -> Parts:
    """Split a path into parts for matching: composed accents, one kind of slash, without drive, root and "."."""
    plain = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    plain = re.sub("^[A-Za-z]:/", "", plain)
    return tuple(part for part in plain.split("/") if part not in ("", "."))


def nearest_name(id: str, names: Iterable[str]) -> str | None:
    """Return the name that is most similar to an id without a match, for an error message.

    Args:
        id: of the dataset.
        names: names without a match; the first ``COMPARED`` are compared by their last part, without case.

    Returns:
        The most similar name, or the first if none is similar, as an example; None for no names.
    """
    by_last_part = {"/".join(_Name.of(name).key[-1:]).casefold(): name for name in islice(names, COMPARED)}
    wanted = "/".join(_Name.of(id).key[-1:]).casefold()
    for part, name in by_last_part.items():  # a prefix or suffix was added or left out
        if wanted and (wanted in part or (part and part in wanted)):
            return name
    similar = difflib.get_close_matches(wanted, by_last_part, n=1)
    return by_last_part[similar[0]] if similar else next(iter(by_last_part.values()), None)


@dataclass(frozen=True)
class _Name:
    text: str
    """The name as given."""
    path: Parts
    """Parts of the path, normalized across operating systems."""
    key: Parts
    """The path without an image suffix."""

    @classmethod
    def of(cls, text: str) -> _Name:
        path = parts_of(text)
        return cls(text, path, (*path[:-1], without_suffix(path[-1])) if path else path)


class _Index:
    """Index of names by their path and by its last part, both without suffix."""

    def __init__(self, names: Iterable[_Name]) -> None:
        self.by_key: dict[Parts, list[_Name]] = defaultdict(list)
        self.by_last: dict[str, list[_Name]] = defaultdict(list)
        for name in names:
            self.by_key[name.key].append(name)
            if name.key:
                self.by_last[name.key[-1]].append(name)


def _candidates(one: _Name, given: _Index, asked: _Index, exact_wins: bool) -> list[_Name]:
    """List the names that could match an id."""
    # a.jpg.png belongs to a.jpg.
    same_path = [*given.by_key.get(one.key, []), *(given.by_key.get(one.path, []) if one.path != one.key else [])]
    if same_path:
        exact = [name for name in same_path if name.text == one.text]
        if exact_wins and exact:
            return exact
        if len(same_path) > 1 and len(asked.by_key[one.key]) > 1:
            # Images that differ only in their suffix: a.bmp and a.png, or a.bmp.png and a.png.png.
            return [name for name in same_path if one.path in (name.path, name.key)] or same_path
        return same_path
    same_file = [*given.by_last.get(one.key[-1], []), *given.by_last.get(one.path[-1], [])]
    same_file = list({name.text: name for name in same_file}.values())
    tails = [name for name in same_file if _is_tail(name.key, one)]
    if not any(len(name.key) > 1 and len(one.key) > 1 for name in tails):
        return same_file if tails else []  # matched by file name only: it must be unique
    return tails


def _is_tail(key: Parts, one: _Name) -> bool:
    """Return whether one path ends with the other."""
    return any(
        longer[len(longer) - len(shorter) :] == shorter
        for wanted in (one.key, one.path)
        for shorter, longer in (sorted((key, wanted), key=len),)
    )


def prediction_names(ids: Iterable[str]) -> dict[str, str]:
    """Return the path of each id below ``predictions/``: the id with the suffix .png, as ``images:DIR`` expects it.

    Images whose ids differ only in the suffix keep it.
    """
    known = list(ids)
    replaced = {id: str(PurePosixPath(id).with_suffix(".png")) for id in known}
    often = Counter(replaced.values())
    return {id: name if often[name] == 1 else f"{id}.png" for id, name in replaced.items()}
