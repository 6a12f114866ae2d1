"""Expansion of model names on the command line: comma-separated lists and patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from colorbench.errors import UserError
from colorbench.models import split_names
from colorbench.registry import registered

_PATTERN = re.compile(r"(?P<pattern>[^\[:]*[*?][^\[:]*)(?P<options>\[.*\])?")


def expand_names(given: Sequence[str]) -> dict[str, bool]:
    """Expand ``a,b`` and ``zoo/*`` to names, each once; the value is whether a pattern matched it.

    A pattern matches registered names without tags: ``zoo/*``, ``*/cic*``. Its options apply to all matches. Paths
    (``images:DIR``, ``FILE.py:CLASS``) are never patterns.

    Raises:
        UserError: for a pattern without a match.
    """
    found: dict[str, bool] = {}
    for text in given:
        for name in [text] if ":" in text else split_names(text):
            match = _PATTERN.fullmatch(name)
            if match is None:
                found.setdefault(name, False)
                continue
            names = [one.name for one in registered("models") if fnmatchcase(one.name, match["pattern"])]
            if not names:
                raise UserError(f"no model matches {match['pattern']!r}", hint="`colorbench list` shows them")
            for one in names:
                found.setdefault(f"{one}{match['options'] or ''}", True)
    return found
