"""Links in the documents of the repository lead to files and headings that exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPOSITORY = Path(__file__).parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
ADDRESS = re.compile(r"https?://[^\s)\]>`\"']*")


def documents() -> list[str]:
    """Return every Markdown file that is tracked or new, by its path in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    if done.returncode:  # a copy of the tree without its history
        found = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("*/**/README.md")]
        return sorted(str(path.relative_to(REPOSITORY)) for path in found)
    return sorted(line for line in done.stdout.splitlines() if (REPOSITORY / line).is_file())


def prose(text: str) -> str:
    """Return Markdown without its code, in which nothing is a link."""
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^\s*(```|:::).*?^\s*\1\s*$", "", text, flags=re.M | re.S))


def anchors(text: str) -> set[str]:
    """Return the anchors of all headings, as GitHub and MyST make them."""
    found: set[str] = set()
    for heading in re.findall(
        r"^#{1,6}\s+(.*?)\s*#*$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M
    ):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        repeated = next(number for number in range(100) if (f"{slug}-{number}" if number else slug) not in found)
        found.add(f"{slug}-{repeated}" if repeated else slug)
    return found


def dead_links(document: Path) -> Iterator[str]:
    """Yield the targets of a Markdown file that lead nowhere; addresses on the web are only checked for their form."""
    text = document.read_text(encoding="utf-8")
    for target in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            yield target
    for address in ADDRESS.findall(prose(text)):
        host = urlsplit(address.rstrip(".,;")).hostname or ""
        if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}|localhost|127\.0\.0\.1", host):
            yield address


@pytest.mark.parametrize("document", documents())
def test_no_link_is_dead(document: str) -> None:
    assert list(dead_links(REPOSITORY / document)) == []


def test_the_documents_are_found() -> None:
    assert {"README.md", "CHANGELOG.md", "docs/metrics.md", "zoo/README.md"} <= set(documents())


@pytest.mark.parametrize(
    "link",
    [
        "(gone.md)",
        "(here.md#no-such-heading)",
        "(#nowhere)",
        "(../here.md)",
        "(sub/)",
        "(http://no host/)",
        "(https://)",
    ],
)
def test_a_dead_link_is_found(link: str, tmp_path: Path) -> None:
    here = tmp_path / "inside" / "here.md"
    here.parent.mkdir()
    here.write_text(
        "# A heading: `code`, twice\n\n# Twice\n\n# Twice\n\n[good](#a-heading-code-twice) [good](here.md#twice-1)\n"
    )
    assert list(dead_links(here)) == []
    here.write_text(here.read_text() + f"\n[bad]{link} and ![image]{link}\n")
    assert list(dead_links(here)) != []


def test_code_holds_no_links(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`[a](b)`\n\n```python\nx = table[0](file)\n```\n")
    assert list(dead_links(page)) == []
