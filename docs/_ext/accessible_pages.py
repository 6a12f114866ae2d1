"""Sphinx extension: written pages get what Sphinx and its theme leave out for screen readers and the keyboard.

The rules are those of axe; ``tests/docs/test_site_in_browser.py`` tests pages of the site with it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

REPLACED: tuple[tuple[str, str], ...] = (
    # Headings of groups of pages have no level.
    (r'role="heading"(?! aria-level)', r'role="heading" aria-level="2"'),
    # The two columns beside the text are landmarks of the same kind.
    (r'<aside class="sidebar-drawer">', r'<aside class="sidebar-drawer" aria-label="All pages">'),
    (r'<aside class="toc-drawer( no-toc)?">', r'<aside class="toc-drawer\1" aria-label="This page">'),
    # Boxes that scroll sideways on a narrow screen must be reachable by the keyboard.
    (r"<pre>", r'<pre tabindex="0">'),
    (r'<div class="(table-wrapper[^"]*)">', r'<div class="\1" tabindex="0">'),
    # The first cell of a table whose first column needs no heading.
    (r'<th class="head"><p></p></th>', r"<td></td>"),
    # Parameters of a long signature, one a line: a list of definitions without terms.
    (r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>", r'<span class="parameters">\n\1</span>'),
    (r"<dd>(<em class=\"sig-param\">.*)</dd>", r'<span class="parameter">\1</span>'),
)
"""Regular expression -> replacement; a page that was rewritten before does not change."""
SEARCH = ('id="furo-main-content">', 'id="furo-main-content"><h1>Search</h1>')
"""The search page alone has no heading."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the rewriting of pages."""
    app.connect("build-finished", rewrite_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def rewrite_pages(app: Sphinx, error: Exception | None) -> None:
    """Rewrite the pages of a build that succeeded, in place."""
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            text = path.read_text(encoding="utf-8")
            if (found := accessible(text, search=path.name == "search.html")) != text:
                path.write_text(found, encoding="utf-8")


def accessible(page: str, *, search: bool = False) -> str:
    """Return a page with the replacements; ``search``: it is the search page."""
    for pattern, replacement in REPLACED:
        page = re.sub(pattern, replacement, page)
    return page.replace(*SEARCH) if search and SEARCH[1] not in page else page
