"""``colorbench.json`` of a package: descriptions of its plugins, which are read without importing them.

``plugin_descriptions`` documents and generates the content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from colorbench.registry import Plugin, registered

FILE = "colorbench.json"
"""File name, in the top-level package of an entry point."""
FIELDS: Mapping[str, type] = {
    "role": str,
    "title": str,
    "version": int,
    "presets": list,
    "headline": str,
    "tags": dict,
    "details": dict,
    "results": dict,
}


def stored_description(plugin: Plugin) -> dict[str, Any] | None:
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


def metric_hint(name: str) -> str | None:
    """Return the hint for the name of a metric where that of a protocol is wanted: which protocols compute it.

    Metrics are looked up in the files of the packages, by name, then by the titles and parameters of the protocols and
    in the explanations of the metrics. None for another name.
    """
    wanted = name.casefold().replace("-", "_")
    if len(wanted) < 3:
        return None
    about = {plugin.name: stored_description(plugin) or {} for plugin in registered("protocols")}
    details = {protocol: _dict(one.get("details", {}).get("")) for protocol, one in about.items()}
    metrics = {protocol: _dict(one.get("metrics")) for protocol, one in details.items()}
    meanings = {
        protocol: _words(" ".join(str(_dict(one).get("meaning")) for one in metrics[protocol].values()))
        for protocol in about
    }
    conditions: tuple[Callable[[str], bool], ...] = (
        lambda protocol: wanted in metrics[protocol],
        lambda protocol: wanted in _words(about[protocol].get("title", "")),
        lambda protocol: any(metric.startswith(f"{wanted}_") for metric in metrics[protocol]),
        lambda protocol: protocol in _MEASURING and wanted in _dict(details[protocol].get("parameters")),
        lambda protocol: wanted in meanings[protocol],
    )
    for is_meant in conditions:
        if found := [protocol for protocol in about if is_meant(protocol)]:
            which = f"the protocol {found[0]} measures" if len(found) == 1 else f"{', '.join(found[:3])} measure"
            return f"{which} it: see `colorbench show {found[0]}`"
    return None


_MEASURING = ("fidelity",)
"""Protocols with parameters that add a metric of their name, such as ``lpips``."""


def _dict(value: object) -> dict[str, Any]:
    """Return a part of a file as a dictionary, empty if it is something else, since packages write their files."""
    return value if isinstance(value, dict) else {}


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


@lru_cache
def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
