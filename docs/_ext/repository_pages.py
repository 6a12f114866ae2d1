"""Sphinx extension: documents of the repository (changelog, zoo ...) as pages of the site, with valid links.

Documents link to one another by relative paths, which also work where the repository is browsed. Some of these files
are pages of the site under another name, others (code, licenses) are not on the site: a link to the first is rewritten,
a link to the second becomes its text. Links between pages stay as they are, and Sphinx checks them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "zoo/README.md": "project/zoo.md",
    "leaderboards/reference/README.md": "project/reference-leaderboard.md",
    "README.md": "project/start.md",
}
"""File of the repository -> page of the site, below ``docs``."""
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the pages and the rewriting of links."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", rewrite_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Sphinx) -> None:
    """Copy the documents of the repository that are pages; unchanged pages keep their times."""
    for source, page in PAGES.items():
        path = DOCS / page
        text = rewrite_links((REPOSITORY / source).read_text(encoding="utf-8"), REPOSITORY / source, path)
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def rewrite_source(app: Sphinx, name: str, content: list[str]) -> None:
    """Rewrite the links of a page that is about to be read; ``content`` holds its text and is changed in place."""
    path = Path(app.env.doc2path(name))
    content[0] = rewrite_links(content[0], path, path)


def rewrite_links(text: str, source: Path, page: Path) -> str:
    """Return the text of a file as it must stand on a page.

    Args:
        text: Markdown.
        source: the file that relative links start from.
        page: the page that will hold the text.

    """

    def rewritten(link: re.Match[str]) -> str:
        target, anchor = link["target"], link["anchor"] or ""
        if not target or re.match(r"[a-z]+:", target):
            return link[0]
        path = Path(os.path.normpath(source.parent / target))
        known = PAGES.get(path.relative_to(REPOSITORY).as_posix()) if path.is_relative_to(REPOSITORY) else None
        if known is not None:
            path = DOCS / known
        elif not path.is_relative_to(DOCS) and path.exists():
            return link["text"]
        relative = os.path.relpath(path, page.parent)
        return f"{link['image']}[{link['text']}]({relative}{anchor})"

    return LINK.sub(rewritten, text)
