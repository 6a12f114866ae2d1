"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from colorbench.data import open_dataset

REPOSITORY = Path(__file__).parent.parent
WINGS = ("colorbench", "zoo", "protocols", "leaderboards")


def modules_with_examples() -> list[str]:
    """Found by their text, so that nothing is imported for nothing."""
    files = [path for wing in WINGS for path in (REPOSITORY / wing).rglob("*.py")]
    found = [path for path in files if ">>> " in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in found)


def test_there_are_examples_and_none_is_skipped() -> None:
    assert len(modules_with_examples()) >= 7
    for name in modules_with_examples():
        assert "+SKIP" not in (REPOSITORY / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Examples may name the folder images/; what they write goes to a temporary folder.
    (tmp_path / "images").mkdir()
    for sample in open_dataset("samples").samples[:2]:
        shutil.copy(sample.path, tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    done = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert done.attempted > 0 and done.failed == 0, done
