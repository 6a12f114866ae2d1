"""The vocabulary holds everywhere: in identifiers, messages, help, comments, pages and documents.

Spelling is checked by codespell (tests/test_quality.py).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORDS = re.compile(
    r"""
    (?<![a-z]) (?:
      photographs? | pictures?                    # image
    | anchors?                                    # baseline
    | mend(?:s|ed)?                               # hint
    | recipes?                                    # preprocessing
    | lanes? | unfit | decisive                   # worker thread, missing capability, fingerprint
    | judge[sd]?                                  # classifier
    | persons?                                    # participant
    | answer(?:s|ed)?                             # prediction, response
    | strangers?                                  # untrusted, foreign
    | anew | theirs                               # again; a, b
    | whole[ _]protocols?                         # dataset protocol
    ) (?![a-z])
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Words that are not used, with the one that is."""
FILES = (
    *("*.py", "*.pyi", "*.md", "*.html", "*.j2", "*.jinja", "*.js", "*.css", "*.toml", "*.yml", "*.yaml"),
    *("*.ipynb", "*.cff", "*.txt", "NOTICE", "justfile"),
)
SEARCHED = (
    *("colorbench", "zoo", "protocols", "leaderboards", "docs", "examples", "benchmarks"),
    *(
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "NOTICE",
        "justfile",
        "pyproject.toml",
    ),
    "tests/snapshots",  # the help of every verb as it is printed, and the public names
)
ALLOWED = {
    # What participants read: to answer a question is plain English there.
    "protocols/human_study/form": {"answer", "answers", "answered"},
    "protocols/human_study/texts": {"answers"},
    "docs/human-study.md": {"answers"},  # the name of a button of theirs
    "protocols/human_study/server/response_store.py": {"answered"},  # a message to them
    # A column of the stored and the exported tables.
    "protocols/human_study/study_folder": {"answered"},
    "protocols/human_study/build/jspsych.py": {"person", "persons"},  # the text of its license
    "protocols/transfer/voc.py": {"person"},  # a class of VOC
    "leaderboards/anonymity.py": {"person"},  # an author
    "docs/_ext/repository_pages.py": {"anchor"},  # of a link
    "docs/conf.py": {"anchors"},  # of headings, MyST's option
}


def found_in(text: str) -> set[str]:
    """Return the words of a text that the vocabulary replaces, in lower case."""
    return {match.group(0).lower() for match in WORDS.finditer(text)}


def allowed(path: str) -> set[str]:
    """Return the words that a file may hold."""
    return {word for place, words in ALLOWED.items() if path.startswith(place) for word in words}


def test_only_words_of_the_vocabulary_are_used() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *FILES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    paths = [path for path in listed.stdout.splitlines() if path.startswith(SEARCHED) and (ROOT / path).is_file()]
    assert len(paths) > 300
    found = {path: found_in((ROOT / path).read_text(encoding="utf-8")) - allowed(path) for path in paths}
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "text",
    [
        "def mend(self)",
        "two Photographs",
        "the judge's score",
        "anchor_rows",
        "x_lane",
    ],
)
def test_other_words_are_found(text: str) -> None:
    assert found_in(text)


@pytest.mark.parametrize(
    "text", ["recommend", "amended", "personal", "planes", "examine", "color", "answering machine"]
)
def test_words_that_hold_others_are_left_alone(text: str) -> None:
    assert not found_in(text)
