"""What is installed: models, protocols, datasets and commands, found through entry points.

A plugin is one line in a package's ``pyproject.toml``; colorbench's own models and protocols come by the same door.
Listing them reads the packages' metadata and imports nothing: a plugin is imported when it is asked for, and one that
cannot be imported breaks no other.

    [project.entry-points."colorbench.models"]
    warm = "warm:Warm"        # becomes <name of the package>/warm
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from colorbench.errors import PluginError, UnknownNameError, UserError, describe

Kind = Literal["models", "protocols", "datasets", "commands"]
OWN = "colorbench"
"""Our own distribution: its models stand under ``zoo/``, the rest of its names have no prefix."""


@dataclass(frozen=True)
class Plugin:
    """Something installed that has not been imported yet."""

    kind: Kind
    name: str
    """Full name, without tag: ``zoo/cic``, ``auc``, ``warm-colors/warm``."""
    distribution: str
    """The package that brings it, its name normalized (lower case, ``-``)."""
    version: str
    """Of that package."""
    point: EntryPoint = field(repr=False)
    problem: str | None = None
    """Why it cannot be used, as far as is known without importing it."""

    @property
    def where(self) -> str:
        """The package and the line that errors name."""
        return f'package {self.distribution}, entry point {self.point.name} = "{self.point.value}"'

    def load(self) -> Any:
        """Import what the entry point names.

        Raises:
            UserError: naming the plugin, if it cannot be used.
        """
        if self.problem is not None:
            raise PluginError(self.problem, where=self.where)
        if self.distribution == OWN:
            refuse_shadow(self.point.module.partition(".")[0])
        try:
            return self.point.load()
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
            raise PluginError(
                f"{self.name} cannot be imported: {describe(error)}",
                where=self.where,
                hint=f"fix or uninstall {self.distribution}; everything else works without it",
            ) from error

    def error(self) -> str | None:
        """Return why it cannot be used, in one line; None if it can.

        The plugin is imported for that.
        """
        try:
            self.load()
        except UserError as error:
            return str(error)
        return None


def registered(kind: Kind) -> tuple[Plugin, ...]:
    """Return everything of a kind that is installed, our own first, then by name; imports nothing."""
    packages: dict[int, tuple[str, str]] = {}  # asked once: each call reads the package's metadata again
    plugins = []
    for point in entry_points(group=f"{OWN}.{kind}"):
        if id(point.dist) not in packages:
            packages[id(point.dist)] = _package(point)
        plugins.append(_plugin(kind, point, *packages[id(point.dist)]))
    claims = Counter(plugin.name for plugin in plugins)
    plugins = [_ambiguous(plugin, plugins) if claims[plugin.name] > 1 else plugin for plugin in plugins]
    return tuple(sorted(plugins, key=lambda plugin: (plugin.distribution != OWN, plugin.name, plugin.distribution)))


def find(kind: Kind, name: str) -> Plugin:
    """Return the plugin of a full name (without tag).

    Raises:
        UnknownNameError: for an unknown name, suggesting the nearest.
        PluginError: for a name that two packages claim.
    """
    known = registered(kind)
    for plugin in known:
        if plugin.name == name:
            if plugin.problem is not None:
                raise PluginError(plugin.problem, where=plugin.where)
            return plugin
    near = nearest(name, (plugin.name for plugin in known))
    hint = f"did you mean {near}?" if near else "`colorbench list` shows all"
    raise UnknownNameError(f"no {kind.removesuffix('s')} {name!r}", hint=hint)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant.

    It is near as a whole, or in its last part (``garay`` -> ``zoo/gray``).
    """
    names = list(known)
    full = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    if full:
        return full[0]
    by_last = {other.rpartition("/")[2]: other for other in reversed(names)}
    last = difflib.get_close_matches(name.rpartition("/")[2].lower(), by_last, n=1)
    return by_last[last[0]] if last else None


def split_tag(name: str) -> tuple[str, str | None]:
    """Split a name from its tag: ``zoo/cic.small`` -> (``zoo/cic``, ``small``); the tag is None where there is none."""
    folder, slash, last = name.rpartition("/")
    base, dot, tag = last.partition(".")
    return f"{folder}{slash}{base}", tag if dot else None


def refuse_shadow(package: str) -> None:
    """Refuse to go on where a folder or file of the user's hides one of our packages (``zoo``, ``protocols``).

    Python looks into the current folder first (``python -m colorbench``, or PYTHONPATH), and the names are common.

    Raises:
        UserError: naming the folder in the way.
    """
    ours = Path(__file__).resolve().parent.parent / package
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return  # not there at all: the import itself says so
    found = Path(spec.origin).resolve()
    if found.parent != ours:
        in_the_way = found.parent if found.name == "__init__.py" else found
        raise UserError(
            f"{in_the_way.name} shadows colorbench's own package {package!r}",
            where=str(in_the_way),
            hint="rename it, or start colorbench from another folder",
        )


def _package(point: EntryPoint) -> tuple[str, str]:
    """Return the normalized name and the version of the package that brings an entry point."""
    if point.dist is None:
        return "unknown", ""
    return re.sub(r"[-_.]+", "-", point.dist.name).lower(), point.dist.version


def _plugin(kind: Kind, point: EntryPoint, distribution: str, version: str) -> Plugin:
    prefix = distribution if distribution != OWN else "zoo" if kind == "models" else ""
    # Commands are typed by hand, and `colorbench warm-colors/paint` is no word.
    name = f"{prefix}/{point.name}" if prefix and kind != "commands" else point.name
    problem = None
    if re.search(r"[/.:\s]", point.name):
        problem = f"the entry-point name {point.name!r} must not contain a slash, dot, colon or space"
    return Plugin(kind, name, distribution, version, point, problem)


def _ambiguous(plugin: Plugin, plugins: Iterable[Plugin]) -> Plugin:
    packages = sorted(f"{one.distribution} {one.version}".strip() for one in plugins if one.name == plugin.name)
    return replace(plugin, problem=f"{plugin.name} is claimed by {' and by '.join(packages)}: uninstall one")
