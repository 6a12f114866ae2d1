"""From a folder, a list or a table of labels to a ``Dataset``; only names, sizes and times are read."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from colorbench.data.dataset import Dataset, Sample
from colorbench.errors import UserError

SAMPLES = "samples"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".jp2", ".avif"})
# Colour photographs that two of colorbench's own dependencies carry.
PACKAGED = {
    "skimage.data": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
}


def open_dataset(
    spec: str | Path | None = None, *, list_file: Path | None = None, labels: Path | None = None
) -> Dataset:
    """A set of photographs.

    Args:
        spec: ``samples`` (default: the packaged photographs) or a folder. Where every picture lies one folder down,
            the folders are its classes; a ``labels.csv`` (file, class_index, synset) in the folder, or beside its
            ``images/``, gives classes too.
        list_file: one id a line, such as the paper's test list (``/n01440764/ILSVRC2012_val_00000293.JPEG 0``); the
            part after a space is the class index. Folders of synsets may be missing below ``spec``.
        labels: another file in the form of ``labels.csv``.

    Raises:
        UserError: for what is missing, empty, or does not match.
    """
    if spec is None or str(spec) == SAMPLES:
        if list_file is not None or labels is not None:
            raise UserError("a list or labels need a folder of photographs", mend="give --data DIR")
        return _packaged()
    root = Path(spec)
    if not root.exists():
        raise UserError(f"no folder {str(spec)!r}", mend=f"give a folder of photographs, or `{SAMPLES}`")
    if not root.is_dir():
        raise UserError("this is a file, not a folder of photographs", where=str(root), mend="give its folder")
    if list_file is not None:
        return _listed(root, list_file)
    beside = root / "labels.csv" if root.name != "images" else root.parent / "labels.csv"
    if labels is None and beside.is_file():
        labels = beside
    if (root / "images").is_dir() and beside.is_file():
        root = root / "images"
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise UserError("no photographs in this folder", where=str(root), mend=f"known: {', '.join(sorted(SUFFIXES))}")
    ids = [path.relative_to(root).as_posix() for path in paths]
    if labels is not None:
        return _labelled(root, dict(zip(ids, paths, strict=True)), labels)
    classes = sorted({id.split("/")[0] for id in ids})
    if all(id.count("/") == 1 for id in ids) and len(classes) > 1:
        number = {name: index for index, name in enumerate(classes)}
        samples = [_sample(id, path, number[id.split("/")[0]]) for id, path in zip(ids, paths, strict=True)]
        return _dataset(root, samples, tuple(classes))
    return _dataset(root, [_sample(id, path) for id, path in zip(ids, paths, strict=True)])


def _packaged() -> Dataset:
    samples = []
    for package, names in PACKAGED.items():
        for name in names:
            path = Path(str(files(package).joinpath(name)))
            if path.is_file():
                samples.append(_sample(name, path))
    if not samples:
        raise UserError("the packaged photographs are missing", mend="reinstall scikit-image and scikit-learn")
    samples.sort(key=lambda sample: sample.id)
    source = "photographs that scikit-image and scikit-learn carry"
    return Dataset(SAMPLES, tuple(samples), redistributable=True, source=source)


def _listed(root: Path, list_file: Path) -> Dataset:
    samples, missing, seen = [], [], set()
    for number, line in enumerate(_lines(list_file), 1):
        name, _, label = line.partition(" ")
        name = name.strip().lstrip("/")
        if not name:
            continue
        if label.strip() and not label.strip().isdigit():
            raise UserError(f"{label.strip()!r} is no class index", where=f"{list_file}, line {number}")
        candidates = (root / name, root / name.rsplit("/", 1)[-1])
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            missing.append(name)
            continue
        if not path.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{name!r} lies outside the folder", where=f"{list_file}, line {number}")
        if name in seen:
            raise UserError(f"{name!r} is listed twice", where=f"{list_file}, line {number}", mend="remove one")
        seen.add(name)
        samples.append(_sample(name, path, int(label) if label.strip() else None))
    if missing:
        raise UserError(
            f"{len(missing)} of {len(missing) + len(samples)} listed photographs are not there, first {missing[0]!r}",
            where=str(root),
            mend="give the folder that the list's paths begin in, or that holds the files themselves",
        )
    if not samples:
        raise UserError("the list is empty", where=str(list_file))
    return _dataset(root, samples, name=list_file.stem)


def _labelled(root: Path, paths: dict[str, Path], labels: Path) -> Dataset:
    table: dict[str, int] = {}
    names: dict[int, str] = {}
    rows = csv.DictReader(_lines(labels))
    if rows.fieldnames is None or not {"file", "class_index"} <= set(rows.fieldnames):
        raise UserError(
            "labels need a head with file,class_index", where=str(labels), mend="e.g. file,class_index,synset"
        )
    for number, row in enumerate(rows, 2):
        if not (row["class_index"] or "").strip().isdigit():
            raise UserError(f"{row['class_index']!r} is no class index", where=f"{labels}, line {number}")
        index = int(row["class_index"])
        table[row["file"]] = index
        names[index] = row.get("synset") or str(index)
    without = [id for id in paths if id not in table]
    if without:
        raise UserError(
            f"{len(without)} of {len(paths)} photographs have no label, first {without[0]!r}",
            where=str(labels),
            mend="add their rows",
        )
    complete = tuple(names.get(index, "") for index in range(max(names) + 1))
    name = root.parent.name if root.name == "images" else root.name
    return _dataset(root, [_sample(id, path, table[id]) for id, path in paths.items()], complete, name)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read this list: {error}", where=str(path), mend="give a text file") from error


def _sample(id: str, path: Path, label: int | None = None) -> Sample:
    status = path.stat()
    return Sample(id, path, label, status.st_size, status.st_mtime_ns)


def _dataset(
    root: Path, samples: Iterable[Sample], class_names: tuple[str, ...] | None = None, name: str | None = None
) -> Dataset:
    resolved = root.resolve()
    ordered = tuple(sorted(samples, key=lambda sample: sample.id))
    return Dataset(name or resolved.name, ordered, class_names, source=f"folder {resolved.name}")
