"""The board as people use it: in a real browser with the network off."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from leaderboards.board_files import build_files
from tests.support.board import measured
from tests.support.browser import OpenedPage, page_faults

pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a real run."""
    folder = tmp_path_factory.mktemp("board")
    build_files([measured(folder)], folder / "board.html")
    return folder / "board.html"


class Reader(OpenedPage):
    """Somebody who opened the file."""

    def names(self) -> list[str]:
        return [
            name.strip() for name in self.page.locator(".view:visible .competitors tr:visible .who a").all_inner_texts()
        ]


def test_a_reader_sorts_searches_and_looks_at_thumbnails(board: Path, browser: Any, tmp_path: Path) -> None:
    reader = Reader(browser, board.as_uri(), accept_downloads=True)
    page = reader.page

    first = reader.names()
    head = page.locator("thead .sort").nth(1)
    head.click()
    assert reader.names() == first  # it opens with the best by the headline on top
    head.click()
    assert reader.names() == first[::-1]
    page.locator("thead .sort").first.click()
    assert reader.names() == sorted(first)

    page.fill("#search", "yellow")
    assert reader.names() == ["lab/yellow"] and "1 of 3" in page.inner_text("#status")
    assert not page.locator(".references .divider").is_visible()
    page.fill("#search", "")

    hidden = page.locator("#columns input:not(:checked)").first
    column = hidden.get_attribute("data-column")
    assert not page.locator(f'td[data-column="{column}"]').first.is_visible()
    page.click("#columns summary")
    # Not `wait_for_function`, whose second look is a script that the page's policy forbids.
    inside = "document.querySelector('#columns .panel').getBoundingClientRect().right <= innerWidth"
    for _ in range(100):
        if page.evaluate(inside):
            break
        page.wait_for_timeout(50)
    assert page.evaluate(inside)
    assert page.evaluate("document.querySelector('#columns .panel').getBoundingClientRect().left") >= 0
    hidden.check()
    assert page.locator(f'td[data-column="{column}"]').first.is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#columns .panel").is_visible()
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "table.csv")
    lines = list(csv.reader((tmp_path / "table.csv").open(encoding="utf-8")))
    assert [line[0] for line in lines[1:4]] == sorted(first) and len(lines[0]) == 5

    page.select_option("[data-order]", "worst")
    scores = page.locator(".image").first.locator(".score.top")
    worst = float(scores.first.inner_text())
    page.select_option("[data-order]", "best")
    assert float(scores.first.inner_text()) > worst

    page.locator(".image").first.locator('button.thumbnail[data-key="gray"]').click()
    viewer = page.locator("#viewer")
    assert viewer.is_visible() and page.inner_text("#viewer-now") == "A: gray"
    shown = page.get_attribute("#viewer-img", "src")
    page.locator('[data-act="flip"]').click()
    assert page.inner_text("#viewer-now") == "B: ground truth" and page.get_attribute("#viewer-img", "src") != shown
    page.locator("#viewer-error").check()
    # The truth is at no distance from itself, gray at its chroma.
    assert "mean ab distance 0.0" in page.inner_text("#viewer-now")
    page.locator('[data-act="flip"]').click()
    assert float(page.inner_text("#viewer-now").split(" ab distance ")[1].split()[0]) > 1
    image = page.inner_text("#viewer-h")
    page.locator('[data-act="next"]').click()
    assert page.inner_text("#viewer-h") != image
    page.keyboard.press("Escape")
    assert not viewer.is_visible()

    page.locator(".competitors .who a").first.click()
    page.locator("#models details[open]").first.wait_for()  # opened by the change of address, a moment later
    assert page.locator("#models details[open]").count() == 1
    assert reader.troubles == [] and reader.foreign() == []
    reader.context.close()


def test_it_is_accessible_and_fits_a_phone(board: Path, browser: Any) -> None:
    pytest.importorskip("axe_playwright_python.sync_playwright")
    reader = Reader(browser, board.as_uri())
    reader.page.evaluate("document.querySelectorAll('details.card').forEach((card) => { card.open = true; })")
    assert page_faults(reader.page) == []
    reader.page.locator("button.thumbnail").first.click()
    assert page_faults(reader.page) == []  # with the viewer
    assert reader.troubles == [] and reader.foreign() == []
    reader.context.close()
