"""One file to upright 8-bit sRGB; what every odd format becomes is decided here and nowhere else.

- EXIF rotation is applied: a photograph is evaluated as it is seen.
- An embedded profile other than sRGB (Display P3, Adobe RGB, CMYK ones) is converted to sRGB; a broken one is ignored.
- CMYK without a profile goes by Pillow's formula. 16 bits become 8 by dividing by 257, not by clipping.
- Transparency lies on white, as a viewer shows it. Palettes are looked up. Of many frames the first counts.
- Truncated, empty, oversized and other unreadable files raise ``UnreadablePhotograph`` with one line.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from colorbench.data.dataset import Photograph, Sample

GRAY_TOLERANCE = 2  # of 255: JPEG's chroma rounding leaves as much in a photograph without colour


class UnreadablePhotograph(Exception):
    """A file that is no readable picture; says why in one line. The engine counts it as skipped."""


def decode(sample: Sample) -> Photograph:
    """Read and decode one photograph.

    Raises:
        UnreadablePhotograph: for a file that is missing, damaged or no picture.
    """
    try:
        content = sample.path.read_bytes()
    except OSError as error:
        raise UnreadablePhotograph(f"cannot read the file: {error.strerror}") from error
    rgb = decode_bytes(content)
    gray = is_gray(rgb)
    return Photograph(sample.id, rgb, hashlib.sha256(content).hexdigest(), gray, sample.label)


def decode_file(path: Path) -> Photograph:
    """``decode`` for a path alone; its id is the file's name."""
    return decode(Sample(path.name, path))


def decode_bytes(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8 sRGB, upright, of a file's bytes."""
    if not content:
        raise UnreadablePhotograph("the file is empty")
    try:
        with warnings.catch_warnings():
            # Beyond Pillow's limit of pixels a file is more likely an attack than a photograph.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)
            image = Image.open(io.BytesIO(content))
            image.load()
            return np.asarray(_to_srgb(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadablePhotograph("the picture has too many pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadablePhotograph("the file is no picture of a known format") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, MemoryError) as error:
        # Pillow's decoders raise all of these for damaged files.
        raise UnreadablePhotograph(f"the picture is damaged: {' '.join(str(error).split())}") from error


def is_gray(rgb: np.ndarray) -> bool:
    """Whether all three channels of (H, W, 3) are equal within 2 of 255, everywhere."""
    # A few rows settle nearly every photograph.
    for part in (rgb[:: max(1, len(rgb) // 8)], rgb):
        red, green, blue = (part[..., channel].astype(np.int16) for channel in range(3))
        spread = max(int(np.abs(red - green).max()), int(np.abs(green - blue).max()), int(np.abs(red - blue).max()))
        if spread > GRAY_TOLERANCE:
            return False
    return True


def _to_srgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile")
    if image.mode == "RGB" and not profile:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.mode == "P" or image.mode == "PA":
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _from_profile(image, profile)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F":
        scaled = values * (255 if values.max() <= 1 else 1)
    else:
        scaled = values / (257 if values.max() > 255 else 1)
    return Image.fromarray(np.clip(np.round(scaled), 0, 255).astype(np.uint8))


def _from_profile(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # viewers ignore a profile they cannot read, too
    return image if converted is None else converted
