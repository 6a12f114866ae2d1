"""Every guide has a figure with alt text and a caption; figures exist, are small, and a script makes each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(path.name for path in DOCS.glob("*.md"))
OTHERS = ("../README.md", "../leaderboards/reference/README.md")
FIGURE = re.compile(r"^ *!\[(?P<alt>[^\]]*)\]\((?P<file>[^)]*)\)\n(?P<after>\n *(?P<caption>.*))?", re.M)
LARGEST = 100_000
"""Bytes of a figure."""


@pytest.mark.parametrize("guide", [*GUIDES, *OTHERS])
def test_a_guide_has_figures_with_alt_text_and_captions(guide: str) -> None:
    text = (DOCS / guide).read_text(encoding="utf-8")
    figures = list(FIGURE.finditer(text))
    assert len(figures) == text.count("![") > 0, "each figure is a paragraph of its own"
    for figure in figures:
        assert len(figure["alt"].split()) >= 4, figure["file"]
        assert re.fullmatch(r"\*[^*]{20,}[.?]\*", figure["caption"] or ""), (figure["file"], figure["caption"])
        assert 0 < ((DOCS / guide).parent / figure["file"]).stat().st_size <= LARGEST, figure["file"]


def test_every_figure_is_used_and_has_a_group_that_makes_it() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (*DOCS.glob("*.md"), DOCS.parent / "README.md"))
    scripts = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*_image*.py"))
    files = [*DOCS.glob("*.webp"), *DOCS.glob("*.svg")]
    assert len(files) > len(GUIDES) - 3
    for file in files:
        assert f'"{file.stem}"' in scripts or f"{file.stem}.webp" in scripts, f"no script writes {file.name}"
        assert f"({file.name})" in pages or f"(docs/{file.name})" in pages or file.name == "zoo.webp", file.name


@pytest.mark.parametrize("file", sorted(path.name for path in DOCS.glob("*.svg")))
def test_a_drawing_loads_nothing_from_elsewhere(file: str) -> None:
    text = (DOCS / file).read_text(encoding="utf-8")
    assert re.findall(r"(?:url\(|href=)[\"']?(?!#)[^#\s]+", text) == [] and "<script" not in text


@pytest.mark.parametrize("file", sorted(path.name for path in DOCS.glob("*.webp")))
def test_an_image_can_be_read_at_the_width_of_a_page(file: str) -> None:
    with Image.open(DOCS / file) as image:
        assert 400 <= image.width <= 1300
