"""Public names say what they do, with shapes and errors."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import colorbench

IMPERATIVES = frozenset((Path(__file__).parent / "imperatives.txt").read_text().split())
"""First words of docstrings; a verb that is missing there may be added."""
SHAPE = re.compile(r"\((\.\.\.|[A-Za-z]\w*|\d+),(?=[^()]*\))[^()]*(\([^()]*\)[^()]*)*\)|scalar")
"""``(N, 2, H, W)``, ``(n,)``, ``(..., 313)``."""


def public() -> Iterator[tuple[str, Any]]:
    """Yield every public name of the library with its value."""
    packages = ["colorbench", "colorbench.errors"]
    packages += [info.name for info in pkgutil.iter_modules(colorbench.__path__, "colorbench.") if info.ispkg]
    for package in packages:
        module = import_module(package)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not inspect.ismodule(value) and name != "__version__":
                yield f"{package}.{name}", value


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public functions, and the public methods of public classes of the library, each once."""
    seen = set()
    for name, value in public():
        candidates = [(name, value)]
        if inspect.isclass(value):
            candidates = [(f"{name}.{key}", part) for key, part in vars(value).items() if not key.startswith("_")]
        for path, candidate in candidates:
            function = inspect.unwrap(getattr(candidate, "__func__", candidate))
            if inspect.isfunction(function) and function not in seen and function.__module__.startswith("colorbench."):
                seen.add(function)
                yield path, function


def first_word(function: Callable[..., Any]) -> str:
    """Return the first word of a docstring; empty without one."""
    words = (inspect.getdoc(function) or "").split()
    return words[0].strip(".,:;") if words else ""


def raised(function: Callable[..., Any]) -> set[str]:
    """Return the names of the exceptions that a function's own code raises, those of functions within it left out."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    found, stack = set(), list(ast.iter_child_nodes(tree))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func).rpartition(".")[2])
        stack += ast.iter_child_nodes(node)
    return found - {"AttributeError", "StopIteration", "NotImplementedError", "Exit"}


def mentions_arrays(function: Callable[..., Any]) -> bool:
    """Return whether a parameter or the result is a tensor or an array, alone or in a tuple; mappings are not asked."""
    hints = " ".join(str(hint) for hint in function.__annotations__.values())
    plain = re.sub(r"(Mapping|dict|Callable)\[[^\[\]]*(\[[^\]]*\][^\[\]]*)*\]", "", hints)
    return re.search(r"\b(Tensor|ndarray)\b", plain) is not None


def test_every_public_name_has_a_docstring() -> None:
    asked = [(name, value) for name, value in public() if inspect.isclass(value) or inspect.isroutine(value)]
    assert len(asked) > 150
    assert [name for name, value in asked if not (inspect.getdoc(value) or "").strip()] == []


def test_docstrings_start_with_an_imperative() -> None:
    assert {name: word for name, function in functions() if (word := first_word(function)) not in IMPERATIVES} == {}


def test_docstrings_state_the_shapes_of_arrays() -> None:
    asked = [(name, function) for name, function in functions() if mentions_arrays(function)]
    assert len(asked) > 50
    assert [name for name, function in asked if not SHAPE.search(inspect.getdoc(function) or "")] == []


def test_docstrings_state_what_is_raised() -> None:
    found = {name: raised(function) for name, function in functions()}
    assert sum(map(bool, found.values())) > 30
    docs = {name: (inspect.getdoc(function) or "").partition("Raises:")[2] for name, function in functions()}
    assert {name: errors for name, errors in found.items() if errors and not docs[name]} == {}


def test_the_checks_find_what_is_missing() -> None:
    def scores(values: np.ndarray) -> np.ndarray:
        """Scores of everything."""
        if values.ndim != 1:
            raise ValueError("no vector")
        return values

    assert first_word(scores) not in IMPERATIVES
    assert mentions_arrays(scores) and not SHAPE.search(scores.__doc__ or "")
    assert raised(scores) == {"ValueError"}
    assert SHAPE.search("of (N, 2, H, W)") and SHAPE.search("(n,) bool") and not SHAPE.search("sums (of all) are")
