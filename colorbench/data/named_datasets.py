"""Named datasets whose list of images is known; the user's own folder is checked against the list.

``ctest10k=/imagenet/val`` finds each image of the set below the folder, in class folders or flat. Only the list is
included, not the images.

    [project.entry-points."colorbench.datasets"]
    my-set = "my_package:MY_SET"      # a ListedSet; used as `my-package/my-set=DIR`
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from colorbench.data.dataset import Dataset, Sample
from colorbench.data.folder_walk import walk
from colorbench.data.name_matching import nearest_name
from colorbench.errors import PluginError, UnknownNameError, UserError
from colorbench.registry import find, registered

SHOWN = 3


def set_sha256(stems: Iterable[str]) -> str:
    """Return the hexadecimal sha256 of a named dataset's list: over the sorted stems, each followed by a newline."""
    return hashlib.sha256("".join(f"{stem}\n" for stem in sorted(stems)).encode()).hexdigest()


@dataclass(frozen=True)
class ListedSet:
    """A published set of images, defined by the names of its files."""

    title: str
    """Description in one line."""
    stems: Callable[[], Iterable[str]]
    """Function that returns the file names without suffix, from a rule or a list."""
    n: int
    """Number of its images."""
    sha256: str
    """``set_sha256`` of the stems."""
    license: str | None = None
    """License of the images."""
    where_to_get: str | None = None
    source: str | None = None
    """Origin of the list."""
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Known peculiarities: ``gray``, ``duplicate``, ``odd file`` -> stems."""

    def checked_stems(self, name: str) -> frozenset[str]:
        """Return the stems after checking their number and hash.

        Raises:
            PluginError: for a definition whose count or hash does not match its stems.
        """
        stems = list(self.stems())
        found = frozenset(stems)
        if len(stems) != self.n or len(found) != self.n:
            raise PluginError(f"dataset {name} has a list of {len(found)} names, not {self.n}")
        if (sha256 := set_sha256(found)) != self.sha256:
            raise PluginError(f"the names of dataset {name} have set sha256 {sha256[:16]}, not {self.sha256[:16]}")
        return found

    def open(self, name: str, root: Path) -> Dataset:
        """Find the images of the set below a folder, from names, sizes and times only.

        Ids are file names without folders, so that they do not depend on the layout. If all images are in class
        folders, these give the classes.

        Raises:
            UserError: naming images that are missing or exist twice.
        """
        wanted = self.checked_stems(name)
        contents = walk(root)
        by_stem: dict[str, list[Sample]] = defaultdict(list)
        for sample in contents.images:
            by_stem[PurePosixPath(sample.id).stem].append(sample)
        if missing := sorted(wanted - by_stem.keys()):
            raise self._missing(name, root, missing, sorted(by_stem.keys() - wanted))
        if twice := sorted(stem for stem in wanted if len(by_stem[stem]) > 1):
            files = " and ".join(sample.id for sample in by_stem[twice[0]][:2])
            what = f"{len(twice)} of the {self.n} images of {name} occur more than once, the first: {files}"
            raise UserError(what, where=str(root), hint="keep one file per image below the folder")
        found = [by_stem[stem][0] for stem in sorted(wanted)]
        samples, classes = _by_class_folder(found)
        others = sorted(by_stem.keys() - wanted)
        remarks = (
            [f"{len(others)} images of the folder do not belong to {name} and are ignored, the first: {others[0]}"]
            if others
            else []
        )
        remarks += [
            f"{len(stems)} of the images of {name} are known as {kind}, first {stems[0]}"
            for kind, stems in self.known.items()
            if stems
        ]
        ordered = tuple(sorted(samples, key=lambda sample: sample.id))
        return Dataset(name, ordered, classes, source=self.title, remarks=tuple(remarks))

    def _missing(self, name: str, root: Path, missing: list[str], others: list[str]) -> UserError:
        first = ", ".join(missing[:SHOWN]) + (" ..." if len(missing) > SHOWN else "")
        what = f"{len(missing)} of the {self.n} images of {name} are missing: {first}"
        if others:
            what += f"; the folder has {len(others)} images of other names, such as {nearest_name(missing[0], others)}"
        hint = "give the folder that contains all of them, directly or in class folders"
        return UserError(what, where=str(root), hint=f"{hint}; from {self.where_to_get}" if self.where_to_get else hint)


class NamedFolder(NamedTuple):
    """A named dataset and the folder with its images, from ``NAME=DIR``."""

    name: str
    folder: Path


def named_folder(spec: str | Path) -> NamedFolder | None:
    """Split ``ctest10k=/imagenet/val`` into dataset name and folder; None for an existing folder of that name."""
    if not isinstance(spec, str) or "=" not in spec or Path(spec).exists():
        return None
    name, _, folder = spec.partition("=")
    return NamedFolder(name, Path(folder)) if name and folder else None


def refuse_without_folder(spec: str) -> None:
    """Raise if a text is the name of an installed named dataset without its folder.

    Raises:
        UserError: with the form ``NAME=DIR``.
    """
    if spec in (plugin.name for plugin in registered("datasets")):
        raise UserError(f"the dataset {spec} needs the folder of its images", hint=f"use {spec}=DIR")


def open_named(name: str, folder: Path) -> Dataset:
    """Open a named dataset that is installed, in a folder.

    Raises:
        UnknownNameError: for a name that no installed package provides.
        UserError: for a folder that is missing or does not contain the set.
        PluginError: for an entry point that is no ``ListedSet``.
    """
    listed = listed_set(name)
    if not folder.is_dir():
        raise UserError(f"no folder {str(folder)!r}", hint=f"use {name}=DIR with the folder of its images")
    return listed.open(name, folder)


def listed_set(name: str) -> ListedSet:
    """Return the definition of an installed named dataset; see ``open_named``."""
    try:
        plugin = find("datasets", name)
    except UnknownNameError as error:
        hint = error.hint or ""
        raise UnknownNameError(f"no dataset {name!r}", hint=hint) from error
    found = plugin.load()
    if not isinstance(found, ListedSet):
        raise PluginError(f"dataset {name} is a {type(found).__name__}, not a ListedSet", where=plugin.where)
    return found


def _by_class_folder(samples: list[Sample]) -> tuple[list[Sample], tuple[str, ...] | None]:
    parents = [PurePosixPath(sample.id).parent.name for sample in samples]
    classes = sorted(set(parents))
    flat = [replace(sample, id=PurePosixPath(sample.id).name) for sample in samples]
    if len(classes) < 2 or "" in classes:
        return flat, None
    number = {name: index for index, name in enumerate(classes)}
    return [replace(one, label=number[parent]) for one, parent in zip(flat, parents, strict=True)], tuple(classes)
