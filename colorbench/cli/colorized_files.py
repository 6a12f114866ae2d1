"""The files of ``colorbench colorize``: which are to be made, and what they keep of their source."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from colorbench.data.image_decoding import open_image
from colorbench.errors import UserError, path_hint
from colorbench.storage import file_sha256, version_of, write_atomic

SETTINGS = "colorbench"
"""Key of the text in a PNG that says how it was made."""
_UNREADABLE = (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, OverflowError, RuntimeError)
_SRGB = 1
_DESCRIPTIVE = frozenset(
    {
        *(ExifTags.Base.DocumentName, ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model),
        *(ExifTags.Base.Software, ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.HostComputer),
        *(ExifTags.Base.Copyright, ExifTags.Base.Rating, ExifTags.Base.RatingPercent, ExifTags.Base.ExifVersion),
        *(ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords),
        *(ExifTags.Base.XPSubject, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo),
    }
)
"""Tags of EXIF that are about the image. The others are about the file: its strips, its compression, its profile."""


def targets(images: list[Path], output: Path, *, say: Callable[[str], None] = lambda line: None) -> dict[Path, Path]:
    """Return the PNG file of each colorized image below ``output``; folders below a given folder are kept.

    Args:
        images: files, whatever their suffix, and folders, of which ``data.folder_walk`` takes the images.
        output: a folder.
        say: is told what was ignored.

    Raises:
        UserError: for a path that is not there, an empty folder, two images with one target, and an image that would
            be replaced by its own result.
    """
    from colorbench.data.folder_walk import check_name, walk

    plan: dict[Path, Path] = {}
    for given in images:
        if given.is_dir():
            contents = walk(given)
            found = [image.path for image in contents.images]
            if (remark := contents.remark()) is not None:
                say(f"{given}: {remark}")
            if output.resolve() != given.resolve():
                # Results that lie below the folder they were made from are no images to colorize.
                found = [path for path in found if not path.resolve().is_relative_to(output.resolve())]
            if not found:
                raise UserError("no images in this folder", where=str(given), hint=remark or "give another")
            plan |= {path: (output / path.relative_to(given)).with_suffix(".png") for path in found}
        elif given.is_file():
            check_name(str(given))
            plan[given] = output / f"{given.stem}.png"
        else:
            raise UserError("no such image", where=str(given), hint=path_hint(given))
    sources: dict[Path, Path] = {}
    for source, target in plan.items():
        if target in sources and sources[target].resolve() != source.resolve():
            raise UserError(f"{sources[target]} and {source} would both become {target}", hint="use two output folders")
        sources[target] = source
        if target.exists() and target.resolve() == source.resolve():
            what = "an input image would be overwritten by its result"
            raise UserError(what, where=str(source), hint="give another --output")
    return {source: target for target, source in sources.items()}


def missing(plan: Mapping[Path, Path], settings: Mapping[str, Any]) -> dict[Path, Path]:
    """Return the colorized files that are still to be made: results of the same image and settings are kept.

    Raises:
        UserError: for files at the places of results that were made in another way.
    """
    there = {source: target for source, target in plan.items() if target.exists()}
    foreign = [
        target
        for source, target in there.items()
        if _settings_in(target) != settings_text(file_sha256(source), settings)
    ]
    if foreign:
        hint = "give another --output, or --overwrite to replace them"
        what = f"images that already exist, from other settings or images: {len(foreign)}"
        raise UserError(what, where=str(foreign[0]), hint=hint)
    return {source: target for source, target in plan.items() if source not in there}


def settings_text(source_sha256: str, settings: Mapping[str, Any]) -> str:
    """Return the hash of the image and the settings that decide a colorized file, as they are stored in it."""
    return json.dumps({**settings, "source_sha256": source_sha256}, sort_keys=True)


def _settings_in(path: Path) -> str | None:
    """Return the image and settings stored in a colorized file; None for any other file."""
    try:
        with Image.open(path) as image:
            found = image.info.get(SETTINGS)
    except _UNREADABLE:
        return None
    return found if isinstance(found, str) else None


def metadata_of(source: Path) -> dict[str, Any]:
    """Return what a colorized file keeps of its source, as Pillow saves it: EXIF and resolution.

    The orientation is left out, since the result is upright, as is all that is about the file and not the image; the
    color space becomes sRGB. Broken metadata is left out.
    """
    kept: dict[str, Any] = {}
    try:
        with source.open("rb") as file:
            image = open_image(file)
            dpi, exif = image.info.get("dpi"), image.getexif()
            for tag in set(exif) - _DESCRIPTIVE:
                del exif[tag]
            if ExifTags.IFD.Exif in exif:
                details = exif.get_ifd(ExifTags.IFD.Exif)
                if ExifTags.Base.ColorSpace in details:
                    details[ExifTags.Base.ColorSpace] = _SRGB
            if len(exif):
                kept["exif"] = exif.tobytes()
            if dpi is not None and all(math.isfinite(value) and value > 0 for value in dpi):
                kept["dpi"] = tuple(float(value) for value in dpi)
    except Exception:  # whatever a reader makes of broken metadata: the image itself is good
        return kept
    return kept


def side_by_side(original: np.ndarray, colored: np.ndarray) -> np.ndarray:
    """Put an image and its colorized version side by side, a white strip between them: (H, W, 3) uint8 each."""
    strip = np.full((original.shape[0], max(2, original.shape[1] // 50), 3), 255, np.uint8)
    return np.concatenate([original, strip, colored], axis=1)


def write_png(path: Path, rgb: np.ndarray, settings: str, metadata: Mapping[str, Any]) -> None:
    """Write a colorized file, (H, W, 3) uint8 sRGB, as PNG; the file is whole or not there."""
    texts = PngInfo()
    texts.add(b"sRGB", b"\0")  # perceptual intent
    texts.add_text("Software", f"colorbench {version_of('colorbench')}")
    texts.add_text(SETTINGS, settings)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", pnginfo=texts, **metadata)
    write_atomic(path, buffer.getvalue(), durable=False)
