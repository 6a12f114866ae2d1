"""The documentation site builds without a warning and has an entry for everything that is public or installed."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from colorbench.registry import registered

pytest.importorskip("sphinx", reason="the dependency group `docs` is not installed")
REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "docs" / "_ext"))

import accessible_pages  # noqa: E402
import generated_reference  # noqa: E402
import model_cards  # noqa: E402
import plain_docstrings  # noqa: E402
import repository_pages  # noqa: E402
from sphinx.util.inventory import InventoryFile  # noqa: E402

from tests.support.browser import page_faults  # noqa: E402

PAGES = ("data-sources", "reference/api-colorbench-color", "search")
"""Together they have every kind of element: tables without headings, code, figures, long signatures."""


def build_site(folder: Path) -> Path:
    """Build the site, and return its folder."""
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", folder / "doctrees"]
    done = subprocess.run(
        [*build, "docs", folder / "html"], cwd=REPOSITORY, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return folder / "html"


def test_the_site_builds_is_complete_and_accessible(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    site = build_site(tmp_path)
    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    entries = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    modules = list(generated_reference.public_modules())
    public = {
        f"{generated_reference.home_of(module, name, modules)}.{name}"
        for module in modules
        for name in module.__all__
        if not hasattr(getattr(module, name), "__path__") and not hasattr(getattr(module, name), "__spec__")
    }
    assert "colorbench.color.rgb_to_lab" in public
    assert public - entries == set()
    summaries = {
        f"{module.__name__}.{name}": generated_reference.first_line(module, name)
        for module in modules
        for name in module.__all__
    }
    assert [name for name in sorted(public) if not summaries[name] and not name.endswith("__version__")] == []

    def page(name: str) -> str:
        return html.unescape((site / "reference" / f"{name}.html").read_text(encoding="utf-8"))

    assert [plugin.name for plugin in registered("models") if plugin.name not in page("models")] == []
    for name in model_cards.texts().keys() - {"data"}:
        section = page("models").split(f'<section id="{name.replace("/", "-")}">')[1].partition("<section")[0]
        for fact in ("license", "intended use", "what it cannot do"):
            assert fact in section, (name, fact)
        assert ("<img" in section) == bool(model_cards.strip(name)), name
        assert [
            row for row in model_cards.results(name) if row[2] not in section or row[4].strip("`") not in section
        ] == []
    assert "{‘" not in page("models"), "facts are text, not Python"
    assert "–param" not in page("models"), "options keep their two hyphens"
    specs = generated_reference.specs()
    assert [spec.name for spec in specs if f'<section id="{spec.name}">' not in page("protocols")] == []
    assert [metric.name for spec in specs for metric in spec.metrics if metric.name not in page("metrics")] == []
    assert [name for spec in specs for name in spec.preset_names if name not in page("presets")] == []
    snapshots = sorted((REPOSITORY / "tests" / "snapshots").glob("help_*.txt"))
    lines = [line for path in snapshots for line in path.read_text().splitlines() if line.startswith("  -")]
    options = {word.strip(",:") for line in lines for word in line.split(": ")[0].split() if word.startswith("-")}
    assert "--limit" in options
    assert [option for option in options if option not in page("command-line")] == []

    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert accessible_pages.accessible(text, search=path.name == "search.html") == text, "rewritten once"
        assert "<dl>" not in text and text.count("<h1") >= 1, path
    # In this test, since another process would build the site again.
    pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = request.getfixturevalue("browser").new_page()
    for name in PAGES:
        opened.goto((site / f"{name}.html").as_uri())
        assert page_faults(opened, widths=(390, 1280)) == [], name


def test_every_model_of_the_zoo_has_a_card_with_images_and_its_shipped_results() -> None:
    zoo = {plugin.name: plugin.load() for plugin in registered("models") if plugin.name.startswith("zoo/")}
    assert model_cards.texts().keys() - {"data"} == zoo.keys()
    pictured = {name for name in zoo if model_cards.strip(name)}
    assert zoo.keys() - pictured == {"zoo/eccv16", "zoo/siggraph17"}, "their weights do not ship"
    for name in ("zoo/cic", "zoo/cic-class", "zoo/l2", "zoo/l2-ft", "zoo/lite"):
        assert any("CO2" in value for _, value in model_cards.facts(name)), name
    record = next(model_cards.RECORDS.glob("zoo/cic.small/auc/*/record.json"))
    metric = json.loads(record.read_text())["metrics"][0]
    (row,) = [row for row in model_cards.results("zoo/cic") if "cic.small, auc" in row[0]]
    assert row[2] == f"{metric['value']:.2f} [{metric['ci_low']:.2f}, {metric['ci_high']:.2f}]"
    assert row[4] == f"`{record.parent.relative_to(REPOSITORY).as_posix()}`"


def test_a_constant_has_the_text_that_stands_after_it() -> None:
    module = import_module("colorbench.evaluation.protocol_interfaces")
    assert generated_reference.constant_doc(module, "Any") == []
    registry = import_module("colorbench.registry")
    assert "distribution" in " ".join(generated_reference.constant_doc(registry, "OWN"))


def test_cells_are_escaped_outside_code_only() -> None:
    assert generated_reference.text("a<b *x* [y] ``c[0]*d`` | e") == "a&lt;b \\*x\\* \\[y] `c[0]*d` \\| e"


def test_columns_that_are_empty_everywhere_are_left_out() -> None:
    assert generated_reference.table(("a", "b"), [("1", ""), ("2", "")]) == "| a |\n| --- |\n| 1 |\n| 2 |\n"
    assert generated_reference.table(("a", "b"), []) == ""


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[zoo](zoo/README.md#the-zoo)", "[zoo](zoo.md#the-zoo)"),
        ("[page](docs/metrics.md)", "[page](../metrics.md)"),
        ("![image](docs/board.webp)", "![image](../board.webp)"),
        ("[license](LICENSE)", "license"),
        ("[folder](examples/plugin)", "folder"),
        ("[web](https://example.org/a.md)", "[web](https://example.org/a.md)"),
        ("[here](#heading)", "[here](#heading)"),
        ("[gone](no/such/file.md)", "[gone](../../no/such/file.md)"),  # left for Sphinx to complain of
    ],
)
def test_links_of_the_repository_become_links_of_the_site(link: str, expected: str) -> None:
    page = repository_pages.DOCS / "project" / "start.md"
    assert repository_pages.rewrite_links(link, REPOSITORY / "README.md", page) == expected


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return |a - b| of (N, *size).", "Return \\|a - b\\| of (N, \\*size)."),
        ("Return ``|a|`` and |b|.", "Return ``|a|`` and \\|b\\|."),
        ("Text ``|a|\n|b|`` |c|", "Text ``|a|\n|b|`` \\|c\\|"),
        (">>> a | b\n3 * 4\n\n|c|", ">>> a | b\n3 * 4\n\n\\|c\\|"),
    ],
)
def test_docstrings_are_plain_text(docstring: str, expected: str) -> None:
    assert "\n".join(plain_docstrings.escaped(docstring.split("\n"))) == expected
