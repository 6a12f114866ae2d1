"""The report of a run in a real browser: complete when it opens, and accessible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colorbench.data import Dataset
from colorbench.evaluation import RunConfig, run
from colorbench.reporting import write_report
from colorbench.reporting.record_page import page
from tests.support.browser import OpenedPage, page_faults

axe = pytest.importorskip("axe_playwright_python.sync_playwright")


@pytest.fixture(scope="module")
def report(crops: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a real run beside its baselines, with curves and samples."""
    output = tmp_path_factory.mktemp("runs")
    run(RunConfig(models=["zoo/half-chroma"], protocols=["auc"], data=crops, output=output))
    (path,) = (output / "zoo" / "half-chroma").rglob("record.json")
    return write_report(path.parent)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_report_is_accessible_and_complete_when_it_opens(report: Path, browser: Any, width: int, scheme: str) -> None:
    opened = OpenedPage(browser, report.as_uri(), viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = axe.Axe().run(opened.page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
    # Also those far below the window: a capture of the whole page shows them, and it does not jump.
    undrawn = "[...document.images].filter((one) => !one.complete || !one.naturalWidth).length"
    assert opened.page.evaluate("document.images.length") > 12
    assert opened.page.evaluate(undrawn) == 0
    assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    if width > 390:  # the table has no column beyond its box
        assert opened.page.evaluate(
            "[...document.querySelectorAll('.wide')].every((e) => e.scrollWidth <= e.clientWidth)"
        )
    assert opened.page.get_by_text("Bands: 95 % confidence intervals").count() == 1
    # The three curves have one legend.
    assert opened.page.locator(".legend").count() == 1
    assert opened.page.locator(".legend li").all_inner_texts() == ["zoo/half-chroma", "gray", "constant", "truth"]
    assert opened.troubles == [] and opened.foreign() == []
    opened.context.close()


def test_a_report_of_many_metrics_without_images_is_accessible(make_record: Any, browser: Any, tmp_path: Path) -> None:
    """As of a probe, a transfer or a study: names are long, and there are no images, curves and baselines."""
    record = make_record("group/a-model-with-a-long-name.small")
    (metric, *_) = record.metrics
    many = [metric.model_copy(update={"name": f"top1_block{place}_with_a_long_name"}) for place in range(12)]
    record = record.model_copy(update={"metrics": many, "curves": [], "notes": ["a note " * 40, "word" * 60]})
    (tmp_path / "report.html").write_text(page(record), encoding="utf-8")
    opened = OpenedPage(browser, (tmp_path / "report.html").as_uri())
    assert page_faults(opened.page, widths=(390, 1280)) == []
    assert opened.troubles == [] and opened.foreign() == []
    opened.context.close()
