"""Sphinx extension: docstrings are read as plain text with sections, not as markup.

Docstrings contain formulas such as ``|a - b|`` or ``*size``, which reStructuredText would treat as substitutions or
emphasis. They are escaped here, outside double backticks and examples. Sections (Args, Returns, Raises) are read by
napoleon, except in attribute docstrings, where it would treat text before a colon as a type.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

WITHOUT_SECTIONS = ("attribute", "data", "property")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the reading of docstrings."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place."""
    lines[:] = escaped(lines)
    if what not in WITHOUT_SECTIONS:
        config = Config(napoleon_use_rtype=False)
        lines[:] = GoogleDocstring(lines, config, app, what, name, obj, options).lines()


def escaped(lines: list[str]) -> list[str]:
    """Return lines in which ``|`` and ``*`` stand for themselves, outside code and examples (``>>>`` to a gap)."""
    found, example, code = [], False, False
    for line in lines:
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if example:
            found.append(line)
            continue
        parts = line.split("``")
        for position, part in enumerate(parts):
            if not code:
                parts[position] = re.sub(r"([|*])", r"\\\1", part)
            code = code != (position < len(parts) - 1)  # text between double backticks may go on in the next line
        found.append("``".join(parts))
    return found
