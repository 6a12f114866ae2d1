"""``walk``: the folders below a path, none of which is left out without a word."""

from __future__ import annotations

import os
from collections.abc import Iterator

from colorbench.errors import one_line_errors


def walk(folder: str | os.PathLike[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (folder, names of its folders, names of its files) as ``os.walk`` does; links are not followed.

    A folder that disappears meanwhile is passed over.

    Raises:
        UserError: for a folder that cannot be read, which ``os.walk`` leaves out.
    """
    with one_line_errors():
        yield from os.walk(folder, onerror=_refuse)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
