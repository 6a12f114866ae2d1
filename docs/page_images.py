"""The figures of a report and of the leaderboard: ``python docs/page_images.py``; it needs playwright and chromium.

The report is that of the first command in README.md, the leaderboard that of the reference records.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

BOARD = {"width": 1280, "height": 1080}
REPORT = {"width": 1000, "height": 1080}


def main() -> None:
    """Write ``report.webp`` and ``board.webp`` beside this file."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        run = ["colorbench", "run", "--model", "zoo/cic", "--protocol", "auc", "--output", str(folder / "runs")]
        subprocess.run(run, check=True)
        subprocess.run(
            ["colorbench", "leaderboard", "build", "reference", "-o", str(folder / "board.html")], check=True
        )
        (report,) = folder.glob("runs/zoo/cic.small/auc/*/report.html")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for page, window, target in ((report, REPORT, "report.webp"), (folder / "board.html", BOARD, "board.webp")):
            opened = browser.new_page(viewport=window)
            opened.goto(page.as_uri())
            clip = None
            if page == report:  # without its run details, which name a temporary folder
                details = opened.get_by_role("heading", name="Run details").bounding_box()
                clip = {"x": 0, "y": 0, "width": window["width"], "height": details["y"]}
            shot = opened.screenshot(full_page=clip is not None, clip=clip)
            Image.open(io.BytesIO(shot)).convert("RGB").save(Path(__file__).with_name(target), quality=82, method=6)
        browser.close()


if __name__ == "__main__":
    main()
