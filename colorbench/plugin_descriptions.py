"""Titles and details of installed plugins for ``colorbench list``, without importing the included ones.

A package with models or protocols may contain a file ``colorbench.json`` in its top-level package, with title, role and
tags of each model and title, version, presets and headline metric of each protocol, by the names of their entry points.
Plugins of packages without this file are imported for the list. ``describe`` generates its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from colorbench import registry
from colorbench.errors import PluginError, UserError
from colorbench.registry import Kind, Plugin

FILE = "colorbench.json"
"""File name, in the top-level package of an entry point."""
FIELDS: Mapping[str, type] = {"role": str, "title": str, "version": int, "presets": list, "headline": str, "tags": dict}


def listed(kind: Kind) -> list[dict[str, Any]]:
    """Return a description per plugin: ``name``, ``title`` and other details, or ``error`` for an unusable one.

    Args:
        kind: ``models`` (a row per tag; the first is the default) or ``protocols``.
    """
    rows: list[dict[str, Any]] = []
    for plugin in registry.registered(kind):
        try:
            if plugin.problem is not None:
                raise PluginError(plugin.problem, where=plugin.where)
            about = _stored(plugin) or _describe(plugin)
        except UserError as error:
            rows.append({"name": plugin.name, "error": str(error)})
            continue
        tags = about.pop("tags", None)
        if not tags:
            rows.append({"name": plugin.name, **about})
        for position, (tag, title) in enumerate((tags or {}).items()):
            default = {"default_of": plugin.name} if position == 0 else {}
            rows.append({"name": f"{plugin.name}.{tag}", **about, "title": title, **default})
    return rows


def headline_of(protocol: str) -> str | None:
    """Return the headline metric of a protocol, without importing an included one; None if it is not installed."""
    for plugin in registry.registered("protocols"):
        if plugin.name == protocol and (about := _stored(plugin)) is not None and "headline" in about:
            return str(about["headline"])
    from colorbench.evaluation import headline_of as headline_of_imported

    return headline_of_imported(protocol)


def _describe(plugin: Plugin) -> dict[str, Any]:
    """Import a plugin (model or protocol) and return its description for ``colorbench.json``.

    Raises:
        UserError: for an unusable plugin.
    """
    if plugin.kind == "protocols":
        from colorbench.evaluation.requested_models_and_protocols import as_protocol

        spec = as_protocol(plugin.load(), plugin.name).spec
        about: dict[str, Any] = {"title": spec.title, "version": spec.version, "presets": list(spec.preset_names)}
        return {**about, "headline": spec.headline}
    from colorbench.models import ModelCard, load_model, tags_of

    factory = plugin.load()
    card = getattr(factory, "card", None)
    if not isinstance(card, ModelCard):
        card = load_model(plugin.name).card
    about = {"role": card.role, "title": card.title}
    return {**about, "tags": dict(tags_of(factory))} if tags_of(factory) else about


def catalog() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the plugin descriptions of ``colorbench.json`` per top-level package of colorbench's own plugins."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    kinds: tuple[Kind, ...] = ("models", "protocols")
    for kind in kinds:
        for plugin in registry.registered(kind):
            if plugin.distribution == "colorbench":
                package = found.setdefault(plugin.point.module.partition(".")[0], {})
                package.setdefault(kind, {})[plugin.point.name] = _describe(plugin)
    return found


def _stored(plugin: Plugin) -> dict[str, Any] | None:
    """Return a plugin's details from its package's ``colorbench.json``; None if missing or invalid."""
    try:
        spec = find_spec(plugin.point.module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        group = _read(Path(folder, FILE)).get(plugin.kind)
        about = group.get(plugin.point.name) if isinstance(group, dict) else None
        if (
            isinstance(about, dict)
            and "title" in about
            and all(isinstance(about.get(key, kind()), kind) for key, kind in FIELDS.items())
        ):
            return {key: about[key] for key in FIELDS if key in about}
    return None


@lru_cache
def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
