"""Writing of resized copies of datasets, for when decoding limits a run or a training.

An image is decoded by the rules of ``image_decoding``, its short side is reduced to a number of pixels by Pillow's
bicubic (smaller images stay as they are), and it is stored without compression, as BMP. ``center256`` of a copy with
the short side 256 therefore gives the same pixels as of the original; other preprocessings do not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from colorbench.data.batch_loader import SkippedImage, decoding_threads, map_ahead
from colorbench.data.dataset import Dataset, Sample
from colorbench.data.dataset_hashes import stamps_digest
from colorbench.data.gray_inputs import check_outside
from colorbench.data.image_decoding import UnreadableImage, decode_image
from colorbench.data.name_matching import prediction_names
from colorbench.data.preprocessing import with_short_side
from colorbench.data.resized_copies import FILE, CopyNote, find_copy, read_note, write_note
from colorbench.errors import READABLE, UserError
from colorbench.storage import write_atomic


def write_copy(
    dataset: Dataset, output: Path, short_side: int, *, workers: int | None, advanced: Callable[[int], None]
) -> list[SkippedImage]:
    """Write a resized copy of a dataset; an interrupted copy of the same files is continued.

    Args:
        dataset: the images.
        output: a folder that is new, empty, or has an unfinished copy of the same images.
        short_side: largest number of pixels of the short side.
        workers: decoding threads; None for one per core, at most 8.
        advanced: called with the number of images that were finished.

    Returns:
        The images that could not be read and are missing from the copy.

    Raises:
        UserError: for an output with other content, or within the dataset.
    """
    check_outside(dataset, output)
    for sample in dataset.samples[:1]:
        if (found := find_copy(sample.path.parent)) is not None:
            raise UserError("these images are a resized copy already", where=str(found[1]), hint="copy the originals")
    continued = (output / FILE).is_file()
    if not continued and output.is_dir() and any(output.iterdir()):
        raise UserError("this folder is not empty", where=str(output), hint="give another --output")
    note = CopyNote(dataset.name, dataset.source, short_side, stamps_digest(dataset), complete=False)
    if continued and replace(read_note(output), complete=False) != note:
        raise UserError("this is a copy of other images", where=str(output), hint="give another --output")
    write_note(output, note)
    named = prediction_names(sample.id for sample in dataset.samples)
    names = {id: f"{name.removesuffix('.png')}.bmp" for id, name in named.items()}

    def copy(sample: Sample) -> str | None:
        target = output / names[sample.id]
        if target.is_file():  # written atomically from the same file
            return None
        try:
            rgb = decode_image(sample).rgb
        except UnreadableImage as error:
            return str(error)
        buffer = io.BytesIO()
        Image.fromarray(with_short_side(rgb, short_side)).save(buffer, "BMP")
        write_atomic(target, buffer.getvalue(), durable=False)
        return None

    skipped: list[SkippedImage] = []
    threads = decoding_threads(workers)
    for sample, reason in zip(dataset.samples, map_ahead(copy, dataset.samples, threads, 4 * threads), strict=True):
        if reason is not None:
            skipped.append(SkippedImage(sample.id, reason))
        advanced(1)
    missing = {one.id for one in skipped}
    copied = [sample for sample in dataset.samples if sample.id not in missing]
    if not copied:
        raise UserError("none of the images can be read", where=f"{skipped[0].id}: {skipped[0].reason}", hint=READABLE)
    if any(sample.label is not None for sample in copied) and not _folders_are_classes(dataset, copied):
        write_atomic(output / "labels.csv", _labels(dataset, copied, names))
    write_note(output, replace(note, complete=True))
    return skipped


def _folders_are_classes(dataset: Dataset, samples: Sequence[Sample]) -> bool:
    """Return whether the folders of the copy give the same classes again."""
    folders = {sample.id.partition("/")[0] for sample in samples}
    return tuple(sorted(folders)) == dataset.class_names and all(
        sample.id.count("/") == 1
        and sample.label is not None
        and sample.id.partition("/")[0] == dataset.class_names[sample.label]
        for sample in samples
    )


def _labels(dataset: Dataset, samples: Sequence[Sample], names: dict[str, str]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["file", "class_index", *(["synset"] if dataset.class_names else [])])
    for sample in samples:
        if sample.label is not None:
            known = [dataset.class_names[sample.label]] if dataset.class_names else []
            table.writerow([names[sample.id], sample.label, *known])
    return text.getvalue().encode()
