"""Titles and details of installed plugins for ``list`` and ``show``, without importing the included ones.

A package with models or protocols may contain a file ``colorbench.json`` in its top-level package, with title, role and
tags of each model and title, version, presets and headline metric of each protocol, by the names of their entry points.
``details`` has what ``show`` prints, by tag or preset (``""`` without one), and ``results`` its results by tag and
protocol. Plugins of packages without this file are imported. ``catalog`` generates its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from colorbench import registry
from colorbench.description_files import stored_description
from colorbench.errors import PluginError, UserError
from colorbench.registry import OWN, Kind, Plugin, split_tag

SHOWN_ONLY = ("details", "results")
"""Fields that the list does not contain."""


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
            about = stored_description(plugin) or _describe(plugin)
        except UserError as error:
            rows.append({"name": plugin.name, "error": str(error)})
            continue
        about = {key: value for key, value in about.items() if key not in SHOWN_ONLY}
        tags = about.pop("tags", None)
        if not tags:
            rows.append({"name": plugin.name, **about})
        for position, (tag, title) in enumerate((tags or {}).items()):
            default = {"default_of": plugin.name} if position == 0 else {}
            rows.append({"name": f"{plugin.name}.{tag}", **about, "title": title, **default})
    return rows


def stored_details(kind: Kind, name: str) -> dict[str, Any] | None:
    """Return what ``show`` prints about a model or protocol, from the file of its package.

    Args:
        kind: ``models`` or ``protocols``.
        name: full name, with or without a tag or preset.

    Returns:
        Values by heading; None for a plugin that must be imported: the file does not describe it, or a model's weights
        were downloaded, so that its details are those of the loaded model.

    Raises:
        UserError: for an unknown name.
    """
    base, variant = split_tag(name) if kind == "models" else (name.partition("@")[0], name.partition("@")[2])
    plugin = registry.find(kind, base, name)
    about = stored_description(plugin) or {}
    details = about.get("details", {}).get(variant or next(iter(about.get("tags", ())), ""))
    if not isinstance(details, dict) or not all(isinstance(details.get(key), str) for key in ("name", "title")):
        return None
    if (kind == "protocols" and name != details["name"]) or _is_downloaded(details.get("download")):
        return None
    if details.get("package"):
        details = {**details, "package": f"{plugin.distribution} {plugin.version}"}
    return details


def _is_downloaded(address: object) -> bool:
    """Return whether the weights at an address are in the cache."""
    from colorbench.storage.cache_folders import downloaded_file

    return isinstance(address, str) and downloaded_file(address).is_file()


def results_of(model: str) -> dict[str, dict[str, str]]:
    """Return a model's results by tag (``""`` without tags) and protocol, from the file of its package."""
    for plugin in registry.registered("models"):
        if plugin.name == split_tag(model)[0] and (about := stored_description(plugin)) is not None:
            found = about.get("results", {})
            return {tag: dict(results) for tag, results in found.items() if isinstance(results, dict)}
    return {}


def headline_of(protocol: str) -> str | None:
    """Return the headline metric of a protocol, without importing an included one; None if it is not installed."""
    for plugin in registry.registered("protocols"):
        if plugin.name == protocol and (about := stored_description(plugin)) is not None and "headline" in about:
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
    """Return the content of ``colorbench.json``, without results, per top-level package of colorbench's own plugins.

    Details of models whose weights are downloaded are those without the weights if the cache does not contain them.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    kinds: tuple[Kind, ...] = ("models", "protocols")
    for kind in kinds:
        for plugin in registry.registered(kind):
            if plugin.distribution == OWN:
                package = found.setdefault(plugin.point.module.partition(".")[0], {})
                about = _describe(plugin)
                package.setdefault(kind, {})[plugin.point.name] = {**about, "details": _details(plugin, about)}
    return found


def _details(plugin: Plugin, about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Import a plugin and return its details per tag or preset, as JSON stores them."""
    from colorbench.plugin_details import model_details, protocol_details

    details: dict[str, Any] = {}
    if plugin.kind == "models":
        for tag in about.get("tags", ("",)):
            details[tag] = model_details(f"{plugin.name}.{tag}" if tag else plugin.name)
    else:
        for name in (plugin.name, *about["presets"]):
            details[name.partition("@")[2]] = protocol_details(name)
    for one in details.values():
        if one.get("package"):
            one["package"] = OWN  # without the version, which the installed package has
    stored: dict[str, dict[str, Any]] = json.loads(json.dumps(details))
    return stored
