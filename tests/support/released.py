"""Models whose weights do not come along."""

from __future__ import annotations

from colorbench.registry import Plugin


def downloaded(plugin: Plugin) -> bool:
    """Whether a model's default weights would have to be downloaded."""
    return hasattr(plugin.load(), "address")
