"""The study's texts, from Markdown that researchers edit to HTML that cannot carry a script."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt

from colorbench.errors import UserError

PLACEHOLDER = "Researchers: replace this"
"""How the parts of a built study's texts begin that only its researchers can write."""


def check_texts(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse texts that nobody may consent to: with a placeholder in them, or empty.

    Raises:
        UserError: naming the file to edit.
    """
    for name in names:
        path = folder / f"{name}.md"
        try:
            text = " ".join(path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError):
            continue  # ``read_texts`` says it
        wrong = "is empty" if not text else "still has the paragraph that researchers must replace"
        if not text or PLACEHOLDER.lower() in text.lower():
            hint = "edit that file, or try the study out with --allow-placeholder-texts"
            raise UserError(f"the {name} text of the study {wrong}", where=str(path), hint=hint)


def read_texts(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Name -> HTML, of ``<folder>/<name>.md``. HTML in the Markdown is shown as text.

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
            raise UserError("a text of the study is missing", where=str(path), hint="write it; Markdown") from error
        except UnicodeDecodeError as error:
            raise UserError("a text of the study is not UTF-8", where=str(path), hint="save it as UTF-8") from error
    return texts
