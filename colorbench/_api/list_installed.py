"""What is installed, by name; no torch is imported for it."""

from __future__ import annotations

from fnmatch import fnmatchcase

from colorbench.plugin_descriptions import listed
from colorbench.registry import registered


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of installed models, one per tag.

    Args:
        pattern: only names that match, such as ``zoo/*`` or ``*.untrained``.
    """
    return [row["name"] for row in listed("models") if fnmatchcase(row["name"], pattern)]


def list_protocols(pattern: str = "*") -> list[str]:
    """Return the names of installed protocols.

    Args:
        pattern: only names that match.
    """
    return [plugin.name for plugin in registered("protocols") if fnmatchcase(plugin.name, pattern)]


def list_datasets(pattern: str = "*") -> list[str]:
    """Return the names of datasets that need no folder.

    Args:
        pattern: only names that match.
    """
    from colorbench.data.sources.packaged import SAMPLES

    names = [SAMPLES, *(plugin.name for plugin in registered("datasets"))]
    return [name for name in names if fnmatchcase(name, pattern)]
