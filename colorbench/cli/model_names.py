"""Names of models as they are given on a command line: lists with commas, and patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from colorbench.errors import UserError
from colorbench.models import split_names
from colorbench.registry import registered

_PATTERN = re.compile(r"(?P<pattern>[^\[:]*[*?][^\[:]*)(?P<options>\[.*\])?")


def expand_names(given: Sequence[str]) -> dict[str, bool]:
    """Return the names meant by ``a,b`` and ``zoo/*``, each once, with whether a pattern found it.

    A pattern matches registered names, without tags: ``zoo/*``, ``*/cic*``. Options behind it belong to all. Paths
    (``images:DIR``, ``FILE.py:CLASS``) are left as they are, whatever characters they have.

    Raises:
        UserError: for a pattern that no model matches.
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
