"""The tables of checks in the guides name the checks that a command prints, all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"ConformanceCheck\(\s*\"([^\"]+)\"")


def first_columns(guide: str, heading: str) -> set[str]:
    """Return the names in the first column of the tables below a heading."""
    text = (ROOT / "docs" / f"{guide}.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.M)[1:]
    return {name.strip(" `") for cell in cells for name in re.sub(r"\(.*?\)", "", cell).split(",")}


def test_the_checks_of_verify_have_their_names() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "colorbench" / "verification").glob("*.py"))
    printed = set(re.findall(r"findings\.(?:say|settle)\(\s*\"([^\"]+)\"", code)) | {"arrays", "saved images"}
    assert first_columns("verification", "Checks") == printed


@pytest.mark.parametrize(("kind", "files"), [("model", "colorizer"), ("protocol", "protocol")])
def test_the_checks_of_a_plugin_have_their_names(kind: str, files: str) -> None:
    paths = (ROOT / "colorbench" / "testing").glob(f"*{files}*.py")
    printed = {name for path in paths for name in NAME.findall(path.read_text(encoding="utf-8"))}
    assert len(printed) > 10
    assert first_columns("testing-a-plugin", f"What is checked of a {kind}") == printed


def test_the_checks_of_a_dataset_have_their_names() -> None:
    text = (ROOT / "docs" / "testing-a-plugin.md").read_text(encoding="utf-8")
    section = text.split("\n## What is checked of a dataset\n")[1].partition("\n## ")[0]
    code = (ROOT / "colorbench" / "testing" / "dataset_checks.py").read_text(encoding="utf-8")
    assert set(re.findall(r"`([a-z ]+)`", section)) == set(NAME.findall(code))
