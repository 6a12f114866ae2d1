"""Decoding of an image file to upright 8-bit sRGB, with all rules for unusual formats.

- Rotation in EXIF is applied: an image is evaluated as viewers show it. Broken EXIF is ignored, as viewers do.
- An embedded profile is converted to sRGB (Display P3, Adobe RGB, gray and CMYK ones; perceptual intent). A profile
  that changes no color by more than 2 of 255 is treated as sRGB, and the pixels are not changed. A profile that cannot
  be read, or is for another kind of image, is ignored.
- CMYK without a profile is converted by Pillow's formula, (255 - C)(255 - K)/255, since the inks are unknown.
- 16 bits are scaled to 8, not clipped: gray by dividing by 257, color by its high byte (at most 1 of 255 apart). Floats
  are read as 0..1. Images with values beyond these ranges have no known white and are unreadable.
- Transparent pixels are composed on white, as on a page; hidden colors are arbitrary. Palettes are looked up.
- The first of several frames is used.
- Truncated, empty, oversized and other unreadable files raise ``UnreadableImage`` with one line.
"""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from colorbench.data.dataset import DecodedImage, Sample
from colorbench.data.image_formats import load_plugins, missing_plugin
from colorbench.errors import MACHINE_TROUBLE, RunError

GRAY_TOLERANCE = 2  # of 255; rounding of JPEG's chroma leaves as much in an image without color
_SAME_COLOR = 2  # of 255; two implementations of the sRGB curve differ by as much after rounding

# Pillow's readers raise all of these for damaged files (RuntimeError: AVIF). MemoryError is not included, since it says
# nothing about the file.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
)

_LOSSY = frozenset({"JPEG", "MPO", "AVIF", "HEIF"})

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that undoes each EXIF orientation (tag 0x0112)."""


class UnreadableImage(Exception):
    """Error for a file that is not a readable image, with the reason in one line; the engine counts it as skipped."""


@dataclass(frozen=True, slots=True)
class Header:
    """Size, format and mode of an image file, read without decoding its pixels."""

    size: tuple[int, int]
    """(H, W), upright."""
    format: str
    """Pillow's name, such as ``JPEG``."""
    mode: str
    """Pillow's name: ``RGB``, ``L``, ``P`` ..."""
    lossy: bool
    sixteen_bits: bool


def read_header(path: Path) -> Header:
    """Read the header of an image file; see ``sample_header``."""
    return sample_header(Sample(path.name, path))


def sample_header(sample: Sample) -> Header:
    """Read the header of an image.

    Raises:
        UnreadableImage: as ``decode_image``.
    """
    try:
        with sample.open() as file:
            head = file.read(4096)
            file.seek(0)
            image = open_image(file)
            _check_pixels(image)
            # Pillow would decode a PNG to look for EXIF at its end.
            exif = {} if image.format == "PNG" and "exif" not in image.info else image.getexif()
            sideways = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except OSError as error:
        reason = error.strerror or "not a known image format"
        raise UnreadableImage(f"cannot read the file: {reason}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImage("the image has too many pixels") from error
    except _DAMAGE as error:
        raise UnreadableImage(f"the image is damaged: {' '.join(str(error).split())}") from error
    name = image.format or ""
    lossy = name in _LOSSY or (name == "WEBP" and b"VP8 " in head)
    sixteen = image.mode.startswith("I") or (name == "PNG" and head[24:25] == b"\x10")
    size = image.size if sideways else image.size[::-1]
    return Header(size, name, image.mode, lossy, sixteen)


def decode_image(sample: Sample) -> DecodedImage:
    """Read and decode one image; the file is read once, for its pixels and its hash.

    Raises:
        UnreadableImage: for a file that is missing, damaged or no image.
        RunError: if the machine cannot read now, which says nothing about the file.
    """
    content = _read(sample)
    rgb = decode_bytes(content)
    return DecodedImage(sample.id, rgb, hashlib.sha256(content).hexdigest(), is_gray(rgb), sample.label)


def _read(sample: Sample) -> bytes:
    try:
        return sample.read()
    except OSError as error:
        if error.errno in MACHINE_TROUBLE:
            hint = f"{MACHINE_TROUBLE[error.errno]}, then run the same command; finished work is kept"
            raise RunError(f"cannot read an image: {error.strerror}", where=str(sample.path), hint=hint) from error
        raise UnreadableImage(f"cannot read the file: {error.strerror}") from error


def decode_file(path: Path) -> DecodedImage:
    """Decode an image file given by its path; its id is the file's name. See ``decode_image``."""
    return decode_image(Sample(path.name, path))


def decode_bytes(content: bytes) -> np.ndarray:
    """Decode the bytes of an image file to (H, W, 3) uint8 sRGB, upright.

    Raises:
        UnreadableImage: for bytes that are damaged or no image.
    """
    if not content:
        raise UnreadableImage("the file is empty")
    try:
        image = open_image(io.BytesIO(content))
        _check_pixels(image)
        image.load()
        return np.asarray(_to_srgb(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImage("the image has too many pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage("not a known image format") from error
    except _DAMAGE as error:
        raise UnreadableImage(f"the image is damaged: {' '.join(str(error).split())}") from error


def decode_pixels(image: Image.Image) -> np.ndarray:
    """Convert an opened Pillow image to (H, W, 3) uint8 sRGB, upright, by the rules of this module.

    Raises:
        UnreadableImage: for an image that is damaged or whose white is unknown.
    """
    try:
        image.load()
        return np.asarray(_to_srgb(image))
    except _DAMAGE as error:
        raise UnreadableImage(f"the image is damaged: {' '.join(str(error).split())}") from error


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image file with Pillow without decoding its pixels.

    The format is found from the content, not from the name.

    Raises:
        UnreadableImage: for a format that needs a plugin which is not installed.
        UnidentifiedImageError: for bytes that are not an image.
    """
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        # Phones and messengers save HEIC files with the suffix .jpg.
        if (wanted := missing_plugin(file.read(32))) is not None:
            raise UnreadableImage(f"this format needs a plugin: pip install {wanted}") from None
        if not load_plugins():
            raise
        file.seek(0)
    return Image.open(file)


def _check_pixels(image: Image.Image) -> None:
    # Pillow only warns up to twice its limit. The warning is not turned into an error here: warning filters belong to
    # the whole process, and threads that change them at the same time leave them changed.
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImage("the image has too many pixels")


def is_gray(rgb: np.ndarray) -> bool:
    """Return whether all channels of a decoded image, (H, W, 3), are equal within 2 of 255, everywhere."""
    # A few rows are enough for nearly every image.
    for part in (rgb[:: max(1, len(rgb) // 8)], rgb):
        red, green, blue = (part[..., channel].astype(np.int16) for channel in range(3))
        spread = max(int(np.abs(red - green).max()), int(np.abs(green - blue).max()), int(np.abs(red - blue).max()))
        if spread > GRAY_TOLERANCE:
            return False
    return True


def _to_srgb(image: Image.Image) -> Image.Image:
    image = _upright(image)
    profile = image.info.get("icc_profile")
    see_through = image.has_transparency_data
    if image.mode == "RGB" and not profile and not see_through:
        return image  # nearly every image
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    elif see_through:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _applied(ImageCms.buildTransform(lab, ImageCms.createProfile("sRGB"), "LAB", "RGB"), image)
    transform = _transform(profile, image.mode) if profile else None
    return image.convert("RGB") if transform is None else _applied(transform, image)


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it copies every image, and fails if it cannot write the EXIF again.
    try:
        method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return image
    return image if method is None else image.transpose(method)


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    white = 1 if image.mode == "F" else 65535
    # Not "between 0 and white": NaN must fail, too.
    if not (values.min() >= 0 and values.max() <= white):
        raise UnreadableImage(f"values of the image are outside 0..{white}, and its white level is unknown")
    return Image.fromarray(np.round(values * (255 / white)).astype(np.uint8))


@lru_cache(maxsize=32)  # a dataset has few profiles; threads may share lcms transforms
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile's colors to sRGB; None if pixels stay unchanged."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Without optimization: with it, lcms makes dark tones of some gray curves 10 of 255 too low, and is not faster.
        exact = ImageCms.Flags.NOOPTIMIZE
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", flags=exact)
    except (ImageCms.PyCMSError, *_DAMAGE):
        return None
    if mode != "RGB":
        return transform
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    moved = np.asarray(_applied(transform, Image.fromarray(cube))).astype(np.int16) - cube
    return None if np.abs(moved).max() <= _SAME_COLOR else transform


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # None is returned only for in-place conversion
    return converted
