"""Every page of a study, at all widths and in both color schemes, as axe and somebody with a phone meet it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols.human_study.analysis.analysis_files import write
from protocols.human_study.analysis.fooling_rates import analyze
from protocols.human_study.analysis.response_reading import read_study_data
from tests.protocols.human_study.test_browser import SHOTS, Participant, built
from tests.support.browser import OpenedPage, page_faults
from tests.support.study import ADMIN, PRACTICE, TRIALS, copy_of, served
from tests.support.study_responses import METHODS, SENTINEL, make_design, make_study_data, write_study

pytest.importorskip("axe_playwright_python.sync_playwright")
__all__ = ["built"]  # the fixture


class Visitor(Participant):
    """A participant who notes what is wrong on each page."""

    def __init__(self, browser: Any, address: str) -> None:
        super().__init__(browser, address)
        self.faults: dict[str, list[str]] = {}

    def look(self, name: str) -> None:
        """Note the faults of the page as it is now."""
        self.page.locator("h1, .pair, dialog[open]").first.wait_for()
        self.faults[name] = page_faults(self.page)
        if SHOTS is not None:
            for width, scheme in ((1280, "light"), (390, "dark")):
                self.page.set_viewport_size({"width": width, "height": 800})
                self.page.emulate_media(color_scheme=scheme)
                self.page.screenshot(path=Path(SHOTS) / f"{name}-{width}-{scheme}.png", full_page=True)


def test_all_pages_of_a_participant(built: Path, browser: Any, tmp_path: Path) -> None:
    with served(copy_of(built, tmp_path / "study")) as (address, _):
        visitor = Visitor(browser, address)
        page = visitor.page
        visitor.look("consent")
        visitor.consent()
        page.get_by_role("heading", name="Your color vision").wait_for()
        visitor.look("color-vision")
        page.get_by_label("Yes, as far as I know").check()
        visitor.press("Continue")
        page.get_by_text("Image 1 of 2").wait_for()
        visitor.look("plate")
        for number in (1, 2):
            page.get_by_text(f"Image {number} of 2").wait_for()
            page.get_by_label("3", exact=True).check(force=True)
            visitor.press("Continue")
        page.get_by_role("button", name="Start").wait_for()
        visitor.look("instructions")
        visitor.press("Withdraw my answers")
        visitor.look("withdrawal")
        visitor.press("Keep my answers")
        visitor.press("Start")
        for index in range(PRACTICE):
            page.get_by_role("button", name="The first").wait_for()
            if index == 0:
                visitor.look("practice")
            visitor.choose("mouse")
            page.get_by_role("button", name="Next pair").wait_for()
            if index == 0:
                visitor.look("feedback")
            visitor.press("Next pair")
        page.get_by_text("Practice is over").wait_for()
        visitor.look("practice-is-over")
        visitor.press("Start")
        for index in range(TRIALS):
            page.get_by_text(f"Pair {index + 1} of {TRIALS}").wait_for()
            page.get_by_role("button", name="The first").wait_for()
            if index == 0:
                visitor.look("trial")
            visitor.choose("mouse")
        visitor.end()
        visitor.look("debriefing")
        admin = Visitor(browser, f"{address}/admin")
        admin.look("admin-login")
        admin.page.get_by_label("Token").fill(ADMIN)
        admin.press("Open")
        admin.page.get_by_text("1 of 6").first.wait_for()
        admin.look("admin")
        everything = visitor.faults | admin.faults
        assert {name: found for name, found in everything.items() if found} == {}
        assert len(everything) == 12
        visitor.context.close()
        admin.context.close()


def test_refusals_and_previews(built: Path, browser: Any, tmp_path: Path) -> None:
    with served(copy_of(built, tmp_path / "study")) as (address, _):
        turk = f"{address}/?hitId=H&turkSubmitTo=https%3A%2F%2Fworkersandbox.mturk.com&assignmentId="
        visitor = Visitor(browser, f"{turk}ASSIGNMENT_ID_NOT_AVAILABLE")
        visitor.page.get_by_text("This is a preview").wait_for()
        visitor.look("preview")
        visitor.page.goto(f"{turk}A1&workerId=W1")
        visitor.press("No, thank you")
        visitor.page.get_by_text("You have not taken part").wait_for()
        visitor.look("declined")
        assert {name: found for name, found in visitor.faults.items() if found} == {}
        visitor.context.close()


def test_the_analysis_and_the_reports_of_its_records(browser: Any, tmp_path: Path) -> None:
    design = make_design(participants=24, trials=20, sentinels=2, images=40)
    rates = dict(zip((*METHODS, SENTINEL), (0.36, 0.25, 0.12, 0.05), strict=True))
    write_study(tmp_path / "study", design, make_study_data(design, rates))
    folder = tmp_path / "analysis"
    write(
        analyze(read_study_data(tmp_path / "study"), resamples=200), tmp_path / "study", folder, folder / "records", ()
    )
    for path in sorted(folder.rglob("*.html")):
        opened = OpenedPage(browser, path.as_uri())
        assert page_faults(opened.page) == [], path.name
        assert opened.troubles == [] and opened.foreign() == []
        opened.context.close()
