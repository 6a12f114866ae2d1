"""``list_models``, ``list_protocols`` and ``list_datasets``, which import no torch."""

from __future__ import annotations

from fnmatch import fnmatchcase

from colorbench.plugin_descriptions import listed
from colorbench.registry import registered


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of installed models, one per tag.

    Args:
        pattern: pattern that names must match, such as ``zoo/*`` or ``*.untrained``.
    """
    return [row["name"] for row in listed("models") if fnmatchcase(row["name"], pattern)]


def list_protocols(pattern: str = "*") -> list[str]:
    """Return the names of installed protocols.

    Args:
        pattern: pattern that names must match.
    """
    return [plugin.name for plugin in registered("protocols") if fnmatchcase(plugin.name, pattern)]


def list_datasets(pattern: str = "*") -> list[str]:
    """Return the names of installed datasets that need no folder.

    Args:
        pattern: pattern that names must match.
    """
    from colorbench.data.sources.packaged import SAMPLES

    names = [SAMPLES, *(plugin.name for plugin in registered("datasets"))]
    return [name for name in names if fnmatchcase(name, pattern)]
