"""Safe decoding of untrusted saved images: bounded in size before decoding, and any fault is one error."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image

from colorbench.storage.limits import LARGEST_SIDE

METADATA = ("exif", "xmp", "icc_profile")


class InvalidImage(Exception):
    """Bytes that are not an image of the expected kind."""


class SavedPixels(NamedTuple):
    """A decoded saved image."""

    image: Image.Image
    """8-bit RGB."""
    format: str
    """``WEBP`` or ``PNG``."""
    carries_more: bool
    """Whether the file holds metadata (EXIF, XMP, a color profile) or bytes after the image: they may name somebody."""


def decode_saved_image(
    data: bytes, *, formats: tuple[str, ...] = ("WEBP", "PNG"), largest_side: int = LARGEST_SIDE
) -> SavedPixels:
    """Decode the bytes of an untrusted saved image.

    Args:
        data: bytes of the file.
        formats: accepted formats; the format is found from the content.
        largest_side: largest accepted height or width in pixels, checked before decoding.

    Raises:
        InvalidImage: for anything else, and for an image of several frames.
    """
    try:
        with Image.open(io.BytesIO(data), formats=formats) as opened:
            if max(opened.size) > largest_side:
                raise InvalidImage(f"the image has more than {largest_side} pixels on a side")
            if getattr(opened, "n_frames", 1) != 1:
                raise InvalidImage("the image has several frames")
            format = str(opened.format)
            more = any(opened.info.get(name) for name in METADATA)
            if format == "WEBP":
                more = more or int.from_bytes(data[4:8], "little") + 8 != len(data)
            return SavedPixels(opened.convert("RGB"), format, more)
    except InvalidImage:
        raise
    except Exception as error:  # untrusted bytes make decoders raise any error, such as struct.error
        raise InvalidImage("the image cannot be decoded") from error
