"""The structure of the code: modules import few others and never in a circle; what must be done in one place is."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from colorbench.cli.command_group import VERBS

ROOT = Path(__file__).parent.parent
PACKAGES = ("colorbench", "zoo", "protocols", "leaderboards")
FAN_OUT = 12
"""Largest number of our modules that a module imports; the names of a package's `__init__` count as one."""
EVALUATION_FILES = 20


class Code:
    """Modules by name, and the public names of packages: what their `__init__.pyi` takes from which module."""

    def __init__(self, sources: Mapping[str, str], stubs: Mapping[str, str]) -> None:
        self.trees = {name: ast.parse(source) for name, source in sources.items()}
        self.public = {
            package: {
                alias.name: f"{package}.{node.module}" for node in _froms(ast.parse(stub)) for alias in node.names
            }
            for package, stub in stubs.items()
        }

    @classmethod
    def read(cls) -> Code:
        """Read all modules that are shipped."""
        files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
        stubs = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("__init__.pyi"))]
        return cls(
            {_name(path): path.read_text(encoding="utf-8") for path in files},
            {_name(path): path.read_text(encoding="utf-8") for path in stubs},
        )

    def imports(self, module: str, *, through_packages: bool = False) -> set[str]:
        """Return which of the modules a module imports, within functions and for typing alone, too.

        Args:
            module: its name.
            through_packages: whether a public name of a package counts as an import of the module that has it.
        """
        found = set()
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        for node in _froms(self.trees[module]):
            assert not node.level, f"{module} imports relatively"
            for alias in node.names:
                given, below = str(node.module), f"{node.module}.{alias.name}"
                if alias.name in (names := self.public.get(given, {})):
                    found.add(names[alias.name] if through_packages else given)
                else:
                    found.add(below if below in self.trees else given)
        return (found & set(self.trees)) - {module}

    def private_imports(self) -> list[str]:
        """Return the private names that a module imports from another; private modules may be imported."""
        return [
            f"{module}: {node.module}.{alias.name}"
            for module, tree in self.trees.items()
            for node in _froms(tree)
            if node.module in self.trees
            for alias in node.names
            if alias.name.startswith("_") and not alias.name.startswith("__")
        ]

    def circle(self) -> list[str]:
        """Return modules of which each imports the next, and the last the first; empty where there are none."""
        graph = {module: sorted(self.imports(module, through_packages=True)) for module in self.trees}
        finished: set[str] = set()

        def visit(module: str, path: list[str]) -> list[str]:
            if module in path:
                return path[path.index(module) :]
            if module not in finished:
                for other in graph[module]:
                    if circle := visit(other, [*path, module]):
                        return circle
                finished.add(module)
            return []

        return next((circle for module in sorted(graph) if (circle := visit(module, []))), [])

    def fan_outs(self) -> dict[str, int]:
        """Return how many modules each module imports."""
        return {module: len(self.imports(module)) for module in self.trees}

    def where(self, does: Callable[[ast.AST], bool]) -> set[str]:
        """Return the modules that hold a node of a kind."""
        return {module for module, tree in self.trees.items() if any(map(does, ast.walk(tree)))}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _froms(tree: ast.AST) -> Iterator[ast.ImportFrom]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)


def makes_a_record(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Record"


def renames_a_file(node: ast.AST) -> bool:
    """Find `os.replace`, `os.rename`, `shutil.move`, and `path.replace(other)`: one argument, where text has two."""
    if isinstance(node, ast.ImportFrom):
        taken = {alias.name for alias in node.names}
        return (node.module == "os" and bool(taken & {"replace", "rename"})) or (
            node.module == "shutil" and "move" in taken
        )
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    of_path = isinstance(node.func, ast.Attribute) and node.func.attr in ("replace", "rename")
    return called in ("os.replace", "os.rename", "shutil.move") or (
        of_path and len(node.args) == 1 and not node.keywords
    )


def locks_a_file(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return str(node.module).partition(".")[0] in ("filelock", "fcntl", "msvcrt")
    return isinstance(node, ast.Import) and bool({one.name for one in node.names} & {"filelock", "fcntl", "msvcrt"})


def opens_a_database(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("sqlite3.connect", "connect")


PLACES = {
    "records": (makes_a_record, "colorbench.evaluation.build_record"),
    "renames": (renames_a_file, "colorbench.storage.atomic_files"),
    "locks": (locks_a_file, "colorbench.storage.lock"),
    "the database of a study": (opens_a_database, "protocols.human_study.study_folder.study_database"),
}


@pytest.fixture(scope="module")
def code() -> Code:
    return Code.read()


def test_no_modules_import_one_another_in_a_circle(code: Code) -> None:
    assert len(code.trees) > 300
    assert code.circle() == []


def test_modules_import_few_others(code: Code) -> None:
    # A verb of the command line joins all that it needs.
    verbs = {verb.module for verb in VERBS.values()}
    fan_outs = {module: count for module, count in code.fan_outs().items() if module not in verbs}
    assert {module: count for module, count in fan_outs.items() if count > FAN_OUT} == {}


def test_evaluation_stays_small() -> None:
    files = sorted(path.name for path in (ROOT / "colorbench/evaluation").rglob("*.py"))
    assert 10 < len(files) <= EVALUATION_FILES, files


@pytest.mark.parametrize("what", PLACES)
def test_one_place_does_it(what: str, code: Code) -> None:
    does, place = PLACES[what]
    assert code.where(does) == {place}


SHARED = {
    # The comparison of records, and that of a study's methods.
    "Comparison": {"colorbench.results.comparison_schema", "protocols.human_study.analysis.fooling_rates"},
    # The colors of a batch, and the model that predicts them.
    "GroundTruth": {"colorbench.evaluation.truth_and_prediction", "zoo.references.colorizers"},
    # Each family of the zoo has its network.
    "Network": {"zoo.cic.network", "zoo.lite.network"},
}
"""Class names that two modules may have; all others are unique."""


def class_names(code: Code) -> dict[str, set[str]]:
    """Return the modules that define a class of each name, private classes left out."""
    found: dict[str, set[str]] = {}
    for module, tree in code.trees.items():
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, set()).add(module)
    return found


def test_class_names_are_unique(code: Code) -> None:
    found = class_names(code)
    assert len(found) > 200
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == SHARED
    twice = class_names(Code({"a": "class A: ...", "b": "class A: ...\nclass _B: ...", "c": "class _B: ..."}, {}))
    assert twice == {"A": {"a", "b"}}


def test_private_names_stay_in_their_module(code: Code) -> None:
    assert code.private_imports() == []
    sources = {"p._a": "", "p.b": "_x = 1", "q": "from p.b import _x, __version__\nfrom p import _a\nfrom r import _y"}
    assert Code(sources, {}).private_imports() == ["q: p.b._x"]


def test_circles_and_fan_out_are_found() -> None:
    sources = {
        "p": "",
        "p.a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b import B",
        "p.b": "def f():\n    from q import C, D",
        "q": "",
        "q.c": "import p.a",
        "q.d": "",
    }
    stub = {"q": "from .c import C as C\nfrom .d import D as D"}
    code = Code(sources, stub)
    assert sorted(code.circle()) == ["p.a", "p.b", "q.c"]
    assert code.fan_outs() == {"p": 0, "p.a": 1, "p.b": 1, "q": 0, "q.c": 1, "q.d": 0}
    assert code.imports("p.b", through_packages=True) == {"q.c", "q.d"}
    assert Code({**sources, "q.c": ""}, stub).circle() == []
    assert Code({"p": "", "p.a": "from p import b, c", "p.b": "", "p.c": "from p import a"}, {}).circle() == [
        "p.a",
        "p.c",
    ]


@pytest.mark.parametrize(
    ("what", "source"),
    [
        ("records", "Record(key='')"),
        ("records", "def f():\n    return record.Record(key='')"),
        ("renames", "import os\nos.replace(a, b)"),
        ("renames", "part.replace(path)"),
        ("renames", "Path(a).rename(b)"),
        ("renames", "import shutil\nshutil.move(a, b)"),
        ("renames", "from os import replace"),
        ("locks", "from filelock import FileLock"),
        ("locks", "import fcntl"),
        ("the database of a study", "db = sqlite3.connect(path)"),
    ],
)
def test_a_second_place_is_found(what: str, source: str) -> None:
    assert Code({"m": source}, {}).where(PLACES[what][0]) == {"m"}


@pytest.mark.parametrize(
    "source", ["text.replace('a', 'b')", "replace(one, key=1)", "now.replace(tzinfo=UTC)", "Record"]
)
def test_what_is_alike_is_left_alone(source: str) -> None:
    assert all(Code({"m": source}, {}).where(does) == set() for does, _ in PLACES.values())
