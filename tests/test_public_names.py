"""Public names are there after ``import colorbench`` alone, and cost nothing until they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PROGRAM = """
import sys, colorbench
assert not {"torch", "numpy", "pandas"} & set(sys.modules), "import colorbench is not free"
assert colorbench.color.ab_bins().shape == (313, 2)
assert issubclass(colorbench.errors.RunError, colorbench.errors.UserError)
for module in (colorbench, colorbench.color, colorbench.metrics):
    for name in module.__all__:
        assert getattr(module, name) is not None and name in dir(module), name
"""


def test_nothing_else_needs_to_be_imported(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["colorbench", "colorbench.color"])
def test_an_unknown_attribute_is_an_attribute_error(name: str) -> None:
    assert not hasattr(import_module(name), "nothing_of_this_name")
