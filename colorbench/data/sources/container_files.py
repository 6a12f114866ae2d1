"""Files with many images as a dataset: tar files, Parquet files, and datasets that ``datasets`` saved.

``DATA`` may be one tar or Parquet file, a folder that contains such files and no images, a pattern (``DIR/val-*.tar``),
or a folder of ``save_to_disk``. Files of different splits are never mixed.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from colorbench.data.dataset import Dataset
from colorbench.data.folder_walk import check_name, is_hidden, passed_over_line
from colorbench.data.sample_columns import SampleColumns
from colorbench.data.sources.class_labels import (
    Classes,
    ids_of,
    labeled_by_folder,
    labeled_by_table,
    labeled_by_text,
)
from colorbench.data.sources.lists_and_labels import class_folders, read_list, short
from colorbench.data.sources.saved_dataset import saved_files
from colorbench.data.sources.tar_files import check_plain_tar, open_tar
from colorbench.errors import UserError
from colorbench.storage import walk

TAR, PARQUET = ".tar", ".parquet"
_SPLIT = re.compile(r"(train|val|valid|validation|dev|test)(?![a-z])", re.IGNORECASE)
_SAVED = "saved dataset"


@dataclass(frozen=True)
class ContainerFiles:
    """Files of one kind that together are a dataset."""

    kind: str
    """Suffix of the files, or ``saved dataset``."""
    paths: tuple[Path, ...]
    name: str
    """Name of the dataset."""
    root: Path
    """Folder of the files, or the only file."""
    labels: Path | None = None
    """``labels.csv`` in the folder."""


def container_files(spec: str | Path) -> ContainerFiles | None:
    """Return the files that are meant by a file name, a pattern, or the folder of a saved dataset; None for others.

    Raises:
        UserError: for a compressed tar file, and for a pattern that matches nothing or files of several kinds.
    """
    path = Path(spec)
    if path.is_dir():
        paths = saved_files(path)
        return ContainerFiles(_SAVED, tuple(paths), path.resolve().name, path) if paths else None
    if path.is_file():
        kind = _kind(path)
        return ContainerFiles(kind, (path,), path.name[: -len(kind)], path) if kind else None
    if not str(spec) or not glob.has_magic(str(spec)) or os.path.lexists(path):
        return None
    found = sorted(Path(one) for one in glob.glob(str(spec), recursive=True))
    if not found:
        raise UserError(f"no file matches {str(spec)!r}", hint="give a pattern of tar or Parquet files")
    kinds = {_kind(one) if one.is_file() else None for one in found}
    (kind,) = kinds if len(kinds) == 1 else (None,)
    if kind is None:
        what = "a pattern must match tar files only, or Parquet files only"
        raise UserError(what, where=str(spec), hint="for a folder of images give the folder")
    root = Path(os.path.commonpath([one.parent for one in found]))
    stem = re.split(r"[*?\[]", path.name)[0].strip("-_. ") or root.resolve().name
    return ContainerFiles(kind, tuple(found), stem, root)


def container_files_in(folder: Path, name: str, labels: Path | None) -> ContainerFiles | None:
    """Return the tar or Parquet files of a folder without images, with the dataset's name; None if there are none.

    Raises:
        UserError: for compressed tar files, files of both kinds, and files of several splits.
    """
    by_kind: dict[str, list[Path]] = defaultdict(list)
    for path in _below(folder):
        if kind := _kind(path):
            by_kind[kind].append(path)
    if len(by_kind) > 1:
        what = f"this folder has {len(by_kind[TAR])} tar files and {len(by_kind[PARQUET])} Parquet files"
        raise UserError(what, where=str(folder), hint=f"give a pattern, such as '{folder}/*.tar'")
    return next(
        (ContainerFiles(kind, tuple(sorted(paths)), name, folder, labels) for kind, paths in by_kind.items()),
        None,
    )


def open_container_files(files: ContainerFiles, *, list_file: Path | None, labels: Path | None) -> Dataset:
    """Open files with many images as one dataset.

    Ids are the paths in the only tar file, or those with the path of the tar file in front; of tables, see
    ``table_files``. Classes are those of ``labels``, of a list with classes, of ``.cls`` members or the column
    ``label``, or the folders in the tar files.

    Args:
        files: the files.
        list_file: list of the ids to use.
        labels: table of classes.

    Raises:
        UserError: for files that cannot be used, in one line.
    """
    _check_splits(files)
    name, remarks = check_name(files.name, "a dataset"), list[str]()
    classes: Classes = None
    why_not: str | None = None
    if files.kind == TAR:
        samples, classes, why_not, remark = _open_tars(files)
        remarks += [] if remark is None else [remark]
    else:
        from colorbench.data.sources.table_files import open_tables

        samples, classes, why_not = open_tables(files.paths, files.root)
    if not len(samples):
        raise UserError(f"no images in {_described(files)}", where=str(files.root), hint="; ".join(remarks) or None)
    if list_file is not None:
        name = check_name(f"{name}-{list_file.stem}", "a list")
        samples, listed_classes = _listed(samples, list_file, files.root)
        if listed_classes is not None:
            classes, why_not = listed_classes[0], None
    if (table := labels or files.labels) is not None:
        found, classes = labeled_by_table(samples, table)
        assert isinstance(found, SampleColumns)
        samples, why_not = found, None
    remarks += [] if why_not is None else [why_not]
    return Dataset(name, samples, classes, source=_described(files), remarks=tuple(remarks))


def _open_tars(files: ContainerFiles) -> tuple[SampleColumns, Classes, str | None, str | None]:
    """Return samples, class names, the reason if no classes are used, and a remark about ignored members."""
    parts, passed_over = [], Counter[str]()
    for path in files.paths:
        part = open_tar(path)
        passed_over.update(part.passed_over)
        if len(part.samples):
            prefix = "" if len(files.paths) == 1 else _prefix(path, files.root)
            parts.append((part, prefix))
    remark = passed_over_line(passed_over)
    if not parts:
        hint = f"{remark}: pack image files" if remark else "pack image files"
        raise UserError(f"no images in {_described(files)}", where=str(files.root), hint=hint)
    samples, order = SampleColumns.joined([(part.samples, prefix) for part, prefix in parts])
    texts = np.concatenate([part.classes.to_numpy(zero_copy_only=False) for part, _ in parts])[order].tolist()
    labeled, classes, why_not = labeled_by_text(samples, texts, str(files.root))
    if classes is not None or why_not is not None:
        return labeled, classes, why_not, remark

    def paths() -> Iterator[str]:
        depth = [prefix.count("/") for _, prefix in parts]
        for id, place in zip(samples.names(), samples.place_numbers(), strict=True):
            yield id.split("/", depth[place])[-1]

    in_folders, classes, why_not = labeled_by_folder(samples, paths)
    assert isinstance(in_folders, SampleColumns)
    return in_folders, classes, why_not, remark


def _listed(samples: SampleColumns, list_file: Path, root: Path) -> tuple[SampleColumns, tuple[Classes] | None]:
    """Return the samples that a list names, by id or by the last part of an id, and the classes of the list if any."""
    listed = read_list(list_file)
    by_id = {id: position for position, id in enumerate(ids_of(samples))}
    by_last: dict[str, int] = {}
    for id, position in by_id.items():
        last = id.rpartition("/")[2]
        by_last[last] = -1 if last in by_last else position
    places = [by_id.get(one.name, by_last.get(one.name.rpartition("/")[2], -1)) for one in listed]
    if missing := [one.name for one, place in zip(listed, places, strict=True) if place < 0]:
        what = f"{len(missing)} of {len(listed)} listed images do not exist or are ambiguous, first {short(missing[0])}"
        raise UserError(what, where=str(root), hint="list ids, as `colorbench inputs` writes them into its manifest")
    if len(set(places)) < len(places):
        raise UserError("an image is listed under two names", where=str(list_file), hint="remove one")
    order = np.argsort(np.array(places))
    chosen = samples.taken(np.array(places)[order])
    if listed[0].label is None:
        return chosen, None
    labels = np.array([one.label for one in listed])[order]
    return chosen.labeled(labels.tolist()), (class_folders(listed),)


def _kind(path: Path) -> str | None:
    """Return the suffix of a container file; None for other files."""
    check_plain_tar(path)
    return next((suffix for suffix in (TAR, PARQUET) if path.name.lower().endswith(suffix)), None)


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (path for name in sorted(names) if not is_hidden(name) and (path := Path(parent, name)).is_file())


def _prefix(path: Path, root: Path) -> str:
    """Return what is put in front of the ids of a tar file: its path without suffix, and a slash."""
    return check_name(path.relative_to(root).as_posix()[: -len(TAR)], "a tar file") + "/"


def _check_splits(files: ContainerFiles) -> None:
    if files.kind == _SAVED:
        return
    splits: dict[str, Path] = {}
    for path in files.paths:
        if match := _SPLIT.match(path.name):
            splits.setdefault(match[1].lower(), path)
    if len(splits) > 1:
        one = next(iter(splits.values()))
        pattern = one.with_name(f"{next(iter(splits))}*{files.kind}")
        what = f"these files belong to several splits: {', '.join(splits)}"
        raise UserError(what, where=str(files.root), hint=f"give one by a pattern, such as '{pattern}'")


def _described(files: ContainerFiles) -> str:
    if files.kind == _SAVED:
        return f"saved dataset {files.root.resolve().name}"
    kind = "tar" if files.kind == TAR else "Parquet"
    if len(files.paths) == 1:
        return f"{kind} file {files.paths[0].name}"
    return f"{len(files.paths)} {kind} files of {files.root.resolve().name}"
