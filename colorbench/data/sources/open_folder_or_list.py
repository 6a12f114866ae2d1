"""Opening a folder, list file, tar files or tables as a ``Dataset``, from names, sizes and times only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from colorbench.data.dataset import Dataset, Sample
from colorbench.data.folder_walk import check_name, walk
from colorbench.data.image_formats import readable
from colorbench.data.named_datasets import named_folder, open_named, refuse_without_folder
from colorbench.data.resized_copies import FILE, find_copy
from colorbench.data.sources.addresses import is_address, local_copy
from colorbench.data.sources.class_labels import labeled_by_folder, labeled_by_table
from colorbench.data.sources.container_files import container_files, container_files_in, open_container_files
from colorbench.data.sources.lists_and_labels import ListedImage, class_folders, read_list
from colorbench.data.sources.packaged import SAMPLES, open_packaged
from colorbench.data.sources.samples import dataset_of_samples, sample_of
from colorbench.errors import UserError, one_line_errors, path_hint, with_hint

LABELS = "labels.csv"
"""Table of classes, in a folder of images or beside its ``images/``."""


@one_line_errors()
def open_dataset(
    spec: str | Path | None = None, *, list_file: Path | None = None, labels: Path | None = None
) -> Dataset:
    """Open a folder or a list of images as a dataset.

    Args:
        spec: ``samples`` (default: the packaged images), ``NAME=DIR`` (a set that ``colorbench list`` names, in its
            folder), a folder of images, an address (``hf://...``, see ``sources.addresses``), or what
            ``sources.container_files`` names: tar files, Parquet files, a saved dataset. A ``Path`` is never a name. If
            every image is in a subfolder, the subfolders are its classes; a ``labels.csv`` (file, class_index, synset)
            in the folder, or beside its ``images/``, gives classes too. ``data.folder_walk`` states which files are
            images.
        list_file: one id per line, such as the paper's test list (``/n01440764/ILSVRC2012_val_00000293.JPEG 0``); a
            number at the end is the class index. Folders of synsets may be missing below ``spec``.
        labels: another file in the format of ``labels.csv``.

    Raises:
        UserError: for files that are missing, empty, or do not match.

    Returns:
        The dataset; its ``remarks`` list ignored files, and the reason if folders are not used as classes.
    """
    if spec is None or spec == SAMPLES:
        if list_file is not None or labels is not None:
            raise UserError("a list or labels need a folder of images", hint="give --data DIR")
        return open_packaged()
    if (named := named_folder(spec)) is not None:
        if list_file is not None or labels is not None:
            raise UserError(f"{named.name} has its own list", hint="remove --list and --labels")
        return _marked(open_named(*named), named.folder)
    if is_address(spec):
        spec = local_copy(str(spec))
    if (files := container_files(spec)) is not None:
        return open_container_files(files, list_file=list_file, labels=labels)
    return _marked(_open_folder(spec, list_file, labels), Path(spec))


def dataset_name(spec: str | Path | None) -> str:
    """Return the name that ``open_dataset`` gives without a list; no image is listed."""
    if spec is None or spec == SAMPLES:
        return SAMPLES
    if (named := named_folder(spec)) is not None:
        return named.name
    if is_address(spec):
        spec = local_copy(str(spec))
    if (files := container_files(spec)) is not None:
        return files.name
    if Path(spec).is_dir() and (copy := find_copy(Path(spec))) is not None:
        return copy[0].name(copy[0].dataset)
    return _name_of(Path(spec).resolve())


def _marked(dataset: Dataset, folder: Path) -> Dataset:
    """Return a dataset of a folder, with name and source of a resized copy if it is one."""
    found = find_copy(folder)
    return dataset if found is None else found[0].marked(dataset, found[1])


def _open_folder(spec: str | Path, list_file: Path | None, labels: Path | None) -> Dataset:
    root, beside = _folder(spec)
    name = check_name(_name_of(root.resolve()), "a folder")
    remark = None
    samples: Sequence[Sample]
    if list_file is not None:
        name = check_name(f"{name}-{list_file.stem}", "a list")
        listed = read_list(list_file)
        samples = _listed(root, listed)
        if listed[0].label is not None:
            if labels is not None:
                raise UserError("this list has its own classes", where=str(list_file), hint="remove --labels")
            return dataset_of_samples(name, root, samples, class_folders(listed))
    else:
        found = walk(root, used=frozenset(path for path in (beside, labels, root / FILE) if path is not None))
        samples, remark = found.images, found.remark()
        if not samples:
            if (files := container_files_in(root, name, beside)) is not None:
                return open_container_files(files, list_file=None, labels=labels)
            hint = f"known: {readable()}"
            hint = with_hint(remark, hint) if remark else hint
            raise UserError("no images in this folder", where=str(root), hint=hint)
    if labels is not None or beside is not None:
        samples, classes = labeled_by_table(samples, labels or beside or root)
        return dataset_of_samples(name, root, samples, classes, remark)
    if list_file is None:
        samples, classes, why_not = labeled_by_folder(samples)
        return dataset_of_samples(name, root, samples, classes, remark, why_not)
    return dataset_of_samples(name, root, samples)


def _name_of(root: Path) -> str:
    """Return the name of the dataset in a folder: its own, or SET for ``SET/images`` beside ``SET/labels.csv``.

    The name does not depend on the current folder. Without the labels, ``images`` may be in any folder, such as that of
    a project or of a user, which does not name the images.
    """
    beside = root.name == "images" and (root.parent / LABELS).is_file()
    return root.parent.name if beside and root.parent.name else root.name


def _folder(spec: str | Path) -> tuple[Path, Path | None]:
    """Find the folder to which ids are relative, and the ``labels.csv`` in it or beside ``images/``."""
    root = Path(spec)
    if not str(spec) or not os.path.exists(root):
        # A path is never a name of a dataset.
        names = "" if isinstance(spec, Path) else f", or `{SAMPLES}`"
        if not isinstance(spec, Path):
            refuse_without_folder(spec)
        raise UserError(f"no folder {str(spec)!r}", hint=path_hint(root, f"give a folder of images{names}"))
    if not root.is_dir():
        raise UserError(
            "this is a file, not a folder of images", where=str(root), hint="give the folder that contains it"
        )
    beside = (root.parent if root.name == "images" else root) / LABELS
    if not beside.is_file():
        return root, None
    return (root / "images" if (root / "images").is_dir() else root), beside


def _listed(root: Path, listed: Iterable[ListedImage]) -> list[Sample]:
    samples, missing = [], []
    used: dict[Path, str] = {}
    for one in listed:
        candidates = (root / one.name, root / one.name.rsplit("/", 1)[-1])
        path = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
        if path is None:
            missing.append(one.name)
            continue
        if path in used:
            raise UserError(f"{used[path]!r} and {one.name!r} are the same file", where=str(path), hint="remove one")
        used[path] = check_name(one.name)
        samples.append(replace(sample_of(one.name, path), label=one.label))
    if missing:
        first = ", ".join(map(repr, missing[:3]))
        raise UserError(
            f"{len(missing)} of {len(missing) + len(samples)} listed images do not exist, the first: {first}",
            where=str(root),
            hint="give the folder to which the paths of the list are relative, or the one that contains the files",
        )
    return samples
