"""On a phone the numbers come first: filters are folded, and summaries are below the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leaderboards.board_files import build_files
from tests.support.board import folders, measured, synthetic
from tests.support.browser import OpenedPage, page_faults

pytest.importorskip("playwright.sync_api")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module", params=[24, 60])
def board(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with and without enough images."""
    root = tmp_path_factory.mktemp("results")
    source = folders(measured(tmp_path_factory.mktemp("measured")))["lab/warm"]
    for position, name in enumerate(("one", "two", "three")):
        synthetic(source, root / name, f"lab/{name}", n=request.param, shift=0.1 * position)
    build_files([root], root / "board.html")
    return root / "board.html"


def top(page: Any, selector: str) -> float:
    """Return the distance of an element from the top of the page in pixels."""
    return float(page.locator(selector).first.bounding_box()["y"])


def test_the_first_values_are_on_the_first_screen_of_a_phone(board: Path, browser: Any) -> None:
    opened = OpenedPage(browser, board.as_uri(), viewport=PHONE)
    page = opened.page
    assert top(page, ".competitors .value") < PHONE["height"] * 0.75
    assert not page.locator("#search").is_visible()
    page.locator("#filters > summary").click()
    assert page.locator("#search").is_visible()
    if page.locator(".verdicts").count():
        assert top(page, ".verdicts") > top(page, ".references, .competitors tr:last-child")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator("#search").wait_for()
    if page.locator(".verdicts").count():
        assert top(page, ".verdicts") < top(page, "table.board")
    assert opened.troubles == []
    opened.context.close()


def test_filters_in_the_address_are_shown_on_a_phone(board: Path, browser: Any) -> None:
    opened = OpenedPage(browser, f"{board.as_uri()}#results&q=two", viewport=PHONE)
    assert opened.page.input_value("#search") == "two" and opened.page.locator("#search").is_visible()
    assert opened.page.locator("#status").is_visible()
    opened.context.close()


def test_without_a_script_the_filters_are_open_and_the_table_is_there(board: Path, browser: Any) -> None:
    opened = OpenedPage(browser, board.as_uri(), viewport=PHONE, java_script_enabled=False)
    assert opened.page.locator("#search").is_visible() and opened.page.locator(".competitors .value").first.is_visible()
    opened.context.close()


def test_it_is_accessible_folded_and_open(board: Path, browser: Any) -> None:
    pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = OpenedPage(browser, board.as_uri(), viewport=PHONE)
    assert page_faults(opened.page, widths=(390,)) == []
    opened.context.close()
