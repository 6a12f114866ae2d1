"""Leave out who made the records and where: for boards under double-blind review.

Paths are cut to their last part, in every text of every record. Names of users are read from these paths and from this
machine, and replaced wherever they occur. Commands, commits and platforms are dropped.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any, TypeVar
from urllib.parse import unquote

from colorbench.results import Record
from leaderboards.collected_records import Collection, Entry, Excluded, Unfinished
from leaderboards.gallery import Gallery

Run = TypeVar("Run", Excluded, Unfinished)
HIDDEN = "anonymous"
SHORTEST = 3
"""Shorter names of users and hosts would occur in other words."""
COMMON = frozenset(
    [
        "root",
        "user",
        "users",
        "home",
        "runner",
        "ubuntu",
        "admin",
        "localhost",
        "shared",
        "public",
        "data",
        "main",
        "zoo",
        "colorbench",
        "models",
        "images",
    ]
)
"""Names that tell nothing about a person, or that names of models and datasets need."""
_PART = r"[^\s/\\:;,'\"<>|()\[\]]+"
_HOMES = r"(?:/home|/Users|/users|[A-Za-z]:[/\\]+Users)[/\\]+"
_SPACED = r"\w[\w.'-]*(?: \w[\w.'-]*){1,2}"
"""The folder of somebody whose name has spaces."""
_START = r"(?:~|\.\.?|[A-Za-z]:|\$\w+|\$\{\w+\}|%\w+%)?"
_PATH = re.compile(
    rf"(?:file://)?{_HOMES}{_SPACED}[/\\]+(?:{_PART}[/\\]+)*(?:{_PART}[/\\]*)?"
    rf"|(?<![\w.~/\\$%-])(?:file://)?{_START}[/\\]+(?:{_PART}[/\\]+)*{_PART}[/\\]*"
    rf"|(?<![\w.~/\\-])~{_PART}(?:[/\\]+{_PART})*"
)
_REMOTE = re.compile(r"(?<![\w.@-])(?!(?:images|onnx|file|https?):)[\w-]*[\d.-][\w.-]*:(?=/[^/])")
"""A host before a path, as ``scp`` takes it."""
_HOST = re.compile(
    r"(?<![\w@./-])(?:[\w-]+\.)+(?:[\w-]+\.)(?:edu|com|net|org|gov|local|lan|internal|intra|cluster|hpc)(?![\w-])"
    r"|(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])"
)
"""The full name of a machine, or its address."""
_ENCODED = re.compile(r"%(?:2f|5c)", re.IGNORECASE)
_WEB = re.compile(r"https?://[^\s\"'<>]+")
_HOME = re.compile(rf"{_HOMES}({_SPACED}(?=[/\\])|{_PART})|~({_PART})")
_AT = re.compile(r"(?<![\w.@/])[\w.+-]+@[\w-]+(?:\.[\w-]+)*(?![\w@])")


class Anonymizer:
    """Replaces what names a person or a machine in text."""

    def __init__(self, texts: Iterable[str], protocols: Iterable[str] = ()) -> None:
        self._protocols = frozenset(protocols)
        names = {_user(), *socket.gethostname().split(".")[:1]}
        for text in texts:
            # Without web addresses, whose parts are no folders of anybody.
            for found in _HOME.finditer(_WEB.sub(" ", _decoded(text))):
                name = found[1] or found[2]
                names |= {name, *(word for word in name.split() if word[:1].isupper())}
            for user, _, host in (found[0].partition("@") for found in _AT.finditer(text)):
                names |= set() if user in self._protocols else {host.partition(".")[0]}
        known = sorted(
            (n for n in names if len(n) >= SHORTEST and n.lower() not in COMMON | self._protocols),
            key=lambda n: (-len(n), n),
        )
        words = "|".join(map(re.escape, known))
        self._names = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])(?:\.[\w-]+)*", re.IGNORECASE) if known else None

    def text(self, text: str) -> str:
        """Return the text without paths, names of users, hosts and addresses of mail."""
        # Web addresses are no paths: they are put back afterwards.
        text = _decoded(text)
        kept = _WEB.findall(text)
        shown = _WEB.sub("\0", text.replace("\0", " "))
        shown = _HOST.sub(HIDDEN, _REMOTE.sub(f"{HIDDEN}:", shown))
        shown = _PATH.sub(lambda found: _last(found[0]), shown)
        shown = _AT.sub(self._at, shown)
        shown = "".join(part for pair in zip_longest(shown.split("\0"), kept, fillvalue="") for part in pair)
        return self._names.sub(HIDDEN, shown) if self._names else shown

    def _at(self, found: re.Match[str]) -> str:
        """Return ``auc@cic2016``, a preset, as it is, and nothing of a user at a host."""
        return found[0] if found[0].partition("@")[0] in self._protocols else HIDDEN

    def value(self, value: Any) -> Any:
        """Return nested data with every text replaced, names of fields that are free text included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(item) for name, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list | tuple) else value

    def record(self, record: Record) -> Record:
        """Return a record without command, commit and platform, and with every text replaced."""
        plain = self.value(record.model_dump(mode="json"))
        plain["provenance"] |= {"command": [], "git_commit": None, "git_dirty": None, "platform": ""}
        return Record.model_validate(plain)

    def entry(self, entry: Entry) -> Entry:
        """Return an entry whose record, ids of images and verification name nobody."""
        record, check = self.record(entry.record), entry.verification
        if check is not None:
            checks = [one.model_copy(update={"detail": self.text(one.detail)}) for one in check.checks]
            check = check.model_copy(update={"checks": checks})
        differences = tuple(one.model_copy(update={"minus": self.text(one.minus)}) for one in entry.differences)
        run = replace(entry.run, record=record)
        return replace(entry, record=record, run=run, verification=check, differences=differences)

    def gallery(self, gallery: Gallery) -> Gallery:
        """Return a gallery whose ids and credits name nobody."""
        images = tuple(replace(image, id=self.text(image.id)) for image in gallery.images)
        return replace(
            gallery,
            images=images,
            note=None if gallery.note is None else self.text(gallery.note),
            extent=self.text(gallery.extent),
            credit=self.text(gallery.credit),
        )


def anonymous(collection: Collection) -> tuple[Collection, Anonymizer]:
    """Return an anonymous collection that names nobody, and what replaces further texts in the same way."""
    texts = [text for entry in collection.entries for text in _texts(entry.record.model_dump(mode="json"))]
    texts += [text for entry in collection.entries for text in entry.run.rows["id"]]
    for one in (*collection.excluded, *collection.unfinished):
        texts += [value for value in vars(one).values() if isinstance(value, str)]
    names = Anonymizer(texts, {entry.record.protocol.name for entry in collection.entries})
    unfinished = [_renamed(one, names) for one in collection.unfinished]
    excluded = [_renamed(one, names) for one in collection.excluded]
    entries = tuple(map(names.entry, collection.entries))
    return Collection(entries, tuple(unfinished), tuple(excluded)), names


def _renamed(one: Run, names: Anonymizer) -> Run:
    """Return an excluded record or unfinished run with every text replaced."""
    texts: dict[str, Any] = {key: names.text(value) for key, value in vars(one).items() if isinstance(value, str)}
    return replace(one, **texts)


def _decoded(text: str) -> str:
    """Return a text in which encoded paths (``%2Fhome%2Fann``) are paths."""
    return unquote(text) if _ENCODED.search(text) else text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _last(path: str) -> str:
    """Return the last part of a path; nothing of a home itself, whose last part is a name."""
    parts = [part for part in re.split(r"[/\\]+", path.removeprefix("file:")) if part not in ("", ".", "..", "~")]
    return parts[-1] if parts and not re.fullmatch(r"~.*|[A-Za-z]:", parts[-1]) else "…"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a machine without an entry for this user
        return ""
