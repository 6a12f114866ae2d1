"""Removal of copies (files of equal content) from the rows of a run, so that each distinct image counts once.

This is applied before any metric is computed, so that rows, arrays, metrics, intervals, tests, curves, leaderboards and
verification all use distinct images: a dataset with and without copies gives the same rows and the same content
fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from colorbench.results.shard import Copy, Shard


def first_positions(sha256s: Sequence[str]) -> np.ndarray:
    """Return the positions (m,) of the images that do not duplicate an earlier one, in order.

    Args:
        sha256s: content hashes of the files.
    """
    seen: dict[str, int] = {}
    for position, sha256 in enumerate(sha256s):
        seen.setdefault(sha256, position)
    return np.fromiter(seen.values(), np.int64, len(seen))


def without_copies(rows: Shard) -> Shard:
    """Return the rows with each distinct image once, without duplicates; the others are listed in ``copies``.

    The first file of a content is kept, with its id and label. Rows without copies are returned unchanged.
    """
    positions = first_positions(rows.sha256s)
    if len(positions) == len(rows):
        return rows
    first = {rows.sha256s[position]: int(position) for position in positions}
    copies = [
        Copy(id, rows.ids[first[sha256]], rows.labels[position] != rows.labels[first[sha256]])
        for position, (id, sha256) in enumerate(zip(rows.ids, rows.sha256s, strict=True))
        if first[sha256] != position
    ]
    return replace(
        rows,
        ids=tuple(rows.ids[position] for position in positions),
        sha256s=tuple(rows.sha256s[position] for position in positions),
        labels=tuple(rows.labels[position] for position in positions),
        gray=tuple(rows.gray[position] for position in positions),
        sizes=tuple(rows.sizes[position] for position in positions),
        columns={name: values[positions] for name, values in rows.columns.items()},
        arrays={name: values[positions] for name, values in rows.arrays.items()},
        copies=(*rows.copies, *copies),
    )


def copy_notes(rows: Shard) -> list[str]:
    """Return notes for the record about copies: their number, and whether their labels differ."""
    if not rows.copies:
        return []
    total = len(rows) + len(rows.copies)
    are = "is a copy of another" if len(rows.copies) == 1 else "are copies of others"
    notes = [f"{len(rows.copies)} of {total} images {are} (same content): each distinct image counts once"]
    if other := [copy for copy in rows.copies if copy.other_label]:
        one = other[0]
        notes.append(
            f"{len(other)} of these copies have a different label than the evaluated file, "
            f"the first being {one.id} beside {one.of}: check the labels"
        )
    return notes
