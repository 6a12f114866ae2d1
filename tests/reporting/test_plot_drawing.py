"""Plots: to scale, the same bytes again, fit for a page and for a paper, whatever the names in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from colorbench.reporting.plot_drawing import (
    MAX_LEGEND,
    Axis,
    Bars,
    Level,
    Line,
    Mark,
    forest_plot,
    panels,
    plot,
    squares,
)
from colorbench.reporting.plot_files import COLORS, Plot, file_name, page_style, write_figures

X, Y = Axis("distance in ab"), Axis("pixels, %", low=0)
NAMES = [
    "$\\frac{",
    "<script>alert(1)</script>",
    "_hidden",
    "a\x00\x1b[31m\nb",
    "写真 ünï",
    'style="x" id="y"',
    "&amp;",
    "",
]


def curve(label: str = "zoo/cic") -> Plot:
    return plot("AuC", X, Y, lines=[Line(label, [0, 75, 150], [0, 80, 100.0000001])])


def scatter(label: str = "zoo/cic") -> Plot:
    marks = [Mark(label, 20, 80, 79, 81, "s1", "80 [79, 81]"), Mark("b", 50, 70)]
    return plot("Speed", Axis("images a second", log=True), Y, marks=marks, levels=[Level(label, 65, "gray")])


def histogram(label: str = "seen") -> Plot:
    return plot("Times", X, Y, bars=[Bars(label, [0, 1, 2], [3, 4])], lines=[Line(label, [0.5, 1.5], [1, 2])])


def forest(label: str = "zoo/cic") -> Plot:
    rows = [Mark(label, 30, low=25, high=35, text="30", before=32), Mark("b", 2, color="gray")]
    return forest_plot("Rates", Axis("%", low=0), rows, levels=[Level(label, 50, "truth")])


def training(label: str = "training") -> Plot:
    return panels("Training", Axis("step"), {label: [Line(label, [1, 2], [5, 4])], "auc": [Line("gray", [2], [70])]})


def plane(label: str = "prior") -> Plot:
    return squares(label, Axis("a"), Axis("b"), [(0, 0, 10, "#808080"), (10, 0, 5, "#ff0000")])


KINDS: list[Callable[[str], Plot]] = [curve, scatter, histogram, forest, training, plane]


@pytest.mark.parametrize("kind", [curve, plane])
def test_equal_plots_give_equal_bytes_however_often_they_are_written(kind: Callable[[], Plot], tmp_path: Path) -> None:
    one, other = kind(), kind()
    assert one.svg() == one.svg() == other.svg()
    for name, drawn in (("a", one), ("b", other)):
        write_figures({name: drawn}, tmp_path)
    for suffix in ("svg", "pdf"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("kind", "name"), [*((curve, name) for name in NAMES), *((kind, "_$\\frac{<b>") for kind in KINDS[1:])]
)
def test_any_name_is_text(kind: Callable[[str], Plot], name: str) -> None:
    markup = kind(name).svg()
    ElementTree.fromstring(markup)
    assert "<script" not in markup and "\x00" not in markup and "\x1b" not in markup
    if name.isprintable() and name:
        found = ElementTree.fromstring(markup)
        assert any(name in (element.text or "") for element in found.iter())


@pytest.mark.parametrize("kind", KINDS)
def test_markup_obeys_a_page_that_forbids_styles_and_other_files(kind: Callable[[], Plot]) -> None:
    root = ElementTree.fromstring(kind().svg())
    assert root.attrib["role"] == "img" and root[0].tag == "title" and root[0].text and root[1].tag == "desc"
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(set(ids)) == len(ids)
    for element in root.iter():
        assert "style" not in element.attrib and element.tag not in ("style", "script", "image")
        for key, value in element.attrib.items():
            if key == "href":
                assert value[1:] in ids
            for address in re.findall(r"url\(([^)]*)\)", value):
                assert address[1:] in ids
            assert "http" not in value


def test_two_plots_of_one_page_share_no_id() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', drawn.svg())) for drawn in (curve("a"), curve("b"))]
    assert ids[0] and not ids[0] & ids[1]


def test_colors_are_those_of_the_page_in_both_styles() -> None:
    markup = plot("t", X, Y, lines=[Line(name, [0, 1], [0, 1], name) for name in COLORS]).svg()
    for name, (light, dark) in COLORS.items():
        assert f'stroke="var(--{name}, {light})"' in markup
        assert f"--{name}: {light};" in page_style() and f"--{name}: {dark};" in page_style()
    assert len({light for light, _ in COLORS.values()}) == len(COLORS)


def test_a_curve_is_drawn_to_scale() -> None:
    """(0, 0), (75, 80) and (150, 100) of axes to 150 and 100: left bottom, half way, right top."""
    drawn = plot("t", Axis("x", 0, 150), Y, lines=[Line("a", [0, 75, 150], [0, 80, 100.0000001])])
    drawn.svg()
    axes = drawn.figure.axes[0]
    assert axes.get_xlim() == (0, 150) and axes.get_ylim() == (0, 100)  # the axis ends at a label
    (path,) = re.findall(r'<path d="M ([^"]*)"[^>]*stroke="var\(--s0', drawn.svg())
    points = [tuple(map(float, point.split())) for point in path.replace("L", " ").split("  ") if point.strip()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.1) and y0 - y1 == pytest.approx(0.8 * (y0 - y2), abs=0.1)


def test_what_is_drawn_has_a_title_and_what_is_too_much_is_counted() -> None:
    drawn = plot("t", X, Y, lines=[Line(f"model {i}", [0, 1], [i, i]) for i in range(MAX_LEGEND + 3)])
    root = ElementTree.fromstring(drawn.svg())
    titles = [element.text for element in root.iter("title")]
    assert titles[0] == "t" and set(titles[1:]) == {f"model {i}" for i in range(MAX_LEGEND + 3)}
    texts = [element.text for element in root.iter("text")]
    assert f"model {MAX_LEGEND - 1}" in texts and f"model {MAX_LEGEND}" not in texts and "and 3 more" in texts
    assert "80 [79, 81]" in [element.text for element in ElementTree.fromstring(scatter().svg()).iter("title")]


@pytest.mark.parametrize("values", [[float("nan")] * 3, [1e300, 0, 1], [float("inf"), 0, 1], [], [5, 5, 5], [1e-9] * 3])
def test_odd_values_leave_a_plot(values: list[float]) -> None:
    assert plot("t", X, Y, lines=[Line("a", range(len(values)), values)]).svg().startswith("<svg")


def test_names_become_names_of_files() -> None:
    assert file_name("zoo/cic[decode=mode]-../../x") == "zoo-cic-decode-mode-..-..-x"
    assert file_name("///") == "figure" and "/" not in file_name("a/" * 200) and len(file_name("a" * 500)) == 120
    assert file_name("..") == "figure"
