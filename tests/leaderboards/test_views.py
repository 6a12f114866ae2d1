"""Tabs by declared category, views by address, and the figure of distribution against fidelity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from colorbench.evaluation import get_protocol
from leaderboards import record_checks
from leaderboards.board_building import build
from leaderboards.board_files import build_files
from leaderboards.board_page import _dataset_entries, page, tables
from leaderboards.board_schema import Board
from leaderboards.record_collection import collect
from leaderboards.tradeoff_plots import tradeoffs
from tests.support.board import change, copy, folders, measured, sign, synthetic
from tests.support.browser import OpenedPage

CATEGORIES = {
    "lab/near": "Fidelity",
    "lab/real": "Distribution",
    "lab/asked": "People",
    "lab/own": "Robustness",
    "lab/quiet": "Other",
}
"""Protocols of somebody else, by what they declare; ``lab/absent`` is not installed."""
NAMES = [f"group/colorizer-{word}" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight")]


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    spec = get_protocol("auc").spec
    known = get_protocol

    def found(name: str) -> Any:
        if name == "lab/absent":
            raise KeyError(name)
        if name in CATEGORIES:
            return SimpleNamespace(spec=replace(spec, name=name, category=CATEGORIES[name]), resolve=None)
        return known(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_checks, "get_protocol", found)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured(tmp_path_factory.mktemp("measured"))


def made(source: Path, root: Path, protocol: str, models: list[str], *, n: int = 40, shift: float = 0.0) -> None:
    """Records of models by a protocol, on invented images."""
    for place, name in enumerate(models):
        target = root / name.replace("/", "-") / protocol.replace("/", "-") / f"crops-{n}"
        synthetic(folders(source)["lab/warm"], target, name, n=n, shift=0.004 * place + shift, seed=place)
        change(target, protocol__name=protocol)
        sign(target)


def board_of(*positions: Path) -> Board:
    return build(collect(positions))[0]


@pytest.fixture(scope="module")
def results(source: Path, installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight models by four protocols, and two of them by two more."""
    root = tmp_path_factory.mktemp("results")
    for protocol in ("lab/near", "lab/real", "lab/asked", "lab/own"):
        made(source, root, protocol, NAMES)
    for protocol in ("lab/quiet", "lab/absent"):
        made(source, root, protocol, NAMES[:2], n=35)
    return root


def test_protocols_are_listed_by_what_they_declare(results: Path) -> None:
    board = board_of(results)
    assert [one.name for one in board.categories] == ["Fidelity", "Distribution", "People", "Robustness", "Other"]
    assert {group.protocol: group.category for group in board.groups} == {**CATEGORIES, "lab/absent": "Other"}
    fragments = [one.fragment for one in board.categories]
    assert fragments[0] == "results-fidelity" and len(set(fragments)) == len(fragments)


@pytest.mark.parametrize("pair", [("Own way", "own-way"), ("ÄÖ", "中文"), ("a b", "A  B")])
def test_categories_of_like_names_have_addresses_of_their_own(results: Path, pair: tuple[str, str]) -> None:
    board = board_of(results)
    groups = tuple(replace(g, category=pair[g.number % 2]) for g in board.groups)
    assert len({one.fragment for one in replace(board, groups=groups).categories}) == 2


def test_the_overview_has_the_headlines_and_a_category_its_own_models(results: Path) -> None:
    board = board_of(results)
    overview, *others = tables(board)
    assert overview.is_overview and all(column.headline for column in overview.columns)
    assert len(overview.columns) == len(board.groups) and len(overview.rows) == len(board.rows)
    for table, category in zip(others, board.categories, strict=True):
        assert table.groups == category.groups and {column.group for column in table.columns} == {
            group.number for group in category.groups
        }
    assert len(others[-1].competitors) < len(NAMES) == len(others[0].competitors)


def test_a_single_category_needs_no_tabs(source: Path) -> None:
    board = board_of(source)
    assert [table.name for table in tables(board)] == ["Fidelity"]


def test_distribution_is_drawn_against_fidelity_of_the_same_images_only(
    source: Path, installed: None, tmp_path: Path
) -> None:
    made(source, tmp_path, "lab/near", NAMES[:3])
    made(source, tmp_path, "lab/real", NAMES[:3])
    (drawn,) = tradeoffs(board_of(tmp_path))
    assert drawn.groups == (0, 1), "the dataset filter hides it with these"
    notes = " ".join(drawn.notes.values())
    assert all(name in notes for name in NAMES[:3]) and "crops" in drawn.title
    texts = {text.get_text() for text in drawn.figure.axes[0].texts}
    assert texts == set(NAMES[:3])
    assert drawn.svg().count("<title>") == 4  # the figure and its points

    # Another set of images, another protocol of neither category: no further pair.
    made(source, tmp_path, "lab/real", NAMES[:3], n=36)
    made(source, tmp_path, "lab/own", NAMES[:3])
    assert len(tradeoffs(board_of(tmp_path))) == 1

    # Another parameter of the distribution protocol: two figures, no common axis.
    for name in NAMES[:3]:
        folder = tmp_path / name.replace("/", "-") / "lab-real" / "crops-40"
        other = folder.with_name("crops-b")
        synthetic(folders(source)["lab/warm"], other, name, n=40, seed=7)
        change(other, protocol__name="lab/real", protocol__identity={"backend": "another"})
        sign(other)
    assert len(tradeoffs(board_of(tmp_path))) == 2


def test_datasets_of_equal_text_are_told_apart_and_a_title_stands_once(source: Path, installed: None) -> None:
    board, entries = build(collect([source]))
    (group,) = board.groups
    other = replace(group, fingerprint="e" * 64)
    assert len(set(_dataset_entries([group, other]).values())) == 2
    assert list(_dataset_entries([group, group]).values()) == [f"{group.dataset}, n = 40"]
    text = page(replace(board, groups=(group, replace(other, number=1))), entries, [], {0: [], 1: []})
    lead = text.partition('<p class="lead">')[2].partition("</p>")[0]
    assert lead.count(group.title) == 1 and 'href="#protocol-1"' in lead


def test_one_model_on_both_axes_is_no_figure(source: Path, installed: None, tmp_path: Path) -> None:
    made(source, tmp_path, "lab/near", NAMES[:3])
    made(source, tmp_path, "lab/real", NAMES[:1])
    assert tradeoffs(board_of(tmp_path)) == []


@pytest.fixture(scope="module")
def page_path(results: Path, installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("playwright.sync_api")
    path = tmp_path_factory.mktemp("page") / "board.html"
    build_files([results], path)
    return path


class Opened(OpenedPage):
    """A page that somebody opened."""

    def visible(self) -> list[str]:
        return [view.get_attribute("id") for view in self.page.locator(".view:visible").all()]

    def heads(self) -> list[str]:
        return self.page.locator(".view:visible thead .group:visible a").all_inner_texts()


def test_tabs_work_by_mouse_and_keyboard(page_path: Path, browser: Any) -> None:
    opened = Opened(browser, page_path.as_uri())
    page = opened.page
    assert page.locator('[role="tab"]').all_inner_texts() == [
        *("Overview", "Fidelity", "Distribution", "People", "Robustness", "Other"),
    ]
    assert opened.visible() == ["panel-results"] and not page.locator("#columns").is_visible()
    page.get_by_role("tab", name="Distribution").click()
    assert opened.visible() == ["panel-results-distribution"] and opened.heads() == ["lab/real"]
    panel = page.locator(".view:visible")
    assert panel.get_attribute("role") == "tabpanel"
    chosen = page.get_by_role("tab", selected=True)
    assert panel.get_attribute("aria-labelledby") == chosen.get_attribute("id")
    assert chosen.get_attribute("aria-controls") == panel.get_attribute("id")
    assert page.locator('[role="tab"][tabindex="0"]').count() == 1
    page.keyboard.press("ArrowRight")
    assert opened.visible() == ["panel-results-people"]
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert opened.visible() == ["panel-results"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    assert opened.visible() == ["panel-results"] and page.evaluate("document.activeElement.id") == "tab-results"
    assert opened.troubles == []
    opened.context.close()


def test_an_address_opens_the_same_view_again(page_path: Path, browser: Any) -> None:
    opened = Opened(browser, page_path.as_uri())
    page = opened.page
    page.get_by_role("tab", name="Other").click()
    page.select_option("#protocol", "lab/quiet")
    page.fill("#search", "two one & #")
    page.fill("#search", "colorizer")
    page.locator('[data-show="sizes"]').check()
    page.click("#columns summary")
    extra = page.locator("#columns fieldset:visible input:not(:checked)").first
    column = extra.get_attribute("data-column")
    extra.check()
    page.locator(f'.view:visible th[data-column="{column}"] .sort').click()
    names = page.locator(".view:visible .competitors .who a").all_inner_texts()
    again = Opened(browser, opened.url)
    assert again.visible() == ["panel-results-other"] and again.heads() == ["lab/quiet"]
    assert again.page.input_value("#search") == "colorizer"
    assert again.page.locator('[data-show="sizes"]').is_checked()
    assert again.page.locator(f'.view:visible th[data-column="{column}"]').get_attribute("aria-sort") != "none"
    assert again.page.locator(".view:visible .competitors .who a").all_inner_texts() == names
    # Addresses are untrusted: what is unknown is ignored.
    wrong = "#results&dataset=no&sort=%22%5D&q=%E0%A4%A&columns=x&show=y&__proto__=1"
    for strange in ("#results-nothing", wrong, "#%E0%A4%A"):
        other = Opened(browser, f"{page_path.as_uri()}{strange}")
        assert other.visible() == ["panel-results"] and other.troubles == []
        other.context.close()
    assert opened.troubles == again.troubles == []
    opened.context.close()
    again.context.close()


def test_filters_choose_datasets_and_protocols_everywhere(page_path: Path, browser: Any) -> None:
    opened = Opened(browser, page_path.as_uri())
    page = opened.page
    assert len(opened.heads()) == 6
    page.select_option("#dataset", label="crops, n = 35")
    assert sorted(opened.heads()) == ["lab/absent", "lab/quiet"]
    assert (
        page.locator(".charts.large figure").count() == 1 and not page.locator(".charts.large figure:visible").count()
    )
    assert page.locator(".view:visible .verdicts li:visible").count() == 2
    page.get_by_role("tab", name="Fidelity").click()
    assert opened.heads() == [] and page.locator(".view:visible .nothing").is_visible()
    page.select_option("#dataset", "")
    assert opened.heads() == ["lab/near"] and not page.locator(".view:visible .nothing").is_visible()
    opened.context.close()


def test_a_link_to_another_part_of_the_page_keeps_the_filters(page_path: Path, browser: Any) -> None:
    opened = Opened(browser, page_path.as_uri())
    page = opened.page
    page.get_by_role("tab", name="Other").click()
    page.select_option("#dataset", label="crops, n = 35")
    chosen = page.input_value("#dataset")
    for link in ("models", "results", "protocols", "records"):
        page.click(f'nav a[href="#{link}"]')
        part = "results-other" if link == "results" else link
        assert opened.url.partition("#")[2].startswith(f"{part}&dataset={chosen}")
        assert page.evaluate("document.activeElement.id") == link
    again = Opened(browser, opened.url)
    assert again.page.input_value("#dataset") == chosen and again.visible() == ["panel-results-other"]
    page.locator(".view:visible .competitors .who a").first.click()
    assert page.locator("#models details[open]").count() == 1 and f"dataset={chosen}" in opened.url
    page.go_back()
    assert opened.url == again.url and page.input_value("#dataset") == chosen
    assert opened.troubles == again.troubles == []
    opened.context.close()
    again.context.close()


def test_a_link_moves_the_page_at_once(page_path: Path, browser: Any) -> None:
    # While a page still scrolls, a press and its release meet different parts of it, and the click is lost.
    opened = Opened(browser, page_path.as_uri())
    click = "(link) => { link.click(); return document.querySelector(link.hash).getBoundingClientRect().top; }"
    for link in opened.page.locator("nav a").element_handles():
        top = link.evaluate(click)
        bottom = opened.page.evaluate("Math.abs(document.documentElement.scrollHeight - scrollY - innerHeight) < 1")
        assert 0 <= top <= 150 or bottom, link.inner_text()
    opened.context.close()


def test_without_a_script_everything_is_shown(page_path: Path, browser: Any) -> None:
    opened = Opened(browser, page_path.as_uri(), java_script_enabled=False)
    assert len(opened.visible()) == 6 and not opened.page.locator('[role="tablist"]').is_visible()
    assert opened.page.locator("h3.view-name:visible").count() == 6
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_eight_models_by_four_protocols_fit(page_path: Path, browser: Any, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = Opened(browser, page_path.as_uri(), viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = opened.page
    if width == 390:  # folded, so that the results come first
        page.locator("#filters > summary").click()
    page.select_option("#dataset", label="crops, n = 40")  # four protocols
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if width == 1280:
            wider = "(table) => table.parentNode.scrollWidth > table.parentNode.clientWidth"
            assert not page.evaluate(f"[...document.querySelectorAll('.board')].some({wider})"), tab.inner_text()
    page.get_by_role("tab", name="Overview").click()
    page.evaluate("document.querySelectorAll('details.card').forEach((card) => { card.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
    opened.context.close()


def test_small_samples_are_warned_of_once_and_exact_values_are_not_doubted(source: Path, tmp_path: Path) -> None:
    build_files([source], tmp_path / "board.html")
    text = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert text.count("The effective sample size is small for") == 1
    truth = text.split('<tbody class="references">')[1].split("zoo/ground-truth</a>")[1].split("</tr>")[0]
    assert "[100.00, 100.00]" in truth and 'class="warning"' not in truth
    # None was verified: said once, not at every model of the table.
    assert ">not verified<" not in text.split("<tbody")[1].split("</tbody>")[0]
    assert text.count("No record was verified for this page") == 1


def test_a_head_names_a_few_choices_and_counts_the_others(source: Path, tmp_path: Path) -> None:
    many = {"mode": "a", "data_sha256": "f" * 64, "rule": "b", "steps": "7", "more": "8"}
    for name, identity in (("one", {}), ("two", many)):
        target = tmp_path / "results" / name / "auc" / "crops"
        copied = copy(folders(source)["lab/warm"], target, model__name=f"lab/{name}", protocol__identity=identity)
        sign(copied)
    build_files([tmp_path / "results"], tmp_path / "board.html")
    text = (tmp_path / "board.html").read_text(encoding="utf-8")
    heads = [text.split(f'data-group="{number}">')[1].partition("</th>")[0] for number in (0, 1)]
    (head,) = [one for one in heads if "mode = a" in one]
    assert head.count('class="choice"') == 4 and "f" * 13 not in head
    assert "and 2 other choices</a>" in head
    assert "data_sha256" in text  # in the section of the protocol
    assert "<dt>role</dt><dd>model</dd>" in text


def test_the_method_of_intervals_is_stated_where_it_is_not_the_bootstrap_of_images(source: Path) -> None:
    board = board_of(source)
    assert board.meaning_of_intervals == "95 % bootstrap confidence interval over images"

    def changed(**fields: Any) -> Board:
        cells = {
            row: {column: replace(cell, **fields) for column, cell in cells.items()}
            for row, cells in board.cells.items()
        }
        return replace(board, cells=cells)

    assert changed(ci_low=None, ci_high=None).meaning_of_intervals == ""
    own = changed(ci_low=1.0, ci_high=2.0, ci_method="two-way cluster, 95 %")
    assert own.meaning_of_intervals == "95 % confidence interval; of auc: two-way cluster"
