"""One file to upright 8-bit sRGB; what every odd format becomes is decided here and nowhere else.

- Rotation in EXIF is applied: an image is evaluated as it is seen. Broken EXIF is ignored, as viewers do.
- An embedded profile is converted to sRGB (Display P3, Adobe RGB, gray and CMYK ones; perceptual intent). One that
  moves no color by more than 2 of 255 is sRGB under whatever name, and the pixels stay as they are; one that cannot
  be read, or is meant for another kind of image, is ignored.
- CMYK without a profile goes by Pillow's formula, (255 - C)(255 - K)/255: it names no inks, so nothing better is known.
- 16 bits are scaled to 8, not clipped: gray by dividing by 257, color by its high byte (at most 1 of 255 apart).
  Floats are read as 0..1. Values beyond such a range have no known white: unreadable.
- Transparency lies on white, as a page shows it; what is hidden below it may be anything. Palettes are looked up.
- Of many frames the first counts.
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

GRAY_TOLERANCE = 2  # of 255: JPEG's chroma rounding leaves as much in an image without color
_SAME_COLOR = 2  # of 255: two writings of the sRGB curve differ by as much after rounding

# Pillow's readers raise all of these for damaged files (RuntimeError: AVIF). MemoryError is not among them: a machine
# that is full says nothing about the file.
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
"""What undoes each orientation of EXIF (tag 0x0112)."""


class UnreadableImage(Exception):
    """A file that is no readable image; says why in one line. The engine counts it as skipped."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes of an image file tell; its pixels are not decoded."""

    size: tuple[int, int]
    """(H, W), upright."""
    format: str
    """As Pillow calls it: ``JPEG``."""
    mode: str
    """As Pillow calls it: ``RGB``, ``L``, ``P`` ..."""
    lossy: bool
    sixteen_bits: bool


def read_header(path: Path) -> Header:
    """Read the header of an image file.

    Raises:
        UnreadableImage: as ``decode``.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            file.seek(0)
            image = open_image(file)
            _check_pixels(image)
            # A PNG without EXIF in front would be decoded to look for it at the end.
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
    """
    try:
        content = sample.path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot read the file: {error.strerror}") from error
    rgb = decode_bytes(content)
    return DecodedImage(sample.id, rgb, hashlib.sha256(content).hexdigest(), is_gray(rgb), sample.label)


def decode_file(path: Path) -> DecodedImage:
    """Decode a file by its path alone; its id is the file's name. See ``decode``."""
    return decode_image(Sample(path.name, path))


def decode_bytes(content: bytes) -> np.ndarray:
    """Decode a file's bytes to (H, W, 3) uint8 sRGB, upright.

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
    """Convert an opened image to (H, W, 3) uint8 sRGB, upright; as ``decode`` does.

    Raises:
        UnreadableImage: for an image that is damaged, or whose white is not known.
    """
    try:
        image.load()
        return np.asarray(_to_srgb(image))
    except _DAMAGE as error:
        raise UnreadableImage(f"the image is damaged: {' '.join(str(error).split())}") from error


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image file with Pillow, its pixels not yet decoded.

    The format is that of the bytes, not of the name.

    Raises:
        UnreadableImage: for a format that needs a plugin which is not installed.
        UnidentifiedImageError: for bytes that are no image.
    """
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        # Telephones and messengers save HEIC under names in .jpg.
        if (wanted := missing_plugin(file.read(32))) is not None:
            raise UnreadableImage(f"this format needs a plugin: pip install {wanted}") from None
        if not load_plugins():
            raise
        file.seek(0)
    return Image.open(file)


def _check_pixels(image: Image.Image) -> None:
    # Pillow only warns up to twice its limit. Its warning is not turned into an error here: filters of warnings belong
    # to the whole process, and several threads that change them leave them changed.
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImage("the image has too many pixels")


def is_gray(rgb: np.ndarray) -> bool:
    """Return whether all three channels of (H, W, 3) are equal within 2 of 255, everywhere."""
    # A few rows settle nearly every image.
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
    # Not ImageOps.exif_transpose: it copies every image, and fails where it cannot write the EXIF again.
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


@lru_cache(maxsize=32)  # a set has few profiles; lcms transforms may be shared by threads
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile's colors to sRGB; None where pixels stay as they are."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # As exact as lcms is: optimized, it takes dark tones of some gray curves 10 of 255 too low, and is no faster.
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
    assert converted is not None  # it is None for a change in place only
    return converted
