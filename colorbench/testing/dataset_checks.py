"""``check_dataset``: conformance checks of a dataset.

- ``opens``: the folder, list or table is read;
- ``names``: ids are sorted and unique, also without suffix and on file systems that ignore case;
- ``labels``: either all or no images have a class, and every class has images;
- ``readable``: every image can be decoded;
- ``formats``: the suffix of a file matches its format;
- ``sizes``: no image is so small that most evaluated pixels would come from interpolation;
- ``gray``: most images have colors;
- ``copies``: files of equal content have equal labels;
- ``ignored``: no image files were ignored;
- ``license``: redistributable images state their source.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from colorbench.data import Dataset, DecodedImage, UnreadableImage, decode_image, id_hash, open_dataset
from colorbench.data.image_decoding import sample_header
from colorbench.data.image_formats import PLUGINS, suffix_of, without_suffix
from colorbench.testing.check_report import (
    CheckFailed,
    CheckReport,
    CheckSkipped,
    ConformanceCheck,
    report_of,
    run_checks,
)

MOST = 2_000
"""Largest number of decoded images; of larger datasets a fixed random subset is decoded, in at most a minute."""
SMALLEST = 32
"""Smallest accepted side of an image in pixels; a smaller one would be enlarged more than 8 times."""
MOSTLY_GRAY = 0.5
"""Share of gray images above which a dataset is not useful."""
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm",),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "JXL": (".jxl",),
}
"""Pillow's name of a format -> its suffixes."""


@dataclass
class DatasetSubject:
    """A dataset under check, and the results of decoding its images."""

    given: str | Path | Dataset
    dataset: Dataset | None = None
    formats: dict[str, str] = field(default_factory=dict)
    """Id -> format of the file."""
    images: dict[str, DecodedImage] = field(default_factory=dict)
    """Id -> decoded image, without its pixels."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Id -> (H, W)."""

    @property
    def data(self) -> Dataset:
        """The dataset; checks that use it need ``opens``."""
        assert self.dataset is not None
        return self.dataset


def check_dataset(source: str | Path | Dataset, *, skip: Collection[str] = ()) -> CheckReport:
    """Check that a dataset is suitable for evaluation.

    All images are decoded; of more than 2,000 images, a fixed random subset.

    Args:
        source: a name or folder as for ``--data``, or a dataset.
        skip: names of checks to leave out.

    Returns:
        The findings. ``report.raise_for_failures()`` makes a test of them.

    Raises:
        UserError: for an unknown check.

    Example:
        >>> from colorbench.testing import check_dataset
        >>> check_dataset("samples").passed
        True
    """
    name = source.name if isinstance(source, Dataset) else str(source)
    return report_of("dataset", name, run_checks(DatasetSubject(source), CHECKS, skip))


def _opens(subject: DatasetSubject) -> str:
    subject.dataset = subject.given if isinstance(subject.given, Dataset) else open_dataset(subject.given)
    if not len(subject.dataset):
        raise CheckFailed("there are no images", "add samples")
    few = "; with fewer than 30, a run gives no intervals and no ranks" if len(subject.dataset) < 30 else ""
    return f"{len(subject.dataset)} images{few}"


def _names(subject: DatasetSubject) -> str:
    ids = [sample.id for sample in subject.data.samples]
    hint = "an id is the POSIX path below the root of the set, unique, in sorted order"
    if ids != sorted(ids):
        raise CheckFailed("the samples are not sorted by id", hint)
    for one in ids:
        if not one or one.startswith("/") or "\\" in one or ".." in one.split("/"):
            raise CheckFailed(f"the id {one!r} is not a path below the root", hint)
    for what, key in (
        ("are the same id", str),
        ("differ in upper and lower case alone", str.casefold),
        ("differ in their suffix alone", lambda one: without_suffix(one)),
    ):
        groups = defaultdict(list)
        for one in ids:
            groups[key(one)].append(one)
        if several := [group for group in groups.values() if len(group) > 1]:
            hint = "rename one: predictions are stored under an image's name"
            raise CheckFailed(f"{several[0][0]!r} and {several[0][1]!r} {what}", hint)
    return f"{len(ids)} ids, first {ids[0]}"


def _labels(subject: DatasetSubject) -> str:
    data = subject.data
    labels = [sample.label for sample in data.samples]
    if data.class_names is None and not any(label is not None for label in labels):
        raise CheckSkipped("it has no classes")
    if without := [sample.id for sample in data.samples if sample.label is None]:
        raise CheckFailed(f"{len(without)} of {len(labels)} images have no class, first {without[0]}", "label all")
    if data.class_names is None:
        raise CheckFailed("images have classes, but the classes have no names", "give class_names")
    wrong = [label for label in labels if label is not None and not 0 <= label < len(data.class_names)]
    if wrong:
        raise CheckFailed(f"class {wrong[0]} is not in 0..{len(data.class_names) - 1}", "number classes from 0")
    named = [name for name in data.class_names if name]
    if twice := [name for name, count in Counter(named).items() if count > 1]:
        raise CheckFailed(f"two classes are named {twice[0]!r}", "give each class a unique name")
    counts = Counter(labels)
    empty = [name for index, name in enumerate(data.class_names) if name and not counts[index]]
    if empty:
        raise CheckFailed(
            f"{len(empty)} of {len(data.class_names)} classes have no image, first {empty[0]!r}",
            "leave their names empty",
        )
    return f"{len(counts)} classes of {min(counts.values())} to {max(counts.values())} images"


def _readable(subject: DatasetSubject) -> str:
    chosen = subject.data.samples
    if len(chosen) > MOST:
        chosen = tuple(sorted(chosen, key=lambda sample: id_hash(sample.id))[:MOST])
    failures = []
    for sample in chosen:
        try:
            subject.formats[sample.id] = sample_header(sample).format
            image = decode_image(sample)
        except UnreadableImage as error:
            failures.append(f"{sample.id}: {error}")
            continue
        subject.sizes[sample.id] = (image.rgb.shape[0], image.rgb.shape[1])
        # The pixels of a whole dataset would not fit into memory.
        subject.images[sample.id] = DecodedImage(image.id, image.rgb[:0], image.sha256, image.gray, image.label)
    if failures:
        what = f"{len(failures)} of {len(chosen)} images cannot be decoded, first {failures[0]}"
        raise CheckFailed(what, "replace or remove them; a run skips them")
    of = "" if len(chosen) == len(subject.data) else f" of {len(subject.data)}"
    return f"{len(chosen)}{of} images decoded"


def _formats(subject: DatasetSubject) -> str:
    wrong = [
        (id, format)
        for id, format in subject.formats.items()
        if format in FORMATS and suffix_of(id) not in FORMATS[format]
    ]
    if wrong:
        id, format = wrong[0]
        what = (
            f"{len(wrong)} of {len(subject.formats)} files have a suffix of another format, the first: {id}: {format}"
        )
        raise CheckFailed(what, "rename them; other programs rely on the suffix")
    counts = Counter(subject.formats.values())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _sizes(subject: DatasetSubject) -> str:
    sides = {id: min(size) for id, size in subject.sizes.items()}
    small = [id for id, side in sides.items() if side < SMALLEST]
    if small:
        height, width = subject.sizes[small[0]]
        few = f"{len(small)} of {len(sides)} images have a side below {SMALLEST} pixels"
        what = f"{few}, first {small[0]}: {height} x {width}"
        raise CheckFailed(what, "remove them, or use a preprocessing of their size (squash32)")
    smallest, largest = (choose(subject.sizes.values(), key=lambda s: s[0] * s[1]) for choose in (min, max))
    return f"{smallest[0]} x {smallest[1]} to {largest[0]} x {largest[1]} (H x W)"


def _gray(subject: DatasetSubject) -> str:
    gray = sum(image.gray for image in subject.images.values())
    if gray > MOSTLY_GRAY * len(subject.images):
        what = f"{gray} of {len(subject.images)} images are grayscale: there are no colors to predict"
        raise CheckFailed(what, "use color images, or --gray drop in a run")
    return f"{gray} of {len(subject.images)} images are gray"


def _copies(subject: DatasetSubject) -> str:
    groups = defaultdict(list)
    for image in subject.images.values():
        groups[image.sha256].append(image)
    copies = [group for group in groups.values() if len(group) > 1]
    for first, *others in copies:
        if other := [one for one in others if one.label != first.label]:
            what = (
                f"{first.id} and {other[0].id} are the same image with two classes, {first.label} and {other[0].label}"
            )
            raise CheckFailed(what, "remove one, or correct its label")
    more = sum(len(group) - 1 for group in copies)
    return f"copies of other images: {more}; a run counts each image once" if more else "no image occurs twice"


def _passed_over(subject: DatasetSubject) -> str:
    remarks = "; ".join(subject.data.remarks)
    unread = sorted({suffix for suffix in PLUGINS if f" {suffix}" in remarks})
    if unread:
        install = " ".join(sorted({PLUGINS[suffix][1] for suffix in unread}))
        raise CheckFailed(f"images in {', '.join(unread)} are not read ({remarks})", f"pip install {install}")
    return remarks or "all files are used"


def _license(subject: DatasetSubject) -> str:
    data = subject.data
    if data.redistributable and not data.source.strip():
        what = "its images are redistributable, but their source is missing"
        raise CheckFailed(what, "give `source`: the origin of the images, and their license")
    if not data.redistributable:
        raise CheckSkipped("its images are not marked as redistributable, so a leaderboard does not show them")
    return data.source


CHECKS: list[ConformanceCheck[DatasetSubject]] = [
    ConformanceCheck("opens", _opens),
    ConformanceCheck("names", _names, ("opens",)),
    ConformanceCheck("labels", _labels, ("opens",)),
    ConformanceCheck("readable", _readable, ("opens",)),
    ConformanceCheck("formats", _formats, ("readable",)),
    ConformanceCheck("sizes", _sizes, ("readable",)),
    ConformanceCheck("gray", _gray, ("readable",)),
    ConformanceCheck("copies", _copies, ("readable",)),
    ConformanceCheck("ignored", _passed_over, ("opens",)),
    ConformanceCheck("license", _license, ("opens",)),
]
