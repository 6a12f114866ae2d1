"""Rendering of a study's texts from Markdown to HTML without scripts."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt

from colorbench.errors import UserError

PLACEHOLDER = "Researchers: replace this"
"""Start of the paragraphs that the researchers must write."""


def check_texts(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse texts to which nobody may consent: empty ones, or ones with a placeholder.

    Raises:
        UserError: naming the file to edit.
    """
    for name in names:
        path = folder / f"{name}.md"
        try:
            text = " ".join(path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError):
            continue  # reported by ``read_texts``
        wrong = "is empty" if not text else "still contains the paragraph that researchers must replace"
        if not text or PLACEHOLDER.lower() in text.lower():
            hint = "edit the file, or use --allow-placeholder-texts to try out the study"
            raise UserError(f"the {name} text of the study {wrong}", where=str(path), hint=hint)


def read_texts(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return name -> HTML of ``<folder>/<name>.md``. HTML in the Markdown is shown as text.

    Raises:
        UserError: for a text that is missing or not UTF-8.
    """
    # A paragraph in the texts may be broken into lines anywhere, as in any Markdown.
    markdown = MarkdownIt("commonmark", {"html": False})
    texts = {}
    for name in names:
        path = folder / f"{name}.md"
        try:
            texts[name] = markdown.render(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError("a text of the study is missing", where=str(path), hint="write it in Markdown") from error
        except UnicodeDecodeError as error:
            raise UserError("a text of the study is not UTF-8", where=str(path), hint="save it as UTF-8") from error
    return texts
