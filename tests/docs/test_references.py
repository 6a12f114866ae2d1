"""Modules, files and names that documents and docstrings mention exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.test_links import documents
from tests.snapshots import PACKAGES

ROOT = Path(__file__).parents[2]
CODE = ("colorbench", "zoo", "protocols", "leaderboards", "benchmarks")
DOTTED = re.compile(r"`+(?:import |from )?((?:colorbench|zoo|protocols|leaderboards|benchmarks)(?:\.[A-Za-z_]\w*)+)")
"""``colorbench.metrics.psnr`` in backticks, also with a call behind it."""
SHORT = re.compile(rf"`+((?:{'|'.join(PACKAGES)})\.[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)`+")
"""``data.folder_walk``: the same without ``colorbench``."""
FILE = re.compile(rf"(?<![\w/.-])((?:{'|'.join(CODE)}|docs|tests)/[\w./-]*\w\.(?:py|pyi|md|txt))(?![\w/*])")
GROUPS = {
    f"colorbench.{kind}" for kind in ("commands", "datasets", "models", "protocols", "reference_models", "PACKAGE")
}
"""Groups of entry points, and a placeholder."""
SUFFIXES = ("json", "html", "csv", "npy", "npz", "parquet", "toml", "onnx", "safetensors", "md", "py", "txt")


def exists(name: str) -> bool:
    """Return whether a dotted name is a module or an attribute below one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            annotated = part in getattr(value, "__annotations__", {})
            if not hasattr(value, part) and not annotated:
                return False
            value = getattr(value, part, None)
        return True
    return False


def unknown(text: str, *, short: bool) -> Iterator[str]:
    """Yield what a text mentions and is not there; ``short``: also names without ``colorbench``."""
    for name in DOTTED.findall(text):
        if name.rpartition(".")[2] not in SUFFIXES and name not in GROUPS and not exists(name):
            yield name
    for name in SHORT.findall(text) if short else ():
        if name.rpartition(".")[2] not in SUFFIXES and not exists(f"colorbench.{name}"):
            yield name
    for path in FILE.findall(text):
        if "NAME" not in path and not (ROOT / path).is_file():
            yield path


def docstrings(path: Path) -> str:
    """Return all docstrings and texts after constants and attributes of a module."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = [node.value.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return "\n".join(text for text in found if isinstance(text, str))


def test_documents_mention_what_is_there() -> None:
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in documents() if path != "CHANGELOG.md"}
    found = {path: sorted(set(unknown(text, short=False))) for path, text in texts.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_docstrings_mention_what_is_there() -> None:
    paths = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 300
    found = {str(path.relative_to(ROOT)): sorted(set(unknown(docstrings(path), short=True))) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "text",
    [
        "`colorbench.nothing`",
        "``colorbench.metrics.nothing(x)``",
        "``data.nothing``",
        "see colorbench/nothing.py",
        "`zoo.x`",
    ],
)
def test_what_is_not_there_is_found(text: str) -> None:
    assert list(unknown(text, short=True))


@pytest.mark.parametrize(
    "text",
    [
        "`colorbench.metrics.psnr(a, b)`",
        "``results.Record.metrics``",
        "colorbench/cli/run.py",
        "`colorbench.json`",
        "`data.csv`",
    ],
)
def test_what_is_there_is_accepted(text: str) -> None:
    assert not list(unknown(text, short=True))
