"""Recognition of image files by their suffix, in upper or lower case, and Pillow's plugins for further formats.

Pillow reads the formats in ``SUFFIXES`` itself. Those in ``PLUGINS`` are read if the plugin is installed.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import PurePosixPath

from PIL import features

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
        *(".tif", ".tiff", ".gif", ".ppm", ".jp2"),
        *((".avif",) if features.check("avif") else ()),
    }
)
PLUGINS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), ("pillow_heif", "pillow-heif")),
    **({} if features.check("avif") else {".avif": ("pillow_avif", "pillow-avif-plugin")}),
    ".jxl": ("pillow_jxl", "pillow-jxl-plugin"),
}
"""Suffix -> (Pillow's plugin module, package to install)."""


def is_image(name: str) -> bool:
    """Return whether a file's suffix is that of a readable image format."""
    suffix = suffix_of(name)
    return suffix in SUFFIXES or (suffix in PLUGINS and load_plugin(PLUGINS[suffix][0]))


def suffix_of(name: str) -> str:
    """Return the suffix that tells an image's format, in lower case, with its dot; empty for a name without one."""
    return PurePosixPath(name).suffix.lower()


def without_suffix(name: str) -> str:
    """Return a path without an image suffix; other suffixes, as in ``night.v2``, are kept."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in SUFFIXES or suffix in PLUGINS else name


def readable() -> str:
    """Return the suffixes of readable image formats as text for messages."""
    return ", ".join(sorted(SUFFIXES | {suffix for suffix, (module, _) in PLUGINS.items() if load_plugin(module)}))


@cache
def load_plugin(module: str) -> bool:
    """Register the image format of a plugin with Pillow; return whether that worked."""
    try:
        found = import_module(module)
        register = getattr(found, "register_heif_opener", None)
        if register is not None:
            register()
    except Exception:  # missing or broken: its files are ignored and reported
        return False
    return True


def load_plugins() -> bool:
    """Register every image format whose plugin is installed; return whether there is any."""
    loaded = [load_plugin(module) for module, _ in dict.fromkeys(PLUGINS.values())]
    return any(loaded)


def missing_plugin(head: bytes) -> str | None:
    """Return the package that reads the image format of a file with these first bytes; None if none would."""
    kind = _format_of(head)
    return PLUGINS[kind][1] if kind in PLUGINS and not load_plugin(PLUGINS[kind][0]) else None


_BRANDS = {
    ".heic": (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"),
    ".avif": (b"avif", b"avis"),
}
"""Bytes 8 to 12 of a file whose bytes 4 to 8 are ``ftyp`` (ISO/IEC 14496-12)."""


def _format_of(head: bytes) -> str | None:
    """Return the suffix of a format that needs a plugin, from a file's first bytes."""
    if head[:2] == b"\xff\x0a" or head[:12] == b"\0\0\0\x0cJXL \r\n\x87\n":
        return ".jxl"
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    return next((suffix for suffix, brands in _BRANDS.items() if brand in brands), None)
