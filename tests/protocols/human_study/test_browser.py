"""A participant's whole session in a real browser, by clicks and keys; and the admin's page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from colorbench.errors import UserError
from protocols.human_study.build.jspsych import jspsych_files
from protocols.human_study.server.rate_limit import Rate
from protocols.human_study.server.request_schemas import Response
from tests.support.browser import OpenedPage
from tests.support.study import ADMIN, GENEROUS, PRACTICE, TRIALS, body_of, build_small, copy_of, served, slot_of
from tests.support.study import Participant as Requester

pytest.importorskip("playwright.sync_api")
ALL = PRACTICE + TRIALS
SHOTS = os.environ.get("COLORBENCH_PAGE_SHOTS")
"""Folder for captures of the pages, to be looked at; none by default."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        files = jspsych_files()
    except UserError as error:
        pytest.skip(f"jsPsych cannot be fetched: {error}")
    with pytest.MonkeyPatch.context() as patch:
        folder = build_small(tmp_path_factory.mktemp("built") / "study", patch)
    for name, data in files.items():
        (folder / "form" / name).write_bytes(data)
    return folder


class Participant(OpenedPage):
    """Somebody at a browser."""

    def __init__(self, browser: Any, address: str, **window: Any) -> None:
        super().__init__(browser, address, **{"viewport": {"width": 1280, "height": 800}, "offline": False, **window})

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def consent(self) -> None:
        self.page.get_by_label("18 years").check()
        self.page.get_by_label("I have read").check()
        self.press("Take part")

    def screening(self, holds: Callable[[], bool] = lambda: True) -> None:
        """Respond to the question and the plates, on each of which something holds."""
        self.page.get_by_label("Yes, as far as I know").check()
        self.press("Continue")
        for number in (1, 2):
            self.page.get_by_text(f"Image {number} of 2").wait_for()
            assert holds()
            self.page.get_by_label("3", exact=True).check(force=True)
            self.press("Continue")

    def choose(self, how: str) -> None:
        button = self.page.get_by_role("button", name="The first")
        button.wait_for()
        if how == "key":
            self.page.keyboard.press("2")
        elif how == "touch":
            button.tap()
        else:
            button.click()

    def practice(self, how: str = "mouse") -> list[str]:
        """The feedback's sentences."""
        self.press("Start")
        told = []
        for _ in range(PRACTICE):
            self.choose(how)
            told.append(self.page.locator(".ask:visible").filter(has_text="one had fake colors.").inner_text())
            self.press("Next pair")
        return told

    def end(self) -> str:
        """The completion code."""
        return self.page.locator(".code").inner_text()


def rows_of(study: Any, table: str = "responses") -> list[Any]:
    return [{**row, **json.loads(row.get("body", "{}"))} for row in study.store.rows(table)]


def test_a_session_by_mouse_and_keys_with_a_reload_in_the_middle(built: Path, browser: Any, tmp_path: Path):
    with served(copy_of(built, tmp_path / "study")) as (address, study):
        visitor = Participant(browser, address)
        withdraw = visitor.page.get_by_role("button", name="Withdraw my answers")
        visitor.page.get_by_role("button", name="Take part").wait_for()
        assert not withdraw.is_visible()  # nothing is stored yet
        visitor.consent()
        visitor.page.get_by_role("heading", name="Your color vision").wait_for()
        assert withdraw.is_visible()
        visitor.screening(lambda: withdraw.is_visible())
        told = visitor.practice()
        visitor.press("Start")
        assert withdraw.is_visible()
        visitor.choose("key")
        visitor.page.get_by_text(f"Pair 2 of {TRIALS}").wait_for()
        visitor.page.reload()
        visitor.page.get_by_text("Welcome back").wait_for()
        visitor.press("Continue")
        for index in range(1, TRIALS):
            visitor.page.get_by_text(f"Pair {index + 1} of {TRIALS}").wait_for()
            visitor.choose("key" if index % 2 else "mouse")
        code = visitor.end()
        (participant,) = rows_of(study, "participants")
        responses = rows_of(study)
        trials = slot_of(study, participant["participant"]).trials
        assert code == study.secrets.completion_code(participant["participant"])
        assert participant["status"] == "complete" and participant["loads"] == 2
        assert [response["trial"] for response in responses] == list(range(ALL))
        assert [response["input"] for response in responses] == ["mouse", "mouse", "key", "key", "mouse", "key"]
        assert [response["response"] for response in responses] == [
            "first",
            "first",
            "second",
            "second",
            "first",
            "second",
        ]
        assert [response["presentations"] for response in responses] == [1, 1, 1, 2, 1, 1]
        assert told == [
            f"{'Right' if trial.fake == 'first' else 'Not this time'}: the {trial.fake} one had fake colors."
            for trial in trials[:PRACTICE]
        ]
        assert all(response["reaction_ms"] > 0 and response["focus_losses"] == 0 for response in responses)
        assert visitor.troubles == [] and visitor.foreign() == []
        visitor.page.goto(address)  # who finished sees the code again, not a second session
        assert visitor.end() == code and withdraw.is_visible()
        visitor.press("Withdraw my answers")
        visitor.press("Delete my answers")
        visitor.page.get_by_text("You have withdrawn").wait_for()
        assert not withdraw.is_visible() and rows_of(study, "participants") == []
        visitor.context.close()


def test_each_stimulus_is_seen_for_its_time_within_two_frames(built: Path, browser: Any, tmp_path: Path):
    folder = copy_of(built, tmp_path / "study", exposure_ms=1000, lead_ms=300, gap_ms=200)
    with served(folder) as (address, study):
        visitor = Participant(browser, address)
        visitor.consent()
        visitor.screening()
        # An observer of its own in the page: it notes in every frame what is on.
        visitor.page.evaluate(
            """() => { window.seen = []; window.all = []; const look = (now) => {
              all.push(now); const on = document.querySelector("canvas.on");
              if (on) { const i = [...on.parentNode.querySelectorAll("canvas")].indexOf(on); seen.push([i, now]); }
              requestAnimationFrame(look); }; requestAnimationFrame(look); }"""
        )
        visitor.practice()
        responses, seen = rows_of(study), visitor.page.evaluate("window.seen")
        gap = max(visitor.page.evaluate("all.slice(1).map((now, i) => now - all[i])"))
        visitor.context.close()
    spans, last = [], None
    for position, now in seen:
        if position != last:  # the two take turns
            spans.append([now, now])
        spans[-1][1] = now
        last = position
    recorded = [response[f"exposure_{position}_ms"] for response in responses for position in ("first", "second")]
    frame = max(response["frame_ms"] for response in responses)
    assert len(spans) == len(recorded) == 2 * PRACTICE
    for (started, ended), measured in zip(spans, recorded, strict=True):
        # The observer sees the frames in which it is on: the time from the first to the last is a frame or two short.
        assert measured - 2 * max(gap, frame) - 1 <= ended - started <= measured + frame + 1
    errors = sorted(abs(measured - 1000) for measured in recorded)
    assert errors[len(errors) // 2 - 1] <= 2 * frame + 0.1
    assert errors[-1] <= 2 * max(gap, frame) + 0.1  # where a busy machine drops frames, by no more than it dropped


def test_two_at_once_on_a_phone_and_by_keyboard_alone(built: Path, browser: Any, tmp_path: Path):
    with served(copy_of(built, tmp_path / "study")) as (address, study):
        phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
        one = Participant(browser, f"{address}/?PROLIFIC_PID=P1&STUDY_ID=S&SESSION_ID=X1", **phone)
        two = Participant(
            browser, f"{address}/?participant=L2", viewport={"width": 640, "height": 400}
        )  # as at 200 % zoom
        one.consent()
        by_keyboard(two.page, ["Tab", "Space", "Tab", "Space", "Tab", "Enter"])
        one.screening()
        two.page.get_by_role("heading", name="Your color vision").wait_for()
        by_keyboard(two.page, ["Tab", "Space", "Tab", "Enter"])
        for number in (1, 2):
            two.page.get_by_text(f"Image {number} of 2").wait_for()
            by_keyboard(two.page, ["Tab", "Space", "Tab", "Enter"])
        two.page.get_by_role("button", name="Start").wait_for()
        by_keyboard(two.page, ["Tab", "Enter"])
        for visitor in (one, two):
            wide = visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, "nothing sticks out at the side"
        one.practice("touch")
        for _ in range(PRACTICE):
            two.choose("key")
            two.page.locator("button:focus").filter(has_text="Next pair").wait_for()
            two.page.keyboard.press("Enter")
        one.press("Start")
        two.page.get_by_text("Practice is over").wait_for()
        by_keyboard(two.page, ["Tab", "Enter"])
        for index in range(TRIALS):
            for visitor, how in ((one, "touch"), (two, "key")):
                visitor.page.get_by_text(f"Pair {index + 1} of {TRIALS}").wait_for()
                visitor.choose(how)
        one.end(), two.end()
        participants = {row["platform"]: row["participant"] for row in rows_of(study, "participants")}
        kinds = {row["input"] for row in rows_of(study) if row["participant"] == participants["prolific"]}
        assert kinds == {"touch"}
        assert {row["input"] for row in rows_of(study) if row["participant"] == participants["lab"]} == {"key"}
        assert len({row["slot"] for row in rows_of(study, "participants")}) == 2 and len(rows_of(study)) == 2 * ALL
        assert one.troubles + two.troubles == []
        one.context.close()
        two.context.close()


def by_keyboard(page: Any, keys: list[str]) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_losing_the_connection_loses_nothing_and_leaving_the_window_is_counted(
    built: Path, browser: Any, tmp_path: Path
):
    with served(copy_of(built, tmp_path / "study")) as (address, study):
        visitor = Participant(browser, address)
        visitor.consent()
        visitor.screening()
        visitor.press("Start")
        visitor.page.get_by_role("button", name="The first").wait_for()
        visitor.page.evaluate("Document.prototype.hasFocus = () => false; window.dispatchEvent(new Event('blur'))")
        visitor.context.set_offline(True)
        visitor.choose("key")
        visitor.page.get_by_text("The connection is interrupted").wait_for()
        assert rows_of(study) == []
        visitor.context.set_offline(False)
        visitor.page.get_by_role("button", name="Next pair").wait_for()
        (response,) = rows_of(study)
        assert response["focus_losses"] == 1 and response["response"] == "second"
        visitor.context.close()


def test_preview_decline_and_withdrawal(built: Path, browser: Any, tmp_path: Path):
    with served(copy_of(built, tmp_path / "study")) as (address, study):
        turk = f"{address}/?hitId=H&turkSubmitTo=https%3A%2F%2Fworkersandbox.mturk.com&assignmentId="
        preview = Participant(browser, f"{turk}ASSIGNMENT_ID_NOT_AVAILABLE")
        preview.page.get_by_text("This is a preview").wait_for()
        preview.page.goto(f"{turk}A1&workerId=W1")
        preview.press("No, thank you")
        preview.page.get_by_text("You have not taken part").wait_for()
        assert rows_of(study, "participants") == []
        preview.page.reload()
        preview.consent()
        preview.page.get_by_role("heading", name="Your color vision").wait_for()
        assert len(rows_of(study, "participants")) == 1
        preview.press("Withdraw my answers")
        preview.press("Delete my answers")
        preview.page.get_by_text("You have withdrawn").wait_for()
        assert rows_of(study, "participants") == []
        assert preview.troubles == []
        preview.context.close()


def test_the_turk_gets_its_form_and_the_admin_a_page(built: Path, browser: Any, tmp_path: Path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with served(copy_of(built, tmp_path / "study")) as (address, study):
        query = "?hitId=H&assignmentId=A1&workerId=W1&turkSubmitTo=https%3A%2F%2Fwww.mturk.com"
        visitor = Participant(browser, f"{address}/{query}")
        assert serious(axe, visitor.page) == []
        visitor.consent()
        assert serious(axe, visitor.page) == []
        visitor.screening()
        visitor.page.get_by_role("button", name="Start").wait_for()
        assert serious(axe, visitor.page) == []
        (row,) = rows_of(study, "participants")
        for trial in range(ALL):
            study.store.response(row["participant"], Response(**body_of(trial)))
        visitor.page.reload()
        visitor.press("Continue")
        form = visitor.page.locator("form[method=post]")
        assert form.get_attribute("action") == "https://www.mturk.com/mturk/externalSubmit"
        assert form.locator("[name=assignmentId]").input_value() == "A1"
        assert form.locator("[name=code]").input_value() == visitor.end()
        assert serious(axe, visitor.page) == []
        visitor.context.close()
        admin = Participant(browser, f"{address}/admin")
        admin.troubles.clear()  # the browser notes the 401 that comes with the form
        assert serious(axe, admin.page) == []
        admin.page.get_by_label("Token").fill(ADMIN)
        admin.press("Open")
        admin.page.get_by_text("1 of 6").first.wait_for()
        assert serious(axe, admin.page) == []
        with admin.page.expect_download() as download:
            admin.page.get_by_role("link", name="responses.csv").click()
        assert download.value.suggested_filename == "responses.csv"
        name = rows_of(study, "participants")[0]["participant"]
        admin.page.get_by_text("Delete", exact=True).click()
        admin.press(f"Delete {name} permanently")
        admin.page.get_by_text("No participants yet").wait_for()
        assert rows_of(study, "participants") == []
        assert admin.troubles == []
        admin.context.close()


def test_a_mistyped_token_costs_nothing_and_many_cost_a_wait(built: Path, browser: Any, tmp_path: Path):
    rates = replace(GENEROUS, logins=Rate(2, 0.1))
    with served(copy_of(built, tmp_path / "study"), rates=rates) as (address, study):
        admin = Participant(browser, f"{address}/admin")

        def log_in(token: str) -> None:
            admin.page.get_by_label("Token").fill(token)
            admin.press("Open")

        def styled() -> bool:
            admin.page.wait_for_load_state()  # the text may be there before the style sheet
            return admin.page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor") == (
                "rgb(255, 255, 255)"
            )

        log_in("mistyped")
        admin.page.get_by_text("Wrong token.").wait_for()
        assert styled()
        admin.page.goto(f"{address}/admin/login")
        log_in(ADMIN)
        admin.page.get_by_role("heading", name="Participants", exact=True).wait_for()
        admin.press("Log out")
        log_in("mistyped")
        log_in("mistyped")
        admin.page.get_by_text("seconds, then").wait_for()
        assert styled()
        study.limiter.__init__()
        admin.page.get_by_role("link", name="open the admin page").click()
        log_in(ADMIN)
        admin.page.get_by_role("heading", name="Participants", exact=True).wait_for()
        admin.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_on_the_admin_page_is_cut_off(built: Path, browser: Any, tmp_path: Path, width: int):
    folder = copy_of(built, tmp_path / ("study" * 20))
    design = (folder / "design.json").read_text()
    (folder / "design.json").write_text(design.replace('"cell": "all"', '"cell": "zoo/cic-pixelwise"'))
    page = folder / "analysis" / "analysis.html"
    page.parent.mkdir()
    page.write_text("")
    os.utime(page, (1e9, 1e9))
    with served(folder) as (address, study), httpx.Client(base_url=address) as client:
        for number in range(2):
            Requester(client, f"L{number}").join().play().post("finish", {"submit_to": ""})
        Requester(client, "L2").join().post("withdraw")
        admin = Participant(browser, f"{address}/admin", viewport={"width": width, "height": 900})
        admin.page.get_by_label("Token").fill(ADMIN)
        admin.press("Open")
        admin.page.get_by_text("Delete", exact=True).first.click()
        button = admin.page.get_by_role("button", name="permanently").first
        button.wait_for()
        if SHOTS is not None:
            admin.page.screenshot(path=Path(SHOTS) / f"admin-open-{width}.png", full_page=True)
        assert admin.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        card = admin.page.locator("main").bounding_box()
        for notice in admin.page.locator(".notice").all():
            box = notice.bounding_box()
            assert box["x"] >= card["x"] and box["x"] + box["width"] <= card["x"] + card["width"]
            assert notice.evaluate("one => one.scrollWidth - one.clientWidth") <= 0
        assert "completion" in admin.page.locator("thead").last.inner_text()
        if width == 1280:  # on a phone the table is scrolled
            box, table = (
                button.bounding_box(),
                admin.page.get_by_role("region", name="Participants", exact=True).bounding_box(),
            )
            assert box["x"] + box["width"] <= table["x"] + table["width"]
        admin.context.close()


def serious(axe: Any, page: Any) -> list[str]:
    """Rules of accessibility that are broken, by name."""
    page.locator("h1").first.wait_for()
    found = axe.run(page).response["violations"]
    return [violation["id"] for violation in found if violation["impact"] in ("serious", "critical")]
