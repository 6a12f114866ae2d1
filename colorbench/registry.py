"""Registry of installed plugins (models, protocols, datasets, commands), found through entry points.

A plugin is one line in a package's ``pyproject.toml``, also for colorbench's own models and protocols. Listing reads
only metadata of packages: a plugin is imported on request, and a broken one does not affect others.

    [project.entry-points."colorbench.models"]
    warm = "warm:Warm"        # becomes <name of the package>/warm
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from colorbench.errors import PluginError, UnknownNameError, UserError, describe

Kind = Literal["models", "protocols", "datasets", "commands"]
OWN = "colorbench"
"""Name of our own distribution: its models have the prefix ``zoo/``, its other plugins have none."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin, not yet imported."""

    kind: Kind
    name: str
    """Full name without tag: ``zoo/cic``, ``auc``, ``warm-colors/warm``."""
    distribution: str
    """Normalized name of its package (lower case, ``-``)."""
    version: str
    """Version of the package."""
    point: EntryPoint = field(repr=False)
    problem: str | None = None
    """Reason why it cannot be used, if known without importing it."""

    @property
    def where(self) -> str:
        """Package and entry point, for errors."""
        return f'package {self.distribution}, entry point {self.point.name} = "{self.point.value}"'

    def load(self) -> Any:
        """Import the plugin's object.

        Raises:
            UserError: if it cannot be used, naming the plugin.
        """
        if self.problem is not None:
            raise PluginError(self.problem, where=self.where)
        if self.distribution == OWN:
            _refuse_shadow(self.point.module.partition(".")[0])
        try:
            return self.point.load()
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # importing foreign code may raise any error
            raise PluginError(
                f"{self.name} cannot be imported: {describe(error)}",
                where=self.where,
                hint=f"fix or uninstall {self.distribution}; everything else works without it",
            ) from error

    def error(self) -> str | None:
        """Import the plugin and return the reason why it cannot be used, in one line; None if it can."""
        try:
            self.load()
        except UserError as error:
            return str(error)
        return None


def registered(kind: Kind) -> tuple[Plugin, ...]:
    """Return all installed plugins of a kind without importing them, our own first, then by name."""
    packages: dict[int, tuple[str, str]] = {}  # read once, since each access reads the package's metadata
    plugins = []
    for point in entry_points(group=f"{OWN}.{kind}"):
        if id(point.dist) not in packages:
            packages[id(point.dist)] = _package(point)
        plugins.append(_plugin(kind, point, *packages[id(point.dist)]))
    claims = Counter(plugin.name for plugin in plugins)
    plugins = [_ambiguous(plugin, plugins) if claims[plugin.name] > 1 else plugin for plugin in plugins]
    return tuple(sorted(plugins, key=lambda plugin: (plugin.distribution != OWN, plugin.name, plugin.distribution)))


def find(
    kind: Kind, name: str, asked: str | None = None, otherwise: Callable[[str], str | None] | None = None
) -> Plugin:
    """Return the registered plugin with a full name (without tag).

    Args:
        kind: of plugin.
        name: its full name.
        asked: name as the user gave it, for messages; it may be a path, which has no tag.
        otherwise: returns the hint for a name that is similar to none, or None.

    Raises:
        UnknownNameError: for an unknown name, suggesting the most similar.
        PluginError: for a name that two packages claim.
    """
    known = registered(kind)
    for plugin in known:
        if plugin.name == name:
            if plugin.problem is not None:
                raise PluginError(plugin.problem, where=plugin.where)
            return plugin
    near = nearest(name, (plugin.name for plugin in known))
    hint = other_kind_hint(kind, name) or (f"did you mean {near}?" if near else otherwise and otherwise(name))
    hint = hint or "`colorbench list` shows all"
    if kind == "protocols" and (":" in name or name.endswith(".py")):
        hint = "evaluate a protocol in a file from Python, or register it: docs/add-a-protocol.md"
    raise UnknownNameError(f"no {kind.removesuffix('s')} {asked or name!r}", hint=hint)


def other_kind_hint(kind: Kind, name: str) -> str | None:
    """Return the hint for a protocol that is given as a model, or a model as a protocol; None for another name."""
    if kind not in ("models", "protocols"):
        return None
    other: Kind = "protocols" if kind == "models" else "models"
    base = name.partition("@")[0] if other == "protocols" else split_tag(name.partition("[")[0])[0]
    if base not in (plugin.name for plugin in registered(other)):
        return None
    one = other.removesuffix("s")
    return f"this is a {one}: give it by --{one}, and the {kind.removesuffix('s')} by --{kind.removesuffix('s')}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the registered name most similar to an unknown one, also by its last part (``garay`` -> ``zoo/gray``)."""
    names = list(known)
    full = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    if full:
        return full[0]
    by_last = {other.rpartition("/")[2]: other for other in reversed(names)}
    last = difflib.get_close_matches(name.rpartition("/")[2].lower(), by_last, n=1)
    return by_last[last[0]] if last else None


def split_tag(name: str) -> tuple[str, str | None]:
    """Split a plugin's name and its tag: ``zoo/cic.small`` -> (``zoo/cic``, ``small``); the tag is None if missing."""
    folder, slash, last = name.rpartition("/")
    base, dot, tag = last.partition(".")
    return f"{folder}{slash}{base}", tag if dot else None


def _refuse_shadow(package: str) -> None:
    """Raise if a folder or file of the user hides one of our packages (``zoo``, ``protocols``).

    Python may search the current folder first (``python -m colorbench``, or PYTHONPATH), and the names are common.

    Raises:
        UserError: naming the folder or file.
    """
    ours = Path(__file__).resolve().parent.parent / package
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return  # not found: the import itself raises the error
    found = Path(spec.origin).resolve()
    if found.parent != ours:
        in_the_way = found.parent if found.name == "__init__.py" else found
        raise UserError(
            f"{in_the_way.name} shadows colorbench's own package {package!r}",
            where=str(in_the_way),
            hint="rename it, or start colorbench from another folder",
        )


def _package(point: EntryPoint) -> tuple[str, str]:
    """Return the normalized name and the version of an entry point's package."""
    if point.dist is None:
        return "unknown", ""
    return re.sub(r"[-_.]+", "-", point.dist.name).lower(), point.dist.version


def _plugin(kind: Kind, point: EntryPoint, distribution: str, version: str) -> Plugin:
    prefix = distribution if distribution != OWN else "zoo" if kind == "models" else ""
    # Commands have no prefix, since they are typed by hand.
    name = f"{prefix}/{point.name}" if prefix and kind != "commands" else point.name
    problem = None
    if re.search(r"[/.:\s]", point.name):
        problem = f"the entry-point name {point.name!r} must not contain a slash, dot, colon or space"
    return Plugin(kind, name, distribution, version, point, problem)


def _ambiguous(plugin: Plugin, plugins: Iterable[Plugin]) -> Plugin:
    packages = sorted(f"{one.distribution} {one.version}".strip() for one in plugins if one.name == plugin.name)
    return replace(plugin, problem=f"{plugin.name} is claimed by {' and by '.join(packages)}: uninstall one")
