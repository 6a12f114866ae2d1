"""Resolution of model names to their source: an installed name, ``file.py:Class``, ``images:DIR``, ``onnx:FILE``."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from colorbench.errors import UnknownNameError, UserError, path_hint
from colorbench.models.foreign_code import one_line, process_state_kept, usage_deferred
from colorbench.models.model_names import IMAGES, ONNX, short_name
from colorbench.registry import OWN, find, nearest, other_kind_hint, registered, split_tag
from colorbench.storage import file_sha256

_FILE_MODULE = "colorbench_file_"
"""Start of the names of modules that are loaded from a file by its path."""


@dataclass(frozen=True)
class ModelSource:
    """Source of a model: its factory, package and requested tag."""

    base: str
    """Full name without tag."""
    asked: str | None
    """Requested tag in the name."""
    factory: Any
    package: str | None
    version: str | None


def find_source(name: str) -> ModelSource:
    """Find the source of a model by its name, and import it.

    Raises:
        UserError: for a name that no model has, or a file without the class.
    """
    if not name.strip():
        raise UserError("the name of the model is empty", hint="`colorbench list` shows all")
    if ":" in name:
        return _from_file(name)
    if name.endswith(".py"):
        raise UserError(f"which model of {name}?", hint=f"write {name}:ClassName")
    if name.endswith(".onnx"):
        raise UserError(f"no model {name!r}: names of ONNX files have a prefix", hint=f"write {ONNX}{name}")
    base, asked = split_tag(name)
    known = [plugin.name for plugin in registered("models")]
    near = nearest(base, known) if "/" not in name else None
    if base not in known and near is None and os.path.isdir(name):
        raise UserError(
            f"no model {name!r}: this is a folder", hint=f"for a folder of predictions write {IMAGES}{name}"
        )
    if "/" not in name:
        if (swapped := other_kind_hint("models", name)) is not None:
            raise UnknownNameError(f"no model {name!r}", hint=swapped)
        hint = f"did you mean {near}?" if near else "`colorbench list` shows all."
        raise UnknownNameError(
            f"no model {name!r}: model names have a prefix", hint=f"{hint} For images: {IMAGES}FOLDER"
        )
    plugin = find("models", base, name)
    with process_state_kept():
        factory = plugin.load()
    return ModelSource(
        base, asked, factory, plugin.distribution, _version(plugin.distribution, plugin.version, factory)
    )


def _from_file(name: str) -> ModelSource:
    """Load ``file.py:Class``."""
    text, _, attribute = name.rpartition(":")
    path, (attribute, asked) = Path(text), split_tag(attribute)
    if path.suffix != ".py" or not attribute.isidentifier():
        hint = f"write PREFIX/NAME, FILE.py:CLASS, {ONNX}FILE or {IMAGES}FOLDER"
        raise UserError(f"no model {name!r}", hint=hint)
    if not path.is_file():
        raise UserError("no such file", where=text, hint=path_hint(path))
    path = path.resolve()  # one canonical name per file
    module = _import_file(path)
    if not hasattr(module, attribute):
        classes = [key for key, value in vars(module).items() if _defined_in(value, module)]
        near = nearest(attribute, classes)
        hint = f"did you mean {near}?" if near else f"it has {', '.join(classes) or 'no class'}"
        raise UserError(f"no class {attribute!r} in this file", where=text, hint=hint)
    version = f"sha256 {file_sha256(path)[:12]}"
    return ModelSource(f"{short_name(path)}:{attribute}", asked, getattr(module, attribute), None, version)


def class_label(kind: type) -> str:
    """Return a class as ``module:Class``, or ``file.py:Class`` where it was loaded from a file by its path."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    module = Path(file).name if file and kind.__module__.startswith(_FILE_MODULE) else kind.__module__
    return f"{module}:{kind.__qualname__}"


def module_name(kind: type) -> str:
    """Return the module of a class; for ``__main__`` the name of the module or script that runs.

    A notebook has neither: it is ``notebook``, and Python's prompt or ``python -c`` is ``interactive``.
    """
    if kind.__module__ not in ("__main__", "builtins"):
        return kind.__module__
    main = sys.modules.get("__main__")
    if (spec := getattr(main, "__spec__", None)) is not None:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    if (file := getattr(main, "__file__", None)) is not None:
        return Path(file).stem
    return "notebook" if "ipykernel" in sys.modules else "interactive"


def _import_file(path: Path) -> ModuleType:
    name = f"{_FILE_MODULE}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # for imports from its folder; last, so that they hide no installed package
    try:
        with one_line("this file cannot be imported", where=str(path), hint="fix it"), usage_deferred():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _defined_in(value: Any, module: ModuleType) -> bool:
    return inspect.isclass(value) and value.__module__ == module.__name__


def _version(distribution: str, version: str, factory: Any) -> str:
    """Return the version of an installed package, with a hash of the code for an editable install."""
    if distribution == OWN:
        return version  # the record has its git commit
    try:
        about = json.loads(metadata.distribution(distribution).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return version
    source = inspect.getsourcefile(factory) if inspect.isclass(factory) or inspect.isfunction(factory) else None
    if source is None or not about.get("dir_info", {}).get("editable"):
        return version
    return f"{version}+sha256.{file_sha256(Path(source))[:12]}"
