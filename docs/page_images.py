"""The figures of pages in the documentation: ``python docs/page_images.py``; it needs playwright and chromium.

All are of real runs: the report of the first command in README.md, the leaderboard of the reference records, those of
the tutorial on the packaged images, and a study whose responses are simulated. Run it from the root of the repository;
``python docs/page_images.py hints`` makes one group. ``docs/guide_images.py`` has those of the guides.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from diagram_images import DIAGRAMS
from guide_images import GROUPS, write_small
from PIL import Image
from playwright.sync_api import sync_playwright
from terminal_images import TERMINALS

DOCS = Path(__file__).resolve().parent
# Images and studies are made by the functions that the tests use.
sys.path.insert(0, str(DOCS.parent))
TUTORIAL = ["run", "--model", "zoo/cic,zoo/lite", "--protocol", "auc,fidelity"]


def colorbench(*arguments: str) -> None:
    """Run a command."""
    subprocess.run(["colorbench", *arguments], check=True)


def save(name: str, shot: bytes, *, top: int = 0) -> None:
    """Write a screenshot as a small file beside this one, from the row ``top`` on."""
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    write_small(image.crop((0, top, image.width, image.height)), DOCS / f"{name}.webp")


def shoot(page: Any, name: str, *, until: Any = None, top: float = 0) -> None:
    """Write a screenshot of a page, from ``top`` down to an element, or of the window."""
    clip = None
    if until is not None:
        height = until.bounding_box()["y"] - top
        clip = {"x": 0, "y": top, "width": page.viewport_size["width"], "height": height}
    save(name, page.screenshot(full_page=clip is not None, clip=clip))


def report(browser: Any, folder: Path) -> None:
    """Write ``report``, ``board``, and two parts of the board: its curves and its pairwise comparisons."""
    colorbench("run", "--model", "zoo/cic", "--protocol", "auc", "--output", str(folder / "runs"))
    (path,) = folder.glob("runs/zoo/cic.small/auc/*/report.html")
    page = browser.new_page(viewport={"width": 1000, "height": 1080})
    page.goto(path.as_uri())
    # Without its run details, which name a temporary folder.
    shoot(page, "report", until=page.get_by_role("heading", name="Run details"))
    colorbench("leaderboard", "build", "reference", "-o", str(folder / "board.html"))
    page = browser.new_page(viewport={"width": 1000, "height": 1240})
    page.goto((folder / "board.html").as_uri())
    shoot(page, "board")
    section = page.locator("section[aria-labelledby=plots-0-h]")
    section.locator("summary").click()
    page.set_viewport_size({"width": 1120, "height": 1240})  # all columns
    save("comparison-pairs", section.locator("details").screenshot())
    page.set_viewport_size({"width": 1000, "height": 1240})
    charts = section.locator(".charts")
    first = section.locator(".chart").nth(4)  # the last two curves, their legend, and what follows
    top = round(first.bounding_box()["y"] - charts.bounding_box()["y"])
    save("leaderboards-charts", charts.screenshot(), top=top)


def curves(browser: Any, folder: Path) -> None:
    """Write ``tutorial-curves``, of crops of the packaged images: bands need 30 images."""
    from tests.support.engine import write_images

    write_images(folder / "crops", 40)
    run = ["run", "--model", "zoo/cic", "--protocol", "auc", "--data", str(folder / "crops")]
    colorbench(*run, "--output", str(folder / "crop-runs"))
    (path,) = folder.glob("crop-runs/zoo/cic.small/auc/*/report.html")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(path.as_uri())
    save("tutorial-curves", page.locator(".charts").screenshot())


def tutorial(browser: Any, folder: Path) -> None:
    """Write ``tutorial-board`` and ``tutorial-viewer``."""
    colorbench(*TUTORIAL, "--output", str(folder / "tutorial"))
    colorbench("leaderboard", "build", str(folder / "tutorial"), "-o", str(folder / "tutorial.html"))
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto((folder / "tutorial.html").as_uri())
    shoot(page, "tutorial-board")
    page.locator(".image").nth(3).locator("button.thumbnail").nth(1).click()
    page.keyboard.press("e")
    page.wait_for_timeout(500)
    shoot(page, "tutorial-viewer")


def study(browser: Any, folder: Path) -> None:
    """Write ``study-analysis``: a study of two methods with simulated responses."""
    from tests.support.study_responses import METHODS, SENTINEL, make_design, make_study_data, write_study

    design = make_design(participants=40, trials=20, sentinels=2, images=40)
    rates = dict(zip((*METHODS, SENTINEL), (0.36, 0.25, 0.12, 0.05), strict=True))
    write_study(folder / "STUDY", design, make_study_data(design, rates))
    colorbench("study", "analyze", str(folder / "STUDY"))
    page = browser.new_page(viewport={"width": 1000, "height": 1080})
    page.goto((folder / "STUDY" / "analysis" / "analysis.html").as_uri())
    shoot(page, "study-analysis", until=page.get_by_role("heading", name="Other intervals"))
    save("study-charts", page.locator(".charts").screenshot())


def participants(browser: Any, folder: Path) -> None:
    """Write ``study-pages``: three pages of a participant's session, at the size of a phone."""
    import pytest

    from protocols.human_study.build.jspsych import jspsych_files
    from tests.protocols.human_study.test_browser import Participant
    from tests.support.study import TRIALS, build_small, served

    with pytest.MonkeyPatch.context() as patch:
        build_small(folder / "small", patch)
    for name, data in jspsych_files().items():
        (folder / "small" / "form" / name).write_bytes(data)
    shots = []
    with served(folder / "small") as (address, _):
        visitor = Participant(browser, address, viewport={"width": 390, "height": 800})
        visitor.page.get_by_role("button", name="Take part").wait_for()
        shots.append(visitor.page.screenshot())
        visitor.consent()
        visitor.page.get_by_label("Yes, as far as I know").check()
        visitor.press("Continue")
        visitor.page.get_by_text("Image 1 of 2").wait_for()
        shots.append(visitor.page.screenshot())
        visitor.page.reload()
        visitor.screening()
        visitor.practice()
        visitor.press("Start")
        for index in range(TRIALS):
            visitor.page.get_by_text(f"Pair {index + 1} of {TRIALS}").wait_for()
            visitor.page.get_by_role("button", name="The first").wait_for()
            if index == 1:
                visitor.page.set_viewport_size({"width": 800, "height": 560})
                save("study-trial", visitor.page.screenshot())
                visitor.page.set_viewport_size({"width": 390, "height": 800})
            visitor.choose("mouse")
        visitor.end()
        shots.append(visitor.page.screenshot())
        visitor.context.close()
    sheet = Image.new("RGB", (3 * 400 - 10, 800), "white")
    for place, shot in enumerate(shots):
        sheet.paste(Image.open(io.BytesIO(shot)), (400 * place, 0))
    write_small(sheet, DOCS / "study-pages.webp")


def main(names: list[str]) -> None:
    """Write the named groups of figures; all if none is named."""
    groups = {"report": report, "curves": curves, "tutorial": tutorial, "study": study, "participants": participants}
    groups |= GROUPS | TERMINALS | DIAGRAMS
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for group in names or groups:
            groups[group](browser, Path(name))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
