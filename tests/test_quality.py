"""The code is formatted, free of lint, typed, and keeps to the import rules: all in the one test command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "--diff", "."],
    "codespell": ["codespell"],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_code_is_clean(check: str) -> None:
    program, *arguments = CHECKS[check]
    # The program beside this interpreter, so that no other version on the path answers instead.
    done = subprocess.run([SCRIPTS / program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{check}:\n{done.stdout[-6000:]}{done.stderr[-2000:]}"


def test_files_stay_small() -> None:
    """A file of more than 400 lines asks to be two."""
    wings = ("colorbench", "zoo", "protocols", "leaderboards")
    lengths = {
        str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines())
        for wing in wings
        for path in (REPOSITORY / wing).rglob("*.py")
    }
    assert len(lengths) > 30
    assert {path: n for path, n in lengths.items() if n > 400} == {}
